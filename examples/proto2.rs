use learn::*;
use onemark::*;
fn stats(tag: &str, e: &[f64]) {
    println!(
        "{tag} MRE {:.3} sdr2 {:.1} 2.5 {:.1} 4 {:.1}",
        e.iter().sum::<f64>() / e.len() as f64,
        sdr(e, 2.0),
        sdr(e, 2.5),
        sdr(e, 4.0)
    );
}
fn sdr(e: &[f64], t: f64) -> f64 {
    100.0 * e.iter().filter(|&&x| x < t).count() as f64 / e.len() as f64
}
fn d(p: [f64; 2], q: [f64; 2]) -> f64 {
    0.25 * ((p[0] - q[0]).powi(2) + (p[1] - q[1]).powi(2)).sqrt()
}
fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let steps: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let names: Vec<String> = (1..=300).map(|i| format!("{i:03}.jpg")).collect();
    let images: Vec<_> = {
        use rayon::prelude::*;
        names.par_iter().map(|n| data::images::read_gray(format!("{dir}/images/{n}")).unwrap()).collect()
    };
    let ds = dataset::Dataset::new(&images, 240);
    let local = dataset::Dataset::new(&images, 480);
    let local_train = dataset::Dataset::new(&images[..150], 480);
    let cfg = matching::MatchConfig::default();
    let device = device::Device::Cpu;
    let truth1 = data::labels::Labels::read(format!("{dir}/truth_train.csv")).unwrap();
    let truth2 = data::labels::Labels::read(format!("{dir}/truth_test1.csv")).unwrap();
    let gt: Vec<Vec<[f64; 2]>> =
        truth1.rows.iter().chain(&truth2.rows).map(|r| r.points.iter().map(|p| p.unwrap()).collect()).collect();
    let tpl: usize = std::env::args().nth(3).map_or(124, |s| s.parse::<usize>().unwrap() - 1);
    let ema: Vec<f32> = bytemuck::cast_slice::<u8, f32>(&std::fs::read("/tmp/match.bin").unwrap()).to_vec();
    let mut m = matching::Matcher::new(&device, &cfg, &ema, &ds, 19).unwrap();
    let pc = propose::ProposeConfig::default();
    let t0 = std::time::Instant::now();
    let t = propose::TemplateFeatures::new(&mut m, &ds, tpl, &gt[tpl], 8).unwrap();
    let props: Vec<_> = (0..300).map(|i| t.propose(&mut m, &ds, tpl, i, &pc).unwrap()).collect();
    println!("propose {:.1}s", t0.elapsed().as_secs_f64());
    for r in [0..150usize, 150..300] {
        let e: Vec<f64> =
            r.clone().flat_map(|i| (0..19).map(move |k| (i, k))).map(|(i, k)| d(props[i][k].point, gt[i][k])).collect();
        stats(&format!("match {r:?}"), &e);
    }
    let free = propose::ProposeConfig { prior: 0.0, ..pc };
    let e: Vec<f64> = (0..150)
        .flat_map(|i| {
            let (f, _) = t.locate(&mut m, &ds, i, &free).unwrap();
            (0..19).map(|k| d(ds.original(i, f[k].point), gt[i][k])).collect::<Vec<_>>()
        })
        .collect();
    stats("match free train", &e);
    let ann = gt[tpl].clone();
    let crop = crops::CropConfig::default();
    let labels = propose::pseudo_labels(&props[..150], &local_train, tpl, &ann, &pc);
    let sc = single::SingleConfig { steps, ..Default::default() };
    let lms: Vec<usize> = match std::env::args().nth(4) {
        Some(s) => s.split(',').map(|v| v.parse().unwrap()).collect(),
        None => (0..19).collect(),
    };
    let mut tr = single::SingleTraining::new(
        &device,
        &sc,
        &crop,
        &local_train,
        tpl,
        lms.clone(),
        lms.iter().map(|&k| labels[k].clone()).collect(),
        1,
    )
    .unwrap();
    let p = tr.trainer.program();
    println!(
        "params {} arena {:.1} MB (unaliased {:.1}) GFLOP {:.1} steps {}",
        p.parameters,
        p.arena_bytes() as f64 / 1e6,
        p.arena_len_unaliased as f64 * 4e-6,
        p.cost().flops as f64 * 1e-9,
        p.steps.len()
    );
    let err = |tr: &single::SingleTraining, tag: &str| {
        let mut all = vec![];
        for (j, &k) in lms.iter().enumerate() {
            all.extend((0..150).map(|i| d(local_train.original(i, tr.labels[j].points[i]), gt[i][k])));
        }
        stats(tag, &all);
    };
    err(&tr, "labels start");
    let t0 = std::time::Instant::now();
    for s in 0..steps {
        let l = tr.step(s).unwrap();
        if s % 25 == 24 {
            println!("step {s} loss {:.3} {:.1}s", l.iter().sum::<f64>() / l.len() as f64, t0.elapsed().as_secs_f64());
        }
        if tr.updates_after(s) {
            let log = tr.update(s).unwrap();
            let f = |g: fn(&labels::UpdateLog) -> usize| log.iter().map(g).sum::<usize>();
            println!(
                "  update acc {} spread {} shape {} step {} moved {:.2} {:.1}s",
                f(|l| l.accepted),
                f(|l| l.refused_spread),
                f(|l| l.refused_shape),
                f(|l| l.refused_step),
                log.iter().map(|l| l.moved).sum::<f64>() / log.len() as f64,
                t0.elapsed().as_secs_f64()
            );
            err(&tr, "  labels");
        }
    }
    let ema = tr.trainer.executor.read(tape::Region::Ema).unwrap();
    std::fs::write("/tmp/single.bin", bytemuck::cast_slice(&ema)).unwrap();
    std::fs::write("/tmp/labels.json", serde_json::to_string(&tr.labels).unwrap()).unwrap();
    let k = lms.len();
    let mut ex = device.executor().unwrap();
    let loc =
        crops::Locator::new(&mut ex, &crop, tape::Region::Ema, nn::Extents::distinct(k), local.shape(), k, 10).unwrap();
    ex.write(tape::Region::Ema, &ema).unwrap();
    ex.write(tape::Region::Data, &local.pixels).unwrap();
    let idx: Vec<usize> = (150..300).collect();
    let coarse: Vec<Vec<[f64; 2]>> =
        idx.iter().map(|&i| lms.iter().map(|&k| local.stored(i, props[i][k].point)).collect()).collect();
    for views in [1, 5] {
        let t0 = std::time::Instant::now();
        let f = loc.find(&mut ex, &local, &idx, &coarse, views).unwrap();
        let mut all = vec![];
        let mut per = vec![];
        for (j, &k) in lms.iter().enumerate() {
            let e: Vec<f64> =
                idx.iter().enumerate().map(|(a, &i)| d(local.original(i, f[a][j].point), gt[i][k])).collect();
            per.push(format!("{}:{:.2}", k + 1, e.iter().sum::<f64>() / 150.0));
            all.extend(e);
        }
        stats(&format!("single test views {views} ({:.1}s)", t0.elapsed().as_secs_f64()), &all);
        println!("{}", per.join(" "));
    }
}
