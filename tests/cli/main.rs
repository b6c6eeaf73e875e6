//! The program as a whole: what people type, and what comes back.

mod bad_input;
mod fixture;
mod performance;
mod promises;
mod resume;

use fixture::{Fixture, ok, onemark, stderr, stdout};
use onemark::data::images::read_gray;
use onemark::data::labels::Labels;
use onemark::learn::config::Config;
use onemark::model::{Kind, Model};
use std::path::PathBuf;

#[test]
fn train_detect_eval() {
    let f = Fixture::get();
    let run = f.trained();
    for kind in Kind::ALL {
        let model = Model::read(&run.join(format!("{}.safetensors", kind.name()))).unwrap();
        assert_eq!((model.header.kind, model.header.images), (kind, 6));
        assert_eq!((model.header.template.as_str(), model.header.spacing), ("p0.png", Some(0.5)));
    }
    assert_eq!(stdout(&f.train("trained", &["--resume", "--quiet"])).lines().count(), 4, "one line a weights file");

    let (pred, pictures) = (f.path("pred.csv"), f.path("pictures"));
    let weights = PathBuf::from(f.weights("fused"));
    let out = f.detect(&["images", "--out", &pred, "--overlay", &pictures, "--json"]);
    let summary: serde_json::Value = serde_json::from_str(&stdout(&ok(out))).unwrap();
    assert_eq!((summary["detected"].as_u64(), summary["failed"].as_array().unwrap().len()), (Some(6), 0));
    let labels = Labels::read(&pred).unwrap();
    assert_eq!((labels.rows.len(), &labels.names), (6, &Model::read(&weights).unwrap().header.landmarks));
    let within = |score: &Option<f64>| (0.0..=1.0).contains(&score.unwrap());
    assert!(labels.rows.iter().all(|row| row.image.ends_with(".png") && row.scores.iter().all(within)));
    assert!(read_gray(f.root.join("pictures/p3.png")).unwrap().width > 64);

    let report = f.path("report.json");
    let truth = f.path("truth.csv");
    let out = ok(onemark(&["eval", "--pred", &pred, "--truth", &truth, "--spacing", "0.5", "--json", &report]));
    assert!(stdout(&out).contains("MRE ± SD mm") && stdout(&out).contains("thumb_tip"), "{}", stdout(&out));
    assert!(std::fs::read_to_string(&report).unwrap().contains("\"landmarks\""));
    let from = ["--spacing-from", "thumb_tip,radius_styloid=30", "--skip", "thumb_tip", "--thresholds", "1,9"];
    let out = ok(onemark(&[&["eval", "--pred", &pred, "--truth", &truth], &from[..]].concat()));
    assert!(stdout(&out).contains("<9 mm %") && !stdout(&out).contains("\nthumb_tip"));
}

#[test]
fn weights_runs_and_devices_are_described() {
    let f = Fixture::get();
    let run = f.trained();
    let out = ok(onemark(&["inspect", &f.weights("fused"), "--json"]));
    let weights: serde_json::Value = serde_json::from_str(&stdout(&out)).unwrap();
    assert_eq!((weights["kind"].as_str(), weights["rank"].as_u64()), (Some("fused"), Some(4)));
    assert!(weights["parameters"].as_u64().unwrap() > 100 && weights["crop_side"] == 16);
    assert!(stdout(&ok(onemark(&["inspect", &f.weights("match")]))).contains("matcher"));
    let out = ok(onemark(&["inspect", run.to_str().unwrap()]));
    assert!(stdout(&out).contains("single.safetensors") && !stdout(&out).contains("checkpoint"));
    assert!(stdout(&ok(onemark(&["devices"]))).starts_with("cpu"));
    let out = ok(onemark(&["devices", "--json"]));
    assert!(serde_json::from_str::<serde_json::Value>(&stdout(&out)).unwrap()[0]["threads"].as_u64() > Some(0));
}

#[test]
fn detections_are_kept_on_resume() {
    let f = Fixture::get();
    f.trained();
    let (part, whole, json) = (f.path("part.csv"), f.path("whole.csv"), f.path("whole.json"));
    ok(f.detect(&["images", "--out", &whole, "--quiet"]));
    ok(f.detect(&["images", "--out", &json, "--quiet"]));
    assert_eq!(Labels::read(&json).unwrap(), Labels::read(&whole).unwrap());
    ok(f.detect(&["images/p[024].png", "--out", &part]));
    assert_eq!(Labels::read(&part).unwrap().rows.len(), 3);
    let out = ok(f.detect(&["images", "--out", &part, "--resume", "--json"]));
    assert!(stdout(&out).contains("\"skipped\": 3"), "{}", stdout(&out));
    assert_eq!(std::fs::read(&part).unwrap(), std::fs::read(&whole).unwrap());
    ok(f.detect(&["images/p1.png", "--out", &part]));
    assert_eq!(Labels::read(&part).unwrap().rows.len(), 1, "replaced without --resume");
}

#[test]
fn one_unreadable_image_does_not_stop_the_others() {
    let f = Fixture::get();
    f.trained();
    let bytes = std::fs::read(f.root.join("images/p1.png")).unwrap();
    std::fs::write(f.root.join("torn.png"), &bytes[..bytes.len() / 2]).unwrap();
    let out = f.path("others.csv");
    let done = f.detect(&["images", "torn.png", "--out", &out, "--quiet", "--json"]);
    assert_eq!(done.status.code(), Some(3));
    assert_eq!((stderr(&done).lines().count(), stderr(&done).contains("torn.png: ")), (1, true), "{}", stderr(&done));
    assert!(stdout(&done).contains("torn.png"));
    assert_eq!(Labels::read(&out).unwrap().rows.len(), 6);
    let done = f.detect(&["torn.png", "--out", "nothing.csv", "--quiet"]);
    assert_eq!((done.status.code(), f.root.join("nothing.csv").exists()), (Some(3), false));
}

#[test]
fn pictures_of_one_stem_do_not_overwrite_each_other() {
    let f = Fixture::get();
    f.trained();
    let folder = f.root.join("stems");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["a.png", "a.PNG", "b.png"] {
        std::fs::copy(f.root.join("images/p2.png"), folder.join(name)).unwrap();
    }
    ok(f.detect(&["stems", "--out", "stems.csv", "--overlay", "stems-seen", "--quiet"]));
    let mut seen: Vec<_> =
        f.root.join("stems-seen").read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    seen.sort();
    assert_eq!(seen, ["a.PNG.png", "a.png_.png", "b.png"]);
    let done = f.detect(&["stems", "--out", "stems.csv", "--overlay", "stems", "--quiet"]);
    assert!(stderr(&done).contains("is one of the images"), "{}", stderr(&done));
}

#[test]
fn threads_do_not_change_a_bit() {
    let f = Fixture::get();
    f.trained();
    for threads in ["1", "2"] {
        let out = format!("threads{threads}");
        ok(f.train(&out, &["--quiet", "--threads", threads, "--set", "memory_mib=1"]));
    }
    f.assert_same_weights("threads1", "threads2");
    ok(f.train("seed2", &["--quiet", "--seed", "2", "--stages", "match"]));
    let weights = |run: &str| std::fs::read(f.root.join(run).join("match.safetensors")).unwrap();
    assert_ne!(weights("seed2"), weights("trained"));
}

#[test]
fn settings_are_kept_and_progress_is_shown() {
    let f = Fixture::get();
    std::fs::write(f.root.join("tiny.toml"), "seed = 5\n[match]\nsteps = 3\noptimizer.lr = 1\n").unwrap();
    let done = ok(f.train("kept", &["--config", "tiny.toml", "--stages", "match", "--json"]));
    assert!(stderr(&done).starts_with("device: cpu") && stderr(&done).contains("match        4/4 100 %  loss "));
    assert!(stdout(&done).contains("match.safetensors"));
    let text = std::fs::read_to_string(f.root.join("kept/config.toml")).unwrap();
    let config: Config = toml::from_str(&text).unwrap();
    assert_eq!((config.seed, config.matching.steps), (5, 4), "--set goes over the file");
    assert_eq!((config.matching.optimizer.lr, config.matching.optimizer.warmup), (1.0, 50));
    let run: serde_json::Value = serde_json::from_slice(&std::fs::read(f.root.join("kept/run.json")).unwrap()).unwrap();
    assert_eq!((run["template"].as_str(), run["images"].as_array().unwrap().len()), (Some("p0.png"), 6));
}
