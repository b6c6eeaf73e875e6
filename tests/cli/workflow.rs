//! The Snakemake workflow: two jobs at a time leave the bytes of one run.

use crate::fixture::{Fixture, TINY, ok, onemark, skipped, stderr};
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The Snakemake of `target/python`, which `.ci/run` makes, or the system's.
fn snakemake() -> Option<String> {
    let runs = |program: &&str| Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    let own = format!("{ROOT}/target/python/bin/snakemake");
    let found = [own.as_str(), "snakemake"].iter().find(|program| runs(program)).map(ToString::to_string);
    if found.is_none() {
        // Not `println!`, which the test runner keeps to itself unless a test fails.
        skipped("no Snakemake");
    }
    found
}

#[test]
fn parts_and_shards_leave_the_bytes_of_one_run() {
    assert_eq!(onemark::learn::config::Config::default().single.rounds.len(), 3, "as the Snakefile says");
    let Some(snakemake) = snakemake() else { return };
    let f = Fixture::get();
    // Names with a space, and a folder that holds more than images.
    std::fs::create_dir_all(f.root.join("workflow/new ones")).unwrap();
    std::fs::write(f.root.join("workflow/new ones/notes.txt"), "none").unwrap();
    for i in 1..6 {
        std::fs::copy(f.root.join(format!("images/p{i}.png")), f.path(&format!("workflow/new ones/p {i}.png")))
            .unwrap();
    }
    let mut settings: Vec<&str> = TINY.to_vec();
    settings.push("single.rounds=[1.5, 1]");
    let config = serde_json::json!({
        "onemark": env!("CARGO_BIN_EXE_onemark"), "images": "images", "template": "p0.png", "landmarks": "template.csv",
        "spacing": 0.5, "settings": settings, "parts": 2, "detect": "workflow/new ones", "shards": 2, "out": "workflow/out",
    });
    std::fs::write(f.root.join("workflow/my.yaml"), config.to_string()).unwrap(); // JSON is YAML
    let mut command = Command::new(snakemake);
    command.args(["-s", &format!("{ROOT}/workflow/Snakefile"), "--configfile", "workflow/my.yaml", "--cores", "2"]);
    let log = ok(command.current_dir(&f.root).output().unwrap());

    let args = ["--stages", "match,single,fuse", "--spacing", "0.5", "--quiet", "--set", "single.rounds=[1.5, 1]"];
    ok(f.train("workflow/one", &args));
    let weights = f.path("workflow/one/fused.safetensors");
    let one = ["detect", "workflow/new ones", "--weights", &weights, "--out", "workflow/one.csv", "--quiet"];
    ok(onemark(&one));
    let read = |name: &str| std::fs::read(Path::new(&f.root).join("workflow").join(name)).unwrap();
    for kind in ["match", "single", "fused"] {
        let [a, b] = ["one", "out/run"].map(|run| read(&format!("{run}/{kind}.safetensors")));
        assert!(a == b, "{kind}: {}", stderr(&log));
    }
    assert_eq!(read("one.csv"), read("out/landmarks.csv"));
    let folders = |name: &str| std::fs::read_dir(f.root.join("workflow/out").join(name)).unwrap().count();
    assert_eq!((folders("parts"), folders("shards")), (4, 2));
}
