use onemark::*;
use learn::*;
fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let images: Vec<_> = (1..=4).map(|i| data::images::read_gray(format!("{dir}/images/{i:03}.jpg")).unwrap()).collect();
    let local = dataset::Dataset::new(&images, 480);
    let device = device::Device::Cpu;
    let crop = crops::CropConfig::default();
    let sc = single::SingleConfig::default();
    let k = 19;
    let labels: Vec<_> = (0..k).map(|_| labels::PseudoLabels { points: vec![[200.0, 200.0]; 4], weights: vec![1.0; 4], expected: vec![None; 4] }).collect();
    let mut tr = single::SingleTraining::new(&device, &sc, &crop, &local, 0, (0..k).collect(), labels, 1).unwrap();
    for s in 0..3 { let t0 = std::time::Instant::now(); tr.step(s).unwrap(); eprintln!("STEP {:.3}", t0.elapsed().as_secs_f64()); }
}
