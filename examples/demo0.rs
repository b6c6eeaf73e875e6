use onemark::*;
struct O(std::time::Instant, String);
impl learn::pipeline::Observer for O {
    fn progress(&mut self, p: learn::pipeline::Progress) { if p.stage != self.1 || p.done % 40 == 0 || p.done == p.total { self.1 = p.stage.into(); eprintln!("{:.1}s {} {}/{} {:?}", self.0.elapsed().as_secs_f64(), p.stage, p.done, p.total, p.loss); } }
    fn stopped(&self) -> bool { false }
}
fn main() {
    let (s, t) = cli::demo::demo(std::path::Path::new("/tmp/demo0"), &device::Device::Cpu, 1, "x", &mut O(std::time::Instant::now(), String::new())).unwrap();
    println!("{t}\n{}", serde_json::to_string(&s).unwrap());
}
