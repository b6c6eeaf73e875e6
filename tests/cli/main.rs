//! The program as a whole: what people type, and what comes back.

mod bad_input;
#[path = "../browser/chromium.rs"]
mod chromium;
mod detect;
#[cfg(feature = "dicom")]
mod dicom;
mod experiments;
mod fixture;
mod formats;
mod generality;
mod gpu;
mod kept;
mod machine;
mod performance;
mod promises;
mod resume;
mod web;
mod workflow;

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
