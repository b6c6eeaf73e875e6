use onemark::*;
use data::{gray::GrayImage, labels::*, phantom::*};
struct O;
impl learn::pipeline::Observer for O { fn progress(&mut self, _: learn::pipeline::Progress) {} fn stopped(&self) -> bool { false } }
fn main() {
    let run = learn::checkpoint::RunDir::create(std::path::Path::new(&std::env::args().nth(1).unwrap())).unwrap();
    let mk = |i: u64| phantom(1, i, 160, 192);
    let t = mk(0);
    let (mut images, mut rows) = (vec![], vec![]);
    for i in 48..88 { let p = mk(i); let name = format!("{i}"); images.push(cli::contest::Named { name: name.clone(), image: GrayImage { width: 160, height: 192, pixels: p.pixels } }); rows.push(LabelRow { image: name, width: 160, height: 192, points: p.points.into_iter().map(Some).collect(), scores: vec![] }); }
    let truth = Labels { names: LANDMARKS.map(String::from).into(), rows };
    let o = eval::Options::default();
    let c = cli::contest::contest(&run, &device::Device::Cpu, &images, &truth, (&t.points, (160.0, 192.0)), &o, &mut O).unwrap();
    println!("{}", cli::demo::table(&c));
    for c in &c { println!("{} {}", c.name, c.evaluation.landmarks.iter().map(|s| format!("{:.2}/{:.2}", s.mre, s.median)).collect::<Vec<_>>().join(" ")); }
}
