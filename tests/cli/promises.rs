//! What is promised of every run: grouping changes nothing, a GPU repeats itself, one landmark is enough, methods compare.

use crate::bad_input::refused;
use crate::fixture::{Fixture, TINY, ok, onemark, skipped, stderr, stdout};
use onemark::data::labels::Labels;
use onemark::learn::checkpoint::StageLog;
use onemark::model::Model;

#[test]
fn landmarks_trained_one_by_one_are_those_trained_together() {
    let f = Fixture::get();
    f.trained();
    // A mebibyte holds no group of two.
    let alone = ["--set", "memory_mib=1", "--stages", "match,single", "--quiet", "--spacing", "0.5"];
    ok(f.train("grouped", &alone));
    let net = |run: &str| Model::read(&f.root.join(run).join("single.safetensors")).unwrap().net;
    assert!(net("grouped") == net("trained"));
    let left = std::fs::read_dir(f.root.join("grouped")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with("single-")), "finished groups are removed");
}

#[test]
fn one_landmark_is_enough() {
    let f = Fixture::get();
    let mut labels = Labels::read(f.path("template.csv")).unwrap();
    labels = labels.select(&labels.names[1..2]);
    labels.write(f.path("one.csv")).unwrap();
    ok(f.train("one", &["--landmarks", "one.csv", "--quiet"]));
    let model = Model::read(&f.root.join("one/fused.safetensors")).unwrap();
    assert_eq!(model.header.landmarks.len(), 1);
}

#[test]
fn a_gpu_trains_the_same_bytes_twice() {
    if onemark::gpu::devices().is_empty() {
        return skipped("no Vulkan or Metal device");
    }
    let f = Fixture::get();
    for run in ["gpu-a", "gpu-b"] {
        ok(f.train(run, &["--device", "gpu", "--quiet", "--stages", "match,single,fuse"]));
    }
    f.assert_same_weights("gpu-a", "gpu-b");
}

#[test]
fn methods_are_compared() {
    let f = Fixture::get();
    let run = f.trained();
    // A truth whose columns come in another order, with a landmark that the run does not know.
    let truth = Labels::read(f.path("truth.csv")).unwrap();
    let mut names = truth.names.clone();
    names.reverse();
    let mut other = truth.clone();
    other.names = names.iter().cloned().chain(["elbow".to_string()]).collect();
    for row in &mut other.rows {
        row.points.reverse();
        row.points.push(Some([1.0, 1.0]));
    }
    other.write(f.path("other-truth.csv")).unwrap();
    let compare = |truth: &str, out: &str| {
        let run = run.to_str().unwrap();
        let args = ["compare", run, "--images", "images", "--truth", truth, "--out", out, "--json", "--quiet"];
        serde_json::from_str::<serde_json::Value>(&stdout(&ok(onemark(&args)))).unwrap()
    };
    let fewer = std::fs::read_to_string(f.path("truth.csv")).unwrap().replace("thumb_tip", "tip_of_thumb");
    std::fs::write(f.root.join("fewer.csv"), fewer).unwrap();
    let args = ["compare", "trained", "--images", "images", "--truth", "fewer.csv", "--out", "compared-fewer"];
    let fewer = ok(onemark(&args));
    assert!(
        stderr(&fewer).contains("fewer.csv: has no thumb_tip: errors are those of the others"),
        "{}",
        stderr(&fewer)
    );
    let (a, b) = (compare("truth.csv", "compared-a"), compare("other-truth.csv", "compared-b"));
    for method in ["copy", "match", "joint", "single", "fused"] {
        let mre = |summary: &serde_json::Value| summary["methods"][method]["mre"].as_f64().unwrap();
        assert!((mre(&a) - mre(&b)).abs() < 1e-9, "{method}");
    }
    // Pictures join every point with its own truth.
    let pictures = |out: &str| {
        let page = std::fs::read_to_string(f.path(&format!("{out}/report.html"))).unwrap();
        page.split('"').filter(|part| part.starts_with("data:image/png")).map(String::from).collect::<Vec<_>>()
    };
    assert!(!pictures("compared-a").is_empty() && pictures("compared-a") == pictures("compared-b"));
    // A ruler's ends need not be trained landmarks; ten millimetres over ten pixels.
    let mut ruled = truth.clone();
    ruled.names.splice(0..0, ["ruler_top".to_string(), "ruler_end".to_string()]);
    for row in &mut ruled.rows {
        row.points.splice(0..0, [Some([3.0, 1.0]), Some([3.0, 11.0])]);
    }
    ruled.write(f.path("ruled.csv")).unwrap();
    let by_ruler = |images: &str, truth: &str, out: &str| {
        let ruler = ["--spacing-from", "ruler_top,ruler_end=10", "--json"];
        ok(onemark(&[&["compare", "trained", "--images", images, "--truth", truth, "--out", out], &ruler[..]].concat()))
    };
    let ruled_summary: serde_json::Value =
        serde_json::from_str(&stdout(&by_ruler("images", "ruled.csv", "compared-ruled"))).unwrap();
    let fused = &ruled_summary["methods"]["fused"];
    let (mm, px) = (fused["mre"].as_f64().unwrap(), a["methods"]["fused"]["mre"].as_f64().unwrap());
    assert!(fused["unit"] == "mm" && (mm - px).abs() < 1e-9, "{fused}");
    let labels = |summary: &serde_json::Value| summary["pseudo_labels"]["last"].as_f64().unwrap();
    assert!((labels(&ruled_summary) - labels(&a)).abs() < 1e-9);
    // What does not fit an image that was trained on costs that image's label errors alone.
    ruled.rows.iter_mut().find(|row| row.image == "p2.png").unwrap().width *= 2;
    ruled.write(f.path("ruled.csv")).unwrap();
    let notes = stderr(&by_ruler("images/p1.png", "ruled.csv", "compared-one"));
    assert!(notes.contains("\"p2.png\" was trained on in another shape"), "{notes}");
    let parameters = |method: &str| a["methods"][method]["parameters"].as_u64().unwrap();
    assert!(parameters("fused") < parameters("single"));
    let page = std::fs::read_to_string(f.path("compared-a/report.html")).unwrap();
    assert!(page.contains("5 images, 5 of which were trained on"));
    let text = || page.split('"').filter(|part| !part.starts_with("data:"));
    assert!(text().any(|part| part.contains("fused")) && !text().any(|part| part.contains("NaN")));
    // The truth names training images too.
    for chart in [
        "Scores and shares of right points",
        "Pseudo-label error over training",
        "Confidence and error of the final pseudo-labels",
        "their mean error (the truth serves evaluation alone)",
        "Pseudo-labels of thumb_tip over stage single",
        "Pseudo-labels of thumb_tip over stage joint",
        "checkpoints of joint training",
        "checkpoints of the fusion",
        "fused, shared weights frozen",
    ] {
        assert!(text().any(|part| part.contains(chart)), "{chart}");
    }
    let phases = a["seesaw"].as_array().unwrap();
    let phase = |i: usize| (phases[i]["stage"].as_str().unwrap(), phases[i]["frozen"].as_bool().unwrap());
    assert_eq!((phases.len(), phase(0), phase(1), phase(2)), (3, ("joint", false), ("fused", false), ("fused", true)));
}

#[test]
fn logs_hold_where_every_label_went_and_why() {
    let f = Fixture::get();
    let run = f.trained();
    let images = f.root.join("images").read_dir().unwrap().count();
    for (stage, landmarks, updates) in [("single", 4, 3), ("joint", 4, 2)] {
        let log = std::fs::read(run.join(format!("{stage}.log.json"))).unwrap();
        let log: StageLog = serde_json::from_slice(&log).unwrap();
        assert_eq!((log.start.len(), log.updates.len()), (landmarks, landmarks * updates), "{stage}");
        let mut before = log.start.clone();
        for update in &log.updates {
            let k = update.landmark;
            let outcomes: Vec<char> = update.outcomes.chars().collect();
            assert_eq!(
                (outcomes.len(), update.points.len(), outcomes[0]),
                (images, images, '-'),
                "the first is the template"
            );
            let count = |letter: char| outcomes.iter().filter(|&&outcome| outcome == letter).count();
            let counts = [update.accepted, update.refused_spread, update.refused_shape, update.refused_step];
            assert_eq!(['a', 'v', 's', 'l'].map(count), counts);
            for (i, point) in update.points.iter().enumerate().filter(|(i, _)| outcomes[*i] != 'a') {
                assert_eq!(*point, before[k][i], "{stage}, step {}, landmark {k}, image {i}", update.step);
            }
            assert!(update.points.iter().flatten().all(|v| (100.0 * v).round() / 100.0 == *v), "hundredths");
            before[k].clone_from(&update.points);
        }
        assert_eq!(
            before.iter().map(|points| points[0]).collect::<Vec<_>>(),
            log.start.iter().map(|p| p[0]).collect::<Vec<_>>()
        );
    }
}

#[test]
fn stages_of_another_run_are_taken_over_where_settings_are_the_same() {
    let f = Fixture::get();
    f.trained();
    let rank = ["--set", "fuse.rank=2", "--quiet", "--spacing", "0.5"];
    ok(f.train("rank-alone", &rank));
    let taken = ok(f.train("rank-from", &["--from", "trained", "--set", "fuse.rank=2", "--spacing", "0.5"]));
    assert!(stderr(&taken).contains("match, joint, single: taken over from trained"), "{}", stderr(&taken));
    let read = |run: &str, file: &str| std::fs::read(f.root.join(run).join(file)).unwrap();
    let files = std::fs::read_dir(f.root.join("rank-alone")).unwrap().map(|entry| entry.unwrap());
    for file in files.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name().into_string().unwrap()) {
        if !["run.json", "times.json", "report.html"].contains(&file.as_str()) {
            assert!(read("rank-alone", &file) == read("rank-from", &file), "{file}");
        }
    }
    let times: serde_json::Value = serde_json::from_slice(&read("rank-from", "times.json")).unwrap();
    let before: serde_json::Value = serde_json::from_slice(&read("trained", "times.json")).unwrap();
    assert!(times["single"] == before["single"] && times["fused"]["device"].as_str().unwrap().starts_with("cpu"));
    // Adapters of the decoder alone are fewer, and all of them are there.
    ok(f.train("decoder", &["--from", "trained", "--set", "fuse.position=decoder", "--spacing", "0.5", "--quiet"]));
    let fused = |run: &str| Model::read(&f.root.join(run).join("fused.safetensors")).unwrap();
    let adapters = |model: &Model| -> Vec<String> {
        let layout = model.header.layouts().1;
        layout.parameters.iter().map(|p| p.name.clone()).filter(|name| name.contains("adapter")).collect()
    };
    let (all, decoder) = (adapters(&fused("trained")), adapters(&fused("decoder")));
    assert!(all.iter().any(|name| name.starts_with("encoder")) && !decoder.is_empty(), "{all:?} {decoder:?}");
    assert!(decoder.iter().all(|name| name.starts_with("decoder") && all.contains(name)), "{decoder:?}");
    ok(onemark(&["detect", "images", "--weights", "decoder/fused.safetensors", "--out", "decoder.csv", "--quiet"]));
    // Another seed has nothing in common; with another annotation the matcher has, though not what it proposes; other images are refused.
    let other =
        ok(f.train("seed-from", &["--from", "trained", "--seed", "5", "--stages", "match", "--spacing", "0.5"]));
    assert!(!stderr(&other).contains("taken over"), "{}", stderr(&other));
    let second = |out: &str, more: &[&str]| {
        let words = ["train", "images", "--template", "p1.png", "--landmarks", "truth.csv", "--out", out];
        let mut command = f.command(&words);
        command.args(TINY.iter().flat_map(|set| ["--set", set])).args(more).output().unwrap()
    };
    ok(second("second-alone", &["--stages", "match", "--quiet"]));
    let stages = ["--from", "trained", "--stages", "match,joint"];
    let taken = ok(second("second-from", &stages));
    assert!(stderr(&taken).contains("match: taken over from trained"), "{}", stderr(&taken));
    let proposed = |run: &str| (read(run, "proposals.json"), Model::read(&f.root.join(run).join("match.safetensors")));
    let (alone, from, first) = (proposed("second-alone"), proposed("second-from"), proposed("trained"));
    assert!(alone.0 == from.0 && from.0 != first.0);
    let [alone, from, first] = [alone, from, first].map(|run| run.1.unwrap());
    assert!(alone.template == from.template && alone.matching == from.matching && alone.shape == from.shape);
    assert!(from.matching == first.matching && from.template != first.template);
    let fewer = ["train", "images/p0.png", "images/p1.png", "--template", "p0.png", "--landmarks", "template.csv"];
    let fewer = onemark(&[&fewer[..], &["--out", "fewer", "--from", "trained", "--quiet"]].concat());
    refused(fewer, 3, &["trained: is of another number of images, 6 (now 2)"]);
}

#[test]
fn millimetres_are_those_of_the_images_compared() {
    let f = Fixture::get();
    let run = f.trained();
    let mut truth = Labels::read(f.path("truth.csv")).unwrap();
    // Of the others, nothing says how long a pixel is.
    truth.rows.iter_mut().skip(1).take(2).for_each(|row| row.spacing = Some([0.5, 0.5]));
    truth.write(f.path("some-mm.csv")).unwrap();
    let images = ["images/p1.png", "images/p2.png"];
    let args = [&["compare", run.to_str().unwrap(), "--images"], &images[..]].concat();
    let done = onemark(&[&args[..], &["--truth", "some-mm.csv", "--out", "some-mm", "--json"]].concat());
    let summary: serde_json::Value = serde_json::from_str(&stdout(&ok(done))).unwrap();
    assert_eq!(summary["methods"]["fused"]["unit"], "mm");
    let page = std::fs::read_to_string(f.path("some-mm/report.html")).unwrap();
    assert!(page.contains("Pseudo-label error over training"));
}

#[test]
fn the_folder_of_a_demo_is_a_run() {
    let f = Fixture::get();
    let mut demo = f.command(&["demo", "--out", "demo", "--quiet"]).spawn().unwrap();
    let start = std::time::Instant::now();
    while !f.root.join("demo/truth.csv").is_file() && demo.try_wait().unwrap().is_none() {
        assert!(start.elapsed().as_secs() < 60, "no demo/truth.csv");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    demo.kill().unwrap();
    demo.wait().unwrap();
    let described = stdout(&ok(onemark(&["inspect", "demo"])));
    assert!(described.contains("images      48, template phantom-000.png, seed 1"), "{described}");
    assert_eq!(Labels::read(f.path("demo/truth.csv")).unwrap().rows.len(), 48 + 40);
    assert_eq!(f.root.join("demo/test").read_dir().unwrap().count(), 40, "images to compare on");
}

#[test]
fn parts_merge_to_the_bytes_of_one_run() {
    let f = Fixture::get();
    let train =
        |out: &str, args: &[&str]| ok(f.train(out, &[&["--quiet", "--set", "single.rounds=[1.5, 1]"], args].concat()));
    let merge = |parts: &[&str]| onemark(&[&["merge"], parts, &["--out", "merged"]].concat());
    train("rounds", &["--stages", "match,single,fuse"]);
    train("merged", &["--stages", "match"]);
    for round in 1..=2 {
        for (part, landmarks) in [("part-a", "0..1"), ("part-b", "1..4")] {
            let folder = f.root.join(part);
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir(&folder).unwrap();
            for file in
                std::fs::read_dir(f.root.join("merged")).unwrap().map(Result::unwrap).filter(|e| e.path().is_file())
            {
                std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
            }
            train(part, &["--resume", "--part", landmarks]);
        }
        assert!(stdout(&ok(merge(&["part-b"]))).contains(&format!("round {round} of 2: landmarks 0..1 are still")));
        ok(merge(&["part-a", "part-b"]));
    }
    // Into a folder that is not there yet, the labels of the round before come along.
    ok(onemark(&["merge", "part-a", "part-b", "--out", "fresh"]));
    train("fresh", &["--resume", "--stages", "fuse"]);
    f.assert_same_weights("rounds", "fresh");
    train("merged", &["--resume", "--stages", "fuse"]);
    f.assert_same_weights("rounds", "merged");
    // Two rounds of six steps.
    let compare = ["compare", "rounds", "--images", "images", "--truth", "truth.csv", "--out", "rounds-page", "-q"];
    ok(onemark(&compare));
    let page = std::fs::read_to_string(f.path("rounds-page/report.html")).unwrap();
    let chart = page.split("Pseudo-label error over training").last().unwrap().split("</svg>").next().unwrap();
    assert!(chart.contains(r#"text-anchor="middle" class="m">10<"#), "{chart}");
    for folder in ["fresh", "merged"] {
        let names = std::fs::read_dir(f.root.join(folder)).unwrap().map(|e| e.unwrap().file_name());
        let left = names.filter(|name| name.to_string_lossy().starts_with("single-")).count();
        assert_eq!(left, 0, "{folder}: finished parts and rounds are removed");
    }
    assert!(stdout(&ok(merge(&["part-a"]))).contains("finished before"));
    ok(f.train("stranger", &["--quiet", "--stages", "match", "--seed", "9"]));
    refused(merge(&["stranger"]), 3, &["only parts of one run"]);
    ok(f.train("mixed", &["--quiet", "--stages", "match"]));
    std::fs::copy(f.root.join("stranger/match.safetensors"), f.root.join("mixed/match.safetensors")).unwrap();
    let mixed = f.train("mixed", &["--quiet", "--resume", "--part", "0..1"]);
    refused(mixed, 3, &["mixed/match.safetensors: is of another task or other settings than the run"]);
    refused(merge(&["part-a", "images"]), 3, &["images: not a run"]);
    ok(f.train("torn", &["--quiet", "--stages", "match"]));
    ok(f.train("torn", &["--quiet", "--resume", "--part", "0..1"]));
    let part = f.path("torn/single-part-0-000-001.json");
    let half = std::fs::read(&part).unwrap();
    // Parts that overlap, or that have one name and two contents, are found before anything is written.
    ok(f.train("begun", &["--quiet", "--stages", "match"]));
    for (name, words) in [
        ("single-part-0-000-002.json", "single-part-0-000-002.json: overlaps single-part-0-000-001.json"),
        ("single-part-0-000-001.json", "another folder has a part of this name with another content"),
    ] {
        let other = f.root.join(format!("begun/{name}"));
        std::fs::write(&other, b"{\"net\":[],\"labels\":[],\"log\":{\"start\":[],\"losses\":[],\"updates\":[]}}")
            .unwrap();
        refused(onemark(&["merge", "torn", "begun", "--out", "unborn"]), 3, &[words]);
        refused(onemark(&["merge", "begun", "--out", "torn"]), 3, &[words]);
        std::fs::remove_file(other).unwrap();
    }
    assert!(std::fs::read(&part).unwrap() == half && !f.root.join("torn/single-part-0-000-002.json").exists());
    std::fs::write(&part, &half[..half.len() / 2]).unwrap();
    refused(onemark(&["merge", "torn", "--out", "unborn"]), 3, &["torn/single-part-0-000-001.json: damaged"]);
    for (parts, out, words) in [
        (&["part-a", "stranger"][..], "unborn", "stranger/config.toml: differs from that of part-a; only parts"),
        (&["gone"], "unborn", "gone: not a run"),
        (&["merged"], "unborn", "merged: all its rounds are finished: there is nothing to merge"),
        (&["part-a"], "images", "images: holds files, but no run; empty it, or name another --out"),
    ] {
        refused(onemark(&[&["merge"], parts, &["--out", out]].concat()), 3, &[words]);
    }
    assert!(!f.root.join("unborn").exists());
    assert_eq!(f.root.join("images").read_dir().unwrap().count(), 6);
    let far = f.train("merged", &["--quiet", "--set", "single.rounds=[1.5, 1]", "--resume", "--part", "3..7"]);
    assert_eq!(far.status.code(), Some(2), "{}", stderr(&far));
}
