//! No output replaces an input, by whatever path it is named.

use crate::bad_input::refused;
use crate::fixture::{Fixture, ok, onemark};
use onemark::data::labels::Labels;

#[test]
fn outputs_that_are_inputs_are_refused() {
    let f = Fixture::get();
    f.trained();
    let folder = f.root.join("kept");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("table")).unwrap();
    std::fs::create_dir_all(folder.join("labels")).unwrap();
    for (from, to) in [
        (f.weights("fused"), "w.safetensors"),
        (f.path("images/p1.png"), "p1.png"),
        (f.path("truth.csv"), "truth.csv"),
        (f.path("truth.csv"), "table/fused.csv"),
    ] {
        std::fs::copy(from, folder.join(to)).unwrap();
    }
    ok(onemark(&["convert", "truth.csv", "kept/labels", "--to", "labelme", "--quiet"]));
    let linked: &[&str] = if cfg!(unix) { &["kept/link.csv"] } else { &[] };
    #[cfg(unix)]
    std::os::unix::fs::symlink("truth.csv", folder.join("link.csv")).unwrap();
    let read = || -> Vec<Vec<u8>> {
        let files = ["w.safetensors", "p1.png", "truth.csv", "table/fused.csv", "labels/p1.json"];
        files.map(|name| std::fs::read(folder.join(name)).unwrap()).to_vec()
    };
    let before = read();

    let w = "kept/w.safetensors";
    let is_input = |args: &[&str], output: &str| refused(onemark(args), 3, &[output, "is one of the inputs"]);
    let detect = ["detect", "kept/p1.png", "--weights", w, "--format", "csv", "--out"];
    for out in [w, "kept/./w.safetensors", "kept/p1.png"] {
        is_input(&[&detect[..], &[out]].concat(), out);
    }
    let pictures = ["detect", "kept/p1.png", "--weights", "pictures/p1.png", "--out", "x.csv", "--overlay", "pictures"];
    std::fs::create_dir_all(f.root.join("pictures")).unwrap();
    std::fs::copy(folder.join("w.safetensors"), f.root.join("pictures/p1.png")).unwrap();
    is_input(&pictures, "pictures/p1.png");
    for json in ["kept/truth.csv"].iter().chain(linked) {
        is_input(&["eval", "--pred", "truth.csv", "--truth", "kept/truth.csv", "--json", json], json);
        is_input(&["eval", "--pred", "kept/truth.csv", "--truth", "truth.csv", "--json", json], json);
    }
    let of_folder = ["eval", "--pred", "truth.csv", "--truth", "kept/labels", "--json", "kept/labels/p1.json"];
    is_input(&of_folder, "kept/labels/p1.json");
    let compare = |truth: &str, out: &str| {
        onemark(&["compare", "trained", "--images", "images", "--truth", truth, "--out", out, "--quiet"])
    };
    refused(compare("kept/table/fused.csv", "kept/table"), 3, &["kept/table/fused.csv: is one of the inputs"]);
    is_input(&["inspect", w, "--plan", "--svg", w], w);
    is_input(&["inspect", "trained", "--plan", "--svg", "trained/fused.safetensors"], "trained/fused.safetensors");
    is_input(&["bench", "--compare", w, "--roofline", w], w);
    is_input(&["profile", "detect", "--weights", w, "--trace", w], w);
    is_input(&["export", "--weights", w, "--format", "onnx", "--out", w], w);
    assert!(read() == before);

    // Nor what is of another program in a folder that gets a table of files.
    std::fs::create_dir_all(f.root.join("kept/mine")).unwrap();
    std::fs::write(f.root.join("kept/mine/truth.csv"), "mine").unwrap();
    std::fs::write(f.root.join("kept/mine/fused.csv"), "mine").unwrap();
    refused(compare("truth.csv", "kept/mine"), 3, &["kept/mine/fused.csv: is there already"]);
    refused(onemark(&["demo", "--out", "kept/mine", "--quiet"]), 3, &["kept/mine/truth.csv: is there already"]);
    assert_eq!(std::fs::read_to_string(f.root.join("kept/mine/truth.csv")).unwrap(), "mine");

    // Nor points that a person placed, nor anything but detections.
    for (name, words) in
        [("truth.csv", "a person placed, and would be lost"), ("w.json", "is there already, holds other things")]
    {
        let out = f.root.join("kept").join(name);
        if name == "w.json" {
            std::fs::write(&out, "{}").unwrap();
        }
        let held = std::fs::read(&out).unwrap();
        refused(
            onemark(&["detect", "kept/p1.png", "--weights", w, "--out", &format!("kept/{name}")]),
            3,
            &[name, words],
        );
        assert!(std::fs::read(&out).unwrap() == held);
    }
    for _ in 0..2 {
        ok(onemark(&["detect", "kept/p1.png", "--weights", w, "--out", "kept/again.csv", "--quiet"]));
    }
    ok(onemark(&["detect", "kept/p1.png", "--weights", w, "--out", "kept/coco.json", "--format", "coco", "--quiet"]));
    let coco =
        onemark(&["detect", "kept/p1.png", "--weights", w, "--out", "kept/coco.json", "--format", "coco", "--quiet"]);
    refused(coco, 3, &["kept/coco.json: is there already"]);

    let report = std::fs::read(f.path("trained/report.html")).unwrap();
    refused(compare("truth.csv", "trained"), 3, &["trained: holds a run, whose report would be replaced"]);
    assert!(std::fs::read(f.path("trained/report.html")).unwrap() == report);
    assert_eq!(Labels::read(f.path("kept/truth.csv")).unwrap().rows.len(), 6);
}
