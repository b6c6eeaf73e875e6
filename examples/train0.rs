use onemark::*;
use learn::pipeline::*;
struct O(std::time::Instant, String);
impl Observer for O {
    fn progress(&mut self, p: Progress) { if p.stage != self.1 || p.done % 25 == 0 || p.done == p.total { self.1 = p.stage.into(); eprintln!("{:.1}s {} {}/{} {:?}", self.0.elapsed().as_secs_f64(), p.stage, p.done, p.total, p.loss); } }
    fn stopped(&self) -> bool { false }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (dir, labels, template, out, n0, n1): (&str, &str, &str, &str, usize, usize) = (&a[1], &a[2], &a[3], &a[4], a[5].parse().unwrap(), a[6].parse().unwrap());
    let paths = data::images::expand_inputs(&[dir.to_string()]).unwrap();
    let paths = &paths[n0..n1];
    let images: Vec<_> = { use rayon::prelude::*; paths.par_iter().map(|n| data::images::read_gray(n).unwrap()).collect() };
    let t = data::labels::Labels::read(labels).unwrap();
    let row = t.template(labels, template).unwrap();
    let task = Task { landmarks: t.names.clone(), images, template: paths.iter().position(|p| p.file_name().unwrap().to_str().unwrap() == template).unwrap(), template_name: template.into(), annotation: row.points.iter().map(|p| p.unwrap()).collect(), spacing: None };
    let mut config = learn::config::Config::default();
    config.matching.steps = 1000;
    config.joint.steps = 860;
    let run = learn::checkpoint::RunDir::create(std::path::Path::new(out)).unwrap();
    run.set_config(&config).unwrap();
    let device = device::Device::Cpu;
    let mut o = O(std::time::Instant::now(), String::new());
    use model::Kind::*;
    let mut p = Pipeline::new(&task, config, &device, &run, &mut o);
    p.train(&[Match, Single, Fused]).unwrap();
    p.train(&[Joint]).unwrap();
}
