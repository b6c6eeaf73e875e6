//! `bench`, `profile`, `inspect --plan` and `ONEMARK_TRACE`.

use crate::fixture::{Fixture, ok, onemark, stderr, stdout};
use serde_json::Value;

const BRIEF: [&str; 5] = ["--quiet", "--warmup", "0", "--min-time", "0"];

fn bench(args: &[&str]) -> std::process::Output {
    onemark(&[&["bench"], args, &BRIEF].concat())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A software device is enough; without any, only the CPU is tested.
fn devices() -> Vec<&'static str> {
    let list = json(&stdout(&ok(onemark(&["devices", "--json"]))));
    if list.as_array().unwrap().len() > 1 { vec!["cpu", "gpu:0"] } else { vec!["cpu"] }
}

#[test]
fn kernels_are_measured_and_right() {
    for device in devices() {
        let shape = ["--shape", "n=2,h=9:12,ci=3,co=8,kh=3", "--verify", "--device", device, "--format", "json"];
        let results = json(&stdout(&ok(bench(&[&["conv2d", "matmul"], &shape[..]].concat()))));
        let rows = results["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2 * 4);
        for row in rows {
            assert!(row["verified"].as_f64().unwrap() < 1e-5 && row["median"].as_f64().unwrap() > 0.0, "{row}");
        }
        // A row's command measures that row.
        let replay = rows[0]["replay"].as_str().unwrap();
        let (words, case) = replay.strip_prefix("onemark bench ").unwrap().split_once(" --case ").unwrap();
        let words: Vec<&str> = words.split(' ').chain(["--case", case.trim_matches('\''), "--json"]).collect();
        let again = json(&stdout(&ok(bench(&words))));
        for key in ["kernel", "variant", "shape", "settings", "device"] {
            assert_eq!(again["rows"][0][key], rows[0][key]);
        }
    }
}

#[test]
fn slower_than_before_is_a_failure() {
    let f = Fixture::get();
    let (base, slow) = (f.path("base.json"), f.path("slow.json"));
    let measured = stdout(&ok(bench(&["conv2d_grad_input", "--shape", "h=8,ci=4,kh=3", "--format", "json"])));
    std::fs::write(&base, &measured).unwrap();
    let mut fast = json(&measured);
    fast["rows"][0]["median"] = Value::from(1e-12);
    std::fs::write(&slow, fast.to_string()).unwrap();
    let compare = |base: &str, args: &[&str]| {
        bench(&[&["conv2d_grad_input", "--shape", "h=8,ci=4,kh=3", "--compare", base], args].concat())
    };
    assert!(stdout(&ok(compare(&base, &["--fail-over", "1e9"]))).contains("change"));
    let done = compare(&slow, &["--fail-over", "50"]);
    assert_eq!(done.status.code(), Some(6));
    assert!(stderr(&done).contains("1 of 1 rows are slower by more than 50 %: conv2d_grad_input"), "{}", stderr(&done));
    assert!(stdout(&done).contains("conv2d_grad_input"), "results are shown nevertheless");
}

#[test]
fn what_cannot_be_measured_is_said() {
    for (args, cause) in [
        (&["conv3d"][..], "nothing to measure is called conv3d; did you mean conv2d? --list"),
        (&["conv2d", "poool"], "nothing to measure is called poool; did you mean pool? --list"),
        (&["--shape", "h=0"], "`0` is not"),
        (&["--case", "{}"], "--case {}: missing field"),
        (&["--case", r#"{"op":{"Pool":{"kind":"max"}},"inputs":[]}"#], "pool takes 1 inputs, not 0"),
        (
            &["--case", r#"{"op":{"ScaleShift":{"scale":2.0,"shift":0.0}},"inputs":[[1,1,0,4,8]]}"#],
            "[1, 1, 0, 4, 8] is empty",
        ),
        (
            &[
                "--case",
                r#"{"op":{"WarpAugment":{"h":4194304,"w":4194304}},"inputs":[[1,3,7,9,1],[1,1048576,1,1,25]]}"#,
            ],
            "is more than any memory holds",
        ),
        (
            &[
                "--case",
                r#"{"op":{"Conv2dGradInput":{"h":8,"w":8,"stride":0,"pad":1}},"inputs":[[1,1,8,8,4],[1,4,3,3,4]]}"#,
            ],
            "with stride 0 and padding 1 does not fit",
        ),
        (&["--compare", "none.json"], "none.json: cannot read"),
        (&["conv2d", "--shape", "h=4", "--device", "cpu", "--variant", "conv2d_small"], "none of these kernels has it"),
    ] {
        let done = bench(args);
        assert!(matches!(done.status.code(), Some(2 | 3)) && stderr(&done).contains(cause), "{}", stderr(&done));
    }
    let listed = stdout(&ok(onemark(&["bench", "--list"])));
    assert!(listed.lines().count() > 40 && listed.contains("conv2d_grad_weight") && listed.contains("step.single"));
    let rows = json(&stdout(&ok(onemark(&["bench", "--list", "--json"]))));
    assert!(rows.as_array().unwrap().iter().any(|row| row["name"] == "conv2d" && row["flops"].as_u64() > Some(0)));
}

#[test]
fn a_profile_is_summed_and_traced() {
    let f = Fixture::get();
    f.trained();
    let trace = f.path("trace.json");
    let args = ["profile", "detect", "--weights", &f.weights("fused"), "--trace", &trace, "--json", "--quiet"];
    let summary = json(&stdout(&ok(onemark(&args))));
    let share: f64 = summary["kernels"].as_array().unwrap().iter().map(|line| line["share"].as_f64().unwrap()).sum();
    assert!(share > 0.0 && share < 1.001 && summary["steps"] == 3, "{summary}");
    let trace = json(&std::fs::read_to_string(&trace).unwrap());
    let events = trace["traceEvents"].as_array().unwrap();
    assert!(events.iter().any(|event| event["name"] == "conv2d" && event["args"]["gflop_per_s"].as_f64() > Some(0.0)));
    let done = onemark(&["profile", "train", "--weights", &f.weights("fused")]);
    assert_eq!(done.status.code(), Some(2), "{}", stderr(&done));
}

#[test]
fn plans_are_shown_and_drawn() {
    let f = Fixture::get();
    let (run, svg) = (f.trained(), f.path("arena.svg"));
    let plan = stdout(&ok(onemark(&["inspect", &f.weights("fused"), "--plan", "--svg", &svg])));
    assert!(plan.starts_with("detect.match\n") && plan.contains("\ndetect.fused\n"), "{plan}");
    assert!(plan.contains("encoder0a.conv2d") && plan.contains("without sharing"), "{plan}");
    assert!(std::fs::read_to_string(&svg).unwrap().matches("<rect class=\"t\"").count() > 10);
    let plan = stdout(&ok(onemark(&["inspect", run.to_str().unwrap(), "--plan=step.fused"])));
    assert!(plan.starts_with("step.fused\n") && plan.contains("adamw") && !plan.contains("step.single"), "{plan}");
    let done = onemark(&["inspect", &f.weights("match"), "--plan=fused"]);
    assert!(stderr(&done).contains("no such program; there are detect.match"), "{}", stderr(&done));
}

#[test]
fn every_step_can_be_seen() {
    let f = Fixture::get();
    let weights = f.weights("fused");
    f.trained();
    let args = ["detect", "images/p1.png", "--weights", &weights, "--out", "traced.csv", "--quiet"];
    let done = ok(f.command(&args).env("ONEMARK_TRACE", "1").output().unwrap());
    let text = stderr(&done);
    let line = text.lines().find(|line| line.starts_with("conv2d")).expect("a convolution");
    assert!(["encoder0a.conv2d", "->", "FLOP/s", "B/s"].iter().all(|part| line.contains(part)), "{line}");
}
