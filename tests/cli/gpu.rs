//! GPU variants: tuning files, and f16.

use crate::fixture::{Fixture, ok, onemark, skipped, stderr, stdout};
use onemark::data::labels::Labels;
use serde_json::{Value, json};

/// What `onemark devices` says of the first GPU, a software one too; none where there is no GPU.
fn gpu() -> Option<Value> {
    let list: Value = serde_json::from_str(&stdout(&ok(onemark(&["devices", "--json"])))).unwrap();
    let gpu = list.as_array().unwrap().get(1).cloned();
    if gpu.is_none() {
        skipped("no Vulkan or Metal device");
    }
    gpu
}

/// The first GPU, if it has f16.
fn half() -> bool {
    let half = gpu().is_some_and(|gpu| gpu["features"].as_array().unwrap().contains(&"f16".into()));
    if !half {
        skipped("no GPU with f16");
    }
    half
}

const CASE: &str = r#"{"op":{"MatMul":{"transpose_a":false,"transpose_b":true}},"inputs":[[1,1,4,9,8],[1,1,1,5,8]]}"#;

#[test]
fn tuning_files_choose_variants_and_bad_ones_are_ignored() {
    let f = Fixture::get();
    let Some(gpu) = gpu() else { return };
    let case: Value = serde_json::from_str(CASE).unwrap();
    let driver = gpu["backend"].as_str().unwrap().split_once(' ').unwrap().1;
    let tuning = |driver: &str, variant: &str| {
        json!({
            "onemark": env!("CARGO_PKG_VERSION"), "adapter": gpu["name"], "driver": driver,
            "choices": [{"op": case["op"], "inputs": case["inputs"], "variant": variant}],
        })
        .to_string()
    };
    let bench = |name: &str, text: &str| {
        std::fs::write(f.path(name), text).unwrap();
        let args = ["bench", "--case", CASE, "--device", "gpu:0", "--json", "--warmup", "0", "--min-time", "0"];
        let done = ok(f.command(&args).env("ONEMARK_TUNING", f.path(name)).output().unwrap());
        let results: Value = serde_json::from_str(&stdout(&done)).unwrap();
        (results["rows"][0]["variant"].as_str().unwrap().to_string(), stderr(&done))
    };
    let (variant, notes) = bench("tuned.json", &tuning(driver, "matmul_b_transposed_narrow"));
    assert_eq!(variant, "matmul_b_transposed_narrow");
    assert!(notes.contains("tuned.json: 1 variants as tuned"), "{notes}");
    for (name, text, cause) in [
        ("other.json", tuning("another", "matmul_b_transposed_narrow"), "tuned for driver another, this is"),
        ("torn.json", tuning(driver, "matmul")[..30].into(), "no tuning file"),
        ("strange.json", tuning(driver, "faster"), "`faster` is no variant"),
    ] {
        let (variant, notes) = bench(name, &text);
        let note: Vec<&str> = notes.lines().filter(|line| line.contains(name)).collect();
        assert!(note.len() == 1 && note[0].contains(cause) && note[0].ends_with("; ignored"), "{notes}");
        assert_eq!(variant, "matmul_b_transposed_small_vec4");
    }
}

#[test]
fn only_a_gpu_is_tuned() {
    let done = onemark(&["tune", "--device", "cpu", "--quiet"]);
    assert!(done.status.code() == Some(2) && stderr(&done).contains("no variants to choose from"), "{}", stderr(&done));
    if !onemark::gpu::devices().is_empty() {
        let done = onemark(&["tune", "nosuchkernel", "--device", "gpu:0", "--out", "untuned.json", "--quiet"]);
        let text = stderr(&done);
        assert!(done.status.code() == Some(2) && text.contains("no kernel's name contains nosuchkernel"), "{text}");
        assert!(text.contains("conv2d") && !Fixture::get().root.join("untuned.json").exists(), "{text}");
    }
    let done = onemark(&["tune", "--weights", "none.safetensors"]);
    assert!(done.status.code() == Some(3) && stderr(&done).contains("none.safetensors"), "{}", stderr(&done));
}

#[test]
fn f16_is_refused_by_name_or_detects() {
    let f = Fixture::get();
    f.trained();
    let done = f.detect(&["images", "--out", "half.csv", "--precision", "f16", "--device", "cpu"]);
    assert!(done.status.code() == Some(2) && stderr(&done).contains("cpu ("), "{}", stderr(&done));
    assert!(stderr(&done).contains("has no f16"), "{}", stderr(&done));
    let plan = |precision: &str| {
        let args = ["inspect", &f.weights("fused"), "--plan=fused", "--precision", precision];
        let text = stdout(&ok(onemark(&args)));
        let arena = text.lines().find(|line| line.starts_with("arena ")).unwrap().to_string();
        (text, arena)
    };
    let ((single, arena), (text, halved)) = (plan("f32"), plan("f16"));
    assert!(text.contains("_f16") && !single.contains("_f16") && arena != halved, "{arena}\n{halved}");
    if half() {
        let done = ok(f.detect(&["images", "--out", "half.csv", "--precision", "f16", "--device", "gpu:0"]));
        assert!(stderr(&done).contains("6 of 6 images"), "{}", stderr(&done));
        let rows = Labels::read(f.path("half.csv")).unwrap().rows;
        assert!(rows.len() == 6 && rows.iter().all(|row| row.points.iter().all(Option::is_some)));
    }
}

#[test]
fn f16_kernels_are_measured_and_right() {
    if !half() {
        return;
    }
    let shape = ["--shape", "h=8,ci=8,co=12,kh=3", "--verify", "--dtype", "f16", "--device", "gpu:0", "--json"];
    let brief = ["--quiet", "--warmup", "0", "--min-time", "0"];
    let results: Value =
        serde_json::from_str(&stdout(&ok(onemark(&[&["bench"], &shape[..], &brief].concat())))).unwrap();
    let rows = results["rows"].as_array().unwrap();
    let kernels: Vec<&str> = rows.iter().map(|row| row["kernel"].as_str().unwrap()).collect();
    assert_eq!(kernels, ["conv2d", "matmul"], "gradients have no f16");
    for row in rows {
        assert!(row["verified"].as_f64().unwrap() < 2e-3 && row["dtype"] == "f16", "{row}");
    }
}
