//! Bad input is one line that names the file and the cause; never a panic.

use crate::fixture::{Fixture, ok, onemark, stderr, stdout};
use onemark::model::Model;
use std::process::Output;

/// Exit code, and one line that holds all of these words.
#[track_caller]
pub fn refused(output: Output, code: i32, words: &[&str]) {
    let text = stderr(&output);
    assert_eq!((output.status.code(), text.lines().count()), (Some(code), 1), "{text}");
    assert!(text.starts_with("error: ") && words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
}

#[test]
fn images() {
    let f = Fixture::get();
    f.trained();
    let bytes = std::fs::read(f.root.join("images/p1.png")).unwrap();
    std::fs::write(f.root.join("half.png"), &bytes[..bytes.len() / 2]).unwrap();
    std::fs::create_dir_all(f.root.join("again")).unwrap();
    std::fs::write(f.root.join("again/p1.png"), &bytes).unwrap();
    std::fs::write(f.root.join("again/p0.png"), &bytes).unwrap();
    refused(f.train("x", &["missing.png"]), 3, &["missing.png: cannot read"]);
    refused(f.train("x", &["half.png"]), 3, &["half.png: ", "truncated"]);
    let mut jpeg = std::io::Cursor::new(Vec::new());
    image::open(f.root.join("images/p1.png")).unwrap().write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    std::fs::write(f.root.join("cut.jpg"), [&jpeg[..jpeg.len() * 2 / 3], b"\xff\xd9"].concat()).unwrap();
    refused(
        f.detect(&["cut.jpg", "--out", "x.csv", "--quiet"]),
        3,
        &["cut.jpg: truncated: the JPEG ends in the midst"],
    );
    refused(f.train("x", &["again/p1.png"]), 3, &["images/p1.png", "file name of again/p1.png"]);
    refused(f.detect(&["", "--out", "x.csv"]), 3, &["\"\": an empty name"]);
    std::fs::create_dir_all(f.root.join("bare/deep")).unwrap();
    std::fs::copy(f.weights("fused"), f.root.join("bare/w")).unwrap();
    let bare =
        f.command(&["detect", "**", "--weights", "w", "--out", "x.csv"]).current_dir(f.root.join("bare")).output();
    refused(bare.unwrap(), 3, &["**: no file matches this pattern"]);
    refused(f.train("x", &["nothing/*.tif"]), 3, &["nothing/*.tif: no file matches"]);
    refused(f.detect(&["images", "again/p1.png", "--out", "x.csv"]), 3, &["file name of again/p1.png"]);
    refused(f.detect(&["half.png", "--out", "x.csv", "--quiet"]), 3, &["half.png: ", "truncated"]);
    let alone = ["train", "images/p0.png", "--template", "images/p0.png", "--landmarks", "template.csv", "--out", "x"];
    refused(onemark(&alone), 3, &["p0.png: the only image"]);
    let other = ["train", "images", "--template", "again/p0.png", "--landmarks", "template.csv", "--out", "x"];
    refused(onemark(&other), 3, &["again/p0.png: has the file name of images/p0.png"]);
    let none = ["train", "images", "--template", "nowhere.png", "--landmarks", "template.csv", "--out", "x"];
    refused(onemark(&none), 3, &["nowhere.png: no such file, and no image of this name"]);
    let slip = ["train", "images", "--template", "p00.png", "--landmarks", "template.csv", "--out", "x"];
    refused(onemark(&slip), 3, &["p00.png: ", "did you mean p0.png?"]);
}

#[test]
fn exports() {
    let f = Fixture::get();
    f.trained();
    std::fs::write(f.root.join("torn.safetensors"), &std::fs::read(f.weights("fused")).unwrap()[..999]).unwrap();
    let export = |format: &str, weights: &str, out: &str| {
        onemark(&["export", "--weights", weights, "--format", format, "--out", out])
    };
    let fused = f.weights("fused");
    refused(export("onnx", "torn.safetensors", "x.onnx"), 3, &["torn.safetensors: not a safetensors file"]);
    refused(export("onnx", &fused, "images"), 3, &["images: a folder, but a file is to be written"]);
    refused(export("onnx", &fused, "nowhere/x.onnx"), 3, &["nowhere/x.onnx: cannot write"]);
    refused(export("bundle", &fused, "images"), 3, &["images: a folder with other files"]);
    std::fs::create_dir_all(f.root.join("tfjs")).unwrap();
    std::fs::write(f.root.join("tfjs/model.json"), r#"{"format": "layers-model"}"#).unwrap();
    refused(export("bundle", &fused, "tfjs"), 3, &["tfjs: a folder with other files"]);
    refused(export("bundle", &fused, "truth.csv"), 3, &["truth.csv/plans: cannot create"]);
    assert!(!f.root.join("x.onnx").exists() && !f.root.join("images/plans").exists());
}

#[test]
fn landmark_files() {
    let f = Fixture::get();
    f.trained();
    let header = "image,width,height,a_x,a_y,b_x,b_y\n";
    for (name, rows, words) in [
        ("absent.csv", "p0.png,64,80,1,2,,\n", &["landmark \"b\": missing"][..]),
        ("nan.csv", "p0.png,64,80,1,2,nan,4\n", &["line 2, column \"b_x\": \"nan\" is not a finite number"]),
        ("outside.csv", "p0.png,64,80,1,2,64,4\n", &["landmark \"b\": (64, 4) is outside"]),
        ("other.csv", "p9.png,64,80,1,2,3,4\n", &["no row for the template image \"p0.png\""]),
        ("shape.csv", "p0.png,64,64,1,2,3,4\n", &["its row says 64x64, but the image has 64x80"]),
    ] {
        std::fs::write(f.root.join(name), format!("{header}{rows}")).unwrap();
        refused(f.train("x", &["--landmarks", name]), 3, &[&[name], words].concat());
    }
    refused(f.train("x", &["--landmarks", "gone.csv"]), 3, &["gone.csv: cannot read"]);
    std::fs::write(f.root.join("names.csv"), format!("{header}p0.png,64,80,1,2,3,4\n")).unwrap();
    refused(onemark(&["eval", "--pred", "names.csv", "--truth", "truth.csv"]), 3, &["names.csv", "thumb_tip"]);
    refused(
        onemark(&["eval", "--pred", "template.csv", "--truth", "truth.csv"]),
        3,
        &["no row for image \"p1.png\" and 4 others; --allow-missing counts their points as missed"],
    );
    let other = std::fs::read_to_string(f.path("truth.csv")).unwrap().replace("\np", "\nelsewhere/p");
    std::fs::write(f.root.join("elsewhere.csv"), other).unwrap();
    let elsewhere = onemark(&["eval", "--pred", "elsewhere.csv", "--truth", "truth.csv", "--allow-missing"]);
    refused(elsewhere, 3, &["elsewhere.csv: has none of the truth's images: it begins with elsewhere/p0.png, "]);
    let eval = |pred: &str, more: &[&str]| {
        std::fs::write(f.root.join("pred.in.csv"), pred).unwrap();
        onemark(&[&["eval", "--pred", "pred.in.csv", "--truth", "template.csv"], more].concat())
    };
    let truth = std::fs::read_to_string(f.path("template.csv")).unwrap();
    let row = |size: &str, x: &str| {
        let names = truth.lines().next().unwrap();
        let rest: Vec<&str> = truth.lines().nth(1).unwrap().split(',').skip(4).collect();
        format!("{names}\np0.png,{size},{x},{}\n", rest.join(","))
    };
    refused(
        eval(&row("64,80", "1e308"), &[]),
        3,
        &["pred.in.csv: line 2, column \"thumb_tip_x\"", "is no place in pixels"],
    );
    refused(
        eval(&row("80,64", "1"), &[]),
        3,
        &["template.csv: image \"p0.png\": 64x80 pixels here, but 80x64 in pred.in.csv"],
    );
    assert!(
        stdout(&eval(&row("128,160", "1"), &[])).contains("scaled to the truth's size: predictions in 1 of 1 images")
    );
    refused(eval(&truth, &["--skip", "thumb_tp"]), 2, &["no landmark \"thumb_tp\"; did you mean \"thumb_tip\"?"]);
    refused(f.detect(&["images", "--out", "names.csv", "--resume"]), 3, &["names.csv: holds the landmarks a, b"]);
    refused(
        f.train("trained", &["--resume", "--landmarks", "names.csv"]),
        3,
        &["run.json", "another set of landmarks"],
    );
    refused(
        f.train("trained", &["--resume", "--spacing", "0.25"]),
        3,
        &["run.json: this run has another spacing, 0.5 mm a pixel (now 0.25 mm a pixel); choose another --out"],
    );
    // Twice the size is the same annotation.
    std::fs::write(f.root.join("double.csv"), format!("{header}p0.png,128,160,2.5,4.5,20,30\n")).unwrap();
    let out = f.train("double", &["--landmarks", "double.csv", "--stages", "match"]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let run = std::fs::read_to_string(f.root.join("double/run.json")).unwrap();
    assert!(run.contains("\"annotation\":[[1.0,2.0],[9.75,14.75]]"), "{run}");
}

#[test]
fn weights() {
    let f = Fixture::get();
    f.trained();
    let good = std::fs::read(f.weights("fused")).unwrap();
    let detect = |name: &str, bytes: &[u8]| {
        std::fs::write(f.root.join(name), bytes).unwrap();
        f.detect(&["images", "--out", "x.csv", "--weights", name])
    };
    refused(detect("noise", &[7; 900]), 3, &["noise: not a safetensors file"]);
    refused(detect("cut", &good[..good.len() - 9]), 3, &["cut: damaged: it ends too soon; copy or train it again"]);
    refused(detect("foreign", b"\x02\0\0\0\0\0\0\0{}"), 3, &["foreign: a safetensors file of another program"]);
    let text = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = good.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        [&good[..at], to.as_bytes(), &good[at + from.len()..]].concat()
    };
    let version = |number: u32| format!("\\\"version\\\":{number}");
    let newer = text(&version(onemark::model::VERSION), &version(9));
    refused(detect("newer", &newer), 3, &["newer: its layout has version 9"]);
    let twins = text("radius_styloid\\\"", "thumb_tip\\\"     ");
    refused(detect("twins", &twins), 3, &["twins: its landmark \"thumb_tip\" has no name or the name of another"]);
    let negative = text("\\\"spacing\\\":0.5", "\\\"spacing\\\":-12");
    refused(detect("negative", &negative), 3, &["negative: its spacing is -12 mm a pixel, but must be above 0"]);
    let alone = text("\\\"images\\\":6", "\\\"images\\\":0");
    refused(detect("alone", &alone), 3, &["alone: it says that 0 images trained it"]);
    refused(detect("empty", &text("\\\"channels\\\":[4,8,8]", "\\\"channels\\\":[     ]")), 3, &["match.channels"]);
    refused(detect("huge", &text("\\\"channels\\\":[4,8]", "\\\"channels\\\":[800]")), 3, &["huge: damaged"]);
    refused(f.detect(&["images", "--out", "x.csv", "--weights", "gone"]), 3, &["gone: cannot read"]);
    refused(onemark(&["inspect", "template.csv"]), 3, &["template.csv: not a safetensors file"]);
    refused(onemark(&["inspect", "images"]), 3, &["images: not a run"]);
    refused(
        onemark(&["compare", "nowhere", "--images", "images", "--truth", "truth.csv", "--quiet"]),
        3,
        &["nowhere: not a run"],
    );
    assert!(!f.root.join("nowhere").exists(), "and none is made");
}

#[test]
fn settings() {
    let f = Fixture::get();
    f.trained();
    for (name, text, words) in [
        (
            "key.toml",
            "seed = 1\n\n[single]\nstpes = 3\n",
            &["line 4", "`single.stpes`; did you mean `single.steps`?"][..],
        ),
        ("type.toml", "[single]\nsteps = \"many\"\n", &["line 2", "`single.steps`: invalid type"]),
        ("zero.toml", "views = 3\n[fuse]\nbatch = 0\n", &["line 3, fuse.batch: 0 is not between 1"]),
        ("torn.toml", "[fuse\n", &["line 1"]),
    ] {
        std::fs::write(f.root.join(name), text).unwrap();
        let args = ["--template", "p0.png", "--landmarks", "template.csv", "--out", "x", "--config", name];
        refused(onemark(&[&["train", "images"], &args[..]].concat()), 3, &[&[name], words].concat());
    }
    refused(f.train("x", &["--set", "singel.steps=1"]), 2, &["did you mean `single.steps`?"]);
    refused(f.train("x", &["--set", "crop.side=17"]), 2, &["crop.side: 17 is not a multiple of 2"]);
    refused(f.train("trained", &["--resume", "--set", "fuse.steps=5"]), 3, &["fuse.steps: 4 in this run, not 5"]);
    refused(f.train("trained", &[]), 3, &["trained: holds a run; go on with --resume"]);
    refused(
        f.train("nowhere", &["--resume"]),
        3,
        &["nowhere: holds no run to go on with; leave --resume out to begin one"],
    );
    assert!(!f.root.join("nowhere").exists());
    for (name, words) in [
        ("config.toml", "own/config.toml: is there already, and would be replaced by the run's; move it"),
        ("report.html", "own/report.html: is there already; remove it, or write elsewhere"),
    ] {
        std::fs::create_dir_all(f.root.join("own")).unwrap();
        std::fs::write(f.root.join("own").join(name), "seed = 1 # mine\n").unwrap();
        refused(f.train("own", &["--stages", "match"]), 3, &[words]);
        assert_eq!(std::fs::read_to_string(f.root.join("own").join(name)).unwrap(), "seed = 1 # mine\n");
        std::fs::remove_dir_all(f.root.join("own")).unwrap();
    }
    std::fs::create_dir_all(f.root.join("bare")).unwrap();
    for name in ["match.safetensors", "run.json"] {
        std::fs::copy(f.root.join("trained").join(name), f.root.join("bare").join(name)).unwrap();
    }
    refused(f.train("bare", &["--resume"]), 3, &["bare/config.toml: is missing", "put it back"]);
    refused(f.train("slip", &["--from", "nothere"]), 3, &["nothere: not a run"]);
    assert!(!f.root.join("slip/run.json").exists(), "a slip of the pen begins no run");
    let both = f.train("trained", &["--resume", "--stages", "single", "--part", "0..1"]);
    assert!(both.status.code() == Some(2) && stderr(&both).contains("cannot be used with"), "{}", stderr(&both));
    refused(f.train("x", &["--stages", "fuse"]), 2, &["stage `fused` needs stage `single`"]);
    refused(f.train("x", &["--spacing", "0"]), 2, &["--spacing must be above 0"]);
}

#[test]
fn runs() {
    let f = Fixture::get();
    let run = f.root.join("broken");
    ok(f.train("broken", &["--quiet", "--stages", "match"]));
    let resume = || f.train("broken", &["--quiet", "--resume", "--stages", "match"]);
    let whole = std::fs::read_to_string(run.join("config.toml")).unwrap();
    let half = &whole[..whole.find("\n[fuse").unwrap()];
    std::fs::write(run.join("config.toml"), whole.replace("seed = 1\n", "seed = 2\n")).unwrap();
    refused(
        resume(),
        3,
        &["match.safetensors: is of another task or other settings than the run's; put", "config.toml back"],
    );
    for (text, words) in [("", "config.toml: damaged: it has no `"), (half, "config.toml: damaged: it has no `fuse.")] {
        std::fs::write(run.join("config.toml"), text).unwrap();
        refused(resume(), 3, &[words, "restore it, or train into another --out"]);
        refused(onemark(&["inspect", "broken"]), 3, &[words]);
        refused(onemark(&["compare", "broken", "--images", "images", "--truth", "truth.csv"]), 3, &[words]);
    }
    std::fs::write(run.join("config.toml"), whole).unwrap();
    let weights = run.join("match.safetensors");
    let own = std::fs::read(&weights).unwrap();
    let mut model = Model::read(&weights).unwrap();
    model.header.onemark = "0.0.9".into();
    model.write(&weights).unwrap();
    refused(resume(), 3, &["match.safetensors: is of onemark 0.0.9, this is", "train into another --out"]);
    std::fs::remove_file(&weights).unwrap();
    let part = f.train("broken", &["--quiet", "--resume", "--part", "0..1"]);
    refused(part, 3, &["broken: has no matcher yet, which every part needs: train `--stages match` first"]);
    std::fs::write(&weights, own).unwrap();
    std::fs::remove_file(run.join("proposals.json")).unwrap();
    let single = f.train("broken", &["--quiet", "--resume", "--stages", "single"]);
    refused(
        single,
        3,
        &["proposals.json: is missing; delete the weights of its stage, and resume to train that stage again"],
    );
    let images = |args: &[&str]| {
        let args = [&["train"], args, &["--template", "p0.png", "--landmarks", "template.csv", "--out", "broken"]];
        f.command(&[&args.concat()[..], &["--resume", "--stages", "match"]].concat()).output().unwrap()
    };
    std::fs::create_dir_all(f.root.join("altered")).unwrap();
    for name in ["p0.png", "p1.png", "p2.png", "p3.png", "p4.png", "p5.png"] {
        std::fs::copy(f.root.join("images").join(name), f.root.join("altered").join(name)).unwrap();
    }
    std::fs::copy(f.root.join("images/p3.png"), f.root.join("altered/p2.png")).unwrap();
    refused(images(&["altered"]), 3, &["run.json: this run has another image \"p2.png\", one with other pixels"]);
    std::fs::rename(f.root.join("altered/p2.png"), f.root.join("altered/p22.png")).unwrap();
    refused(images(&["altered"]), 3, &["run.json: this run has another image, \"p2.png\" (now \"p22.png\")"]);
    std::fs::write(run.join("run.json"), "{\"onemark\":").unwrap();
    refused(resume(), 3, &["run.json: damaged: EOF", "restore it, or train into another --out"]);
}

#[test]
fn outputs_and_devices() {
    let f = Fixture::get();
    f.trained();
    // A path below a file cannot be written, by root neither.
    refused(f.train("template.csv/run", &[]), 3, &["template.csv/run: cannot create"]);
    refused(f.detect(&["images", "--out", "template.csv/x.csv"]), 3, &["template.csv/x.csv: cannot write"]);
    refused(f.detect(&["images", "--out", "gone/x.csv"]), 3, &["gone/x.csv: cannot write"]);
    std::fs::create_dir_all(f.root.join("strange")).unwrap();
    std::fs::copy(f.weights("match"), f.root.join("strange/match.safetensors")).unwrap();
    refused(f.train("strange", &["--resume"]), 3, &["strange: holds weights but no run.json"]);
    refused(
        f.detect(&["images", "--out", "x.out"]),
        2,
        &["x.out: no format by its ending; --format (of convert: --to) takes one of csv, json, coco"],
    );
    refused(f.detect(&["images", "--out", "x.txt"]), 3, &["x.txt: ISBI 2015 text holds 19 landmarks of its own"]);
    refused(onemark(&["demo", "--draw", "1", "--out", "."]), 3, &["./truth.csv: is there already"]);
    let below = ["images", "--out", "x.csv", "--overlay", "template.csv/x"];
    refused(f.detect(&below), 3, &["template.csv/x: cannot create"]);
    refused(f.detect(&["images", "--out", "x.csv", "--device", "tpu"]), 2, &["`tpu` is not a device"]);
}

#[test]
fn usage() {
    for args in [
        &["tran"][..],
        &["train"],
        &["detect", "x.png", "--weights", "w"],
        &["eval", "--pred", "a", "--truth", "b", "--spacing", "1", "--spacing-from", "a,b=1"],
        &["eval", "--pred", "a", "--truth", "b", "--spacing-from", "a=1"],
        &["profile", "detect", "--weights", "a", "--set", "seed=2"],
        &["profile", "detect", "--weights", "a", "--batch", "2"],
        &["devices", "--jason"],
        &["detect", "x.png", "--weights", "w", "--out", "o.csv", "--threads", "0"],
    ] {
        let output = onemark(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("error: ") && !stderr(&output).contains("panicked"), "{args:?}");
    }
    assert!(stderr(&onemark(&["devices", "--jason"])).contains("--json"), "the nearest option is named");
}
