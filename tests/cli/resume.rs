//! A run that is killed or interrupted, at any moment and again and again, ends as one that was not.
#![cfg(unix)]

use crate::fixture::{ALL_STAGES, Fixture, ok, onemark, stderr, stdout};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Enough steps to be caught in each stage.
const LONG: [&str; 8] =
    ["--set", "match.steps=40", "--set", "joint.steps=24", "--set", "single.steps=30", "--set", "fuse.steps=24"];

const RESUME: [&str; 1] = ["--resume"];

fn args(more: &[&'static str]) -> Vec<&'static str> {
    [&ALL_STAGES[..], &LONG, &["--quiet"], more].concat()
}

fn reference(f: &Fixture) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        ok(f.train("whole", &args(&[])));
    });
}

/// The checkpoint that a run which was stopped has left, and its stage.
fn checkpoint(run: &std::path::Path) -> Option<(std::path::PathBuf, String)> {
    std::fs::read_dir(run).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name()?.to_str()?.strip_prefix("checkpoint-")?.strip_suffix(".safetensors")?.to_string();
        Some((path, name))
    })
}

/// Waits until the run has a file, or has ended.
fn wait_for(child: &mut Child, file: &std::path::Path) {
    let start = Instant::now();
    while !file.is_file() && child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(60), "no {}", file.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn killed_at_many_moments() {
    let f = Fixture::get();
    reference(f);
    let mut kills = 0;
    for (stage, delay) in [("config.toml", 0), ("checkpoint-match.safetensors", 30), ("match.safetensors", 5)]
        .into_iter()
        .chain([("joint-01.safetensors", 3), ("joint.safetensors", 9), ("joint.safetensors", 60)])
        .chain([("single.safetensors", 0), ("single.safetensors", 40)])
    {
        let begun = f.root.join("killed").exists();
        let mut child = f.training("killed", &args(if begun { &RESUME } else { &[] })).spawn().unwrap();
        wait_for(&mut child, &f.root.join("killed").join(stage));
        std::thread::sleep(Duration::from_millis(delay));
        kills += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills > 2, "{kills} runs were still going");
    let leftover = f.root.join("killed/.fused.safetensors.1-1.onemark-tmp");
    std::fs::write(&leftover, b"a write that was killed").unwrap();
    ok(f.train("killed", &args(&RESUME)));
    assert!(!leftover.exists());
    f.assert_same_weights("killed", "whole");
    // What a kill between a stage's weights and their clearing would leave.
    for left in ["checkpoint-single.safetensors", "single-part-0-000-001.json", "single-round-0.json"] {
        std::fs::write(f.root.join("killed").join(left), b"left").unwrap();
        ok(f.train("killed", &args(&RESUME)));
        assert!(!f.root.join("killed").join(left).exists(), "{left}");
    }
    for file in
        ["joint.safetensors", "joint-02.safetensors", "fused-03.safetensors", "joint.log.json", "single.log.json"]
    {
        let read = |run: &str| std::fs::read(f.root.join(run).join(file)).unwrap();
        assert!(read("killed") == read("whole"), "{file}");
    }
}

#[test]
fn interrupted() {
    let f = Fixture::get();
    reference(f);
    let interrupt = |_| {
        let _ = std::fs::remove_dir_all(f.root.join("interrupted"));
        let mut child = f.training("interrupted", &args(&["--threads", "1"])).spawn().unwrap();
        wait_for(&mut child, &f.root.join("interrupted/checkpoint-match.safetensors"));
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        child.wait_with_output().unwrap()
    };
    // On a machine with other work a run may have ended before.
    let output = (0..9).map(interrupt).find(|output| output.status.code() != Some(0)).expect("an interrupt in time");
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert_eq!(
        stderr(&output),
        "error: interrupted; train and detect go on with --resume, demo with the same command\n"
    );
    let stand = stdout(&ok(onemark(&["inspect", &f.path("interrupted")])));
    // The interrupt comes when the machine lets it, in whichever stage trains then.
    let (_, stage) = checkpoint(&f.root.join("interrupted")).unwrap();
    assert!(stand.contains(&format!("checkpoint  {stage}, step ")), "{stand}");
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&ok(onemark(&["inspect", &f.path("interrupted"), "--json"])))).unwrap();
    assert_eq!(json["checkpoint"]["stage"].as_str(), Some(stage.as_str()));
    let steps = [("match", 40), ("joint", 24), ("single", 30), ("fused", 24)];
    assert!(steps.iter().any(|&(name, n)| name == stage && json["checkpoint"]["steps"].as_u64() == Some(n)), "{json}");
    ok(f.train("interrupted", &args(&RESUME)));
    f.assert_same_weights("interrupted", "whole");
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let f = Fixture::get();
    reference(f);
    let run = f.root.join("damaged");
    let kill = |_| {
        let _ = std::fs::remove_dir_all(&run);
        let mut child = f.training("damaged", &args(&[])).spawn().unwrap();
        wait_for(&mut child, &run.join("checkpoint-match.safetensors"));
        child.kill().unwrap();
        child.wait().unwrap();
        checkpoint(&run).filter(|(_, stage)| !run.join(format!("{stage}.safetensors")).exists())
    };
    // Between two stages there is none.
    let (path, stage) = (0..9).find_map(kill).expect("a kill while a stage trains");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let output = f.train("damaged", &args(&RESUME));
    assert_eq!((output.status.code(), stderr(&output).lines().count()), (Some(3), 1), "{}", stderr(&output));
    assert!(stderr(&output).contains("delete it to train the stage from its start"), "{}", stderr(&output));
    // Whole, but another model's.
    std::fs::remove_file(&path).unwrap();
    std::fs::copy(f.root.join(format!("whole/{stage}.safetensors")), &path).unwrap();
    assert_eq!(f.train("damaged", &args(&RESUME)).status.code(), Some(3));
    std::fs::remove_file(&path).unwrap();
    ok(f.train("damaged", &args(&RESUME)));
    f.assert_same_weights("damaged", "whole");
}

#[test]
fn a_resumed_run_trains_what_it_was_asked_for() {
    let f = Fixture::get();
    ok(f.train("asked", &["--quiet", "--stages", "match"]));
    ok(f.train("asked", &["--quiet", "--resume", "--stages", "single"]));
    let single = f.root.join("asked/single.safetensors");
    std::fs::remove_file(&single).unwrap();
    let listed = stdout(&ok(f.train("asked", &["--quiet", "--resume"])));
    assert!(single.is_file() && !listed.contains("joint") && !listed.contains("fused"), "{listed}");
    // The page still says how the run was begun.
    let page = std::fs::read_to_string(f.root.join("asked/report.html")).unwrap();
    assert!(page.contains("--stages match") && !page.contains("--resume"));
}
