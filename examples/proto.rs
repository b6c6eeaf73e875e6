use learn::*;
use onemark::*;
fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let steps: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let t0 = std::time::Instant::now();
    let names: Vec<String> = (1..=300).map(|i| format!("{i:03}.jpg")).collect();
    let images: Vec<_> = {
        use rayon::prelude::*;
        names.par_iter().map(|n| data::images::read_gray(format!("{dir}/images/{n}")).unwrap()).collect()
    };
    let ds = dataset::Dataset::new(&images, 240);
    println!("loaded {:.1}s {}x{}", t0.elapsed().as_secs_f64(), ds.width, ds.height);
    let train = dataset::Dataset::new(&images[..150], 240);
    let mut cfg = matching::MatchConfig::default();
    cfg.steps = steps;
    let device = device::Device::Cpu;
    let mut t = matching::MatchTraining::new(&device, &cfg, &train, 1).unwrap();
    let p = t.trainer.program();
    println!(
        "params {} arena {:.1} MB (unaliased {:.1}) GFLOP {:.1} steps {}",
        p.parameters,
        p.arena_bytes() as f64 / 1e6,
        p.arena_len_unaliased as f64 * 4e-6,
        p.cost().flops as f64 * 1e-9,
        p.steps.len()
    );
    let t0 = std::time::Instant::now();
    let mut avg = 0.0;
    for s in 0..steps {
        let l = t.step(s).unwrap();
        avg += l;
        if s % 25 == 24 {
            println!("step {s} loss {:.3} {:.1}s", avg / 25.0, t0.elapsed().as_secs_f64());
            avg = 0.0;
        }
    }
    let ema = t.trainer.executor.read(tape::Region::Ema).unwrap();
    std::fs::write("/tmp/match.bin", bytemuck::cast_slice(&ema)).unwrap();
    let truth1 = data::labels::Labels::read(format!("{dir}/truth_train.csv")).unwrap();
    let truth2 = data::labels::Labels::read(format!("{dir}/truth_test1.csv")).unwrap();
    let gt: Vec<Vec<[f64; 2]>> =
        truth1.rows.iter().chain(&truth2.rows).map(|r| r.points.iter().map(|p| p.unwrap()).collect()).collect();
    let tpl = 124;
    let mut m = matching::Matcher::new(&device, &cfg, &ema, &ds, 19).unwrap();
    let pts: Vec<_> = gt[tpl].iter().map(|&p| ds.stored(tpl, p)).collect();
    for views in [1, 8] {
        let f = m.template(&ds, tpl, &pts, views).unwrap();
        for range in [0..150, 150..300] {
            let mut e = vec![];
            for i in range.clone() {
                let r = m.locate(&ds, i, &f, None).unwrap();
                for k in 0..19 {
                    let p = ds.original(i, r[k].point);
                    e.push(0.25 * ((p[0] - gt[i][k][0]).powi(2) + (p[1] - gt[i][k][1]).powi(2)).sqrt());
                }
            }
            println!(
                "views {views} {range:?} MRE {:.3} sdr2 {:.1}",
                e.iter().sum::<f64>() / e.len() as f64,
                100.0 * e.iter().filter(|&&x| x < 2.0).count() as f64 / e.len() as f64
            );
        }
    }
}
