//! DICOM that another library wrote, through the whole program.

use crate::fixture::{Fixture, ok, onemark, skipped, stderr, stdout};
use image::{ImageBuffer, Luma};
use onemark::data::images::read_image;
use onemark::data::labels::Labels;
use onemark::data::phantom::phantom;
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const WIDTH: u32 = 192;
const HEIGHT: u32 = 240;

/// A Python with pydicom: that of `target/python`, which `.ci/run` makes, or the system's.
fn python() -> Option<String> {
    let has_pydicom = |python: &&str| {
        let found = Command::new(python).args(["-c", "import numpy, pydicom"]).output();
        found.is_ok_and(|output| output.status.success())
    };
    let own = format!("{ROOT}/target/python/bin/python");
    let found = [own.as_str(), "python3"].iter().find(|python| has_pydicom(python)).map(ToString::to_string);
    if found.is_none() {
        // Not `println!`, which the test runner keeps to itself unless a test fails.
        skipped("no Python with pydicom");
    }
    found
}

/// A folder with one picture as PNG and as DICOM in every way, `truth.csv`, and nothing else.
fn written(python: &str, folder: &Path) {
    let drawn = phantom(5, 1, WIDTH as usize, HEIGHT as usize);
    let pixels: Vec<u16> = drawn.pixels.iter().map(|v| (v * 65535.0) as u16).collect();
    let raw: Vec<u8> = pixels.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("pixels.raw"), raw).unwrap();
    ImageBuffer::<Luma<u16>, _>::from_raw(WIDTH, HEIGHT, pixels).unwrap().save(folder.join("a.png")).unwrap();
    let size = [WIDTH, HEIGHT].map(|v| v.to_string());
    let script = format!("{ROOT}/tests/dicom/write.py");
    let done = Command::new(python).arg(script).arg(folder).args(size).output().unwrap();
    assert!(done.status.success(), "{}", stderr(&done));
}

#[test]
fn dicom_gives_the_points_and_millimetres_of_its_png() {
    let Some(python) = python() else { return };
    let f = Fixture::get();
    let folder = f.root.join("dicom");
    written(&python, &folder);
    let weights = format!("{ROOT}/weights/cephalogram.safetensors");
    let detect = |out: &str| onemark(&["detect", "dicom", "--weights", &weights, "--out", out, "--quiet"]);
    ok(detect("dicom.csv"));
    let found = Labels::read(f.path("dicom.csv")).unwrap();
    let names: Vec<&str> = found.rows.iter().map(|row| row.image.as_str()).collect();
    assert_eq!(names, ["1.2.840.99", "WINDOWED", "a.png", "big.dcm", "inverted.dcm", "signed.dcm"]);
    let png = found.row("a.png").unwrap();
    assert_eq!((png.width, png.height, png.spacing, png.points.len()), (WIDTH, HEIGHT, None, 19));
    for row in found.rows.iter().filter(|row| row.image != "a.png") {
        let signed = row.image == "signed.dcm";
        assert_eq!(row.spacing, Some([0.25, if signed { 0.5 } else { 0.25 }]), "{}", row.image);
        // That one has twelve of the sixteen bits: what is found in it hangs on more than how it is read.
        if signed {
            continue;
        }
        for (p, q) in row.points.iter().zip(&png.points) {
            let ([px, py], [qx, qy]) = (p.unwrap(), q.unwrap());
            assert!((px - qx).hypot(py - qy) < 1e-3, "{}: {p:?} {q:?}", row.image);
        }
    }
    let grey = |name: &str| read_image(folder.join(name)).unwrap().gray.pixels;
    let worst = |name| grey(name).iter().zip(grey("a.png")).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    for name in ["1.2.840.99", "WINDOWED", "big.dcm", "inverted.dcm"] {
        assert!(worst(name) < 1e-6, "{name}: {}", worst(name));
    }
    assert!(worst("signed.dcm") < 1.0 / 2048.0, "{}", worst("signed.dcm"));

    // A truth 4 pixels to the right of what was found is 1 mm away in all, and 2 mm if it is 4 pixels below, in one.
    let moved = |dx: f64, dy: f64, only: &str| {
        let mut truth = Labels { names: found.names.clone(), rows: found.rows.clone() };
        truth.rows.retain(|row| if only.is_empty() { row.image != "a.png" } else { row.image == only });
        for row in &mut truth.rows {
            row.spacing = None;
            row.points.iter_mut().flatten().for_each(|[x, y]| (*x, *y) = (*x + dx, *y + dy));
        }
        truth.write(f.path("dicom-truth.csv")).unwrap();
    };
    let eval =
        |more: &[&str]| ok(onemark(&[&["eval", "--pred", "dicom.csv", "--truth", "dicom-truth.csv"], more].concat()));
    let all =
        |output: &std::process::Output| stdout(output).lines().find(|l| l.starts_with("all")).unwrap().to_string();
    moved(4.0, 0.0, "");
    let output = eval(&[]);
    assert!(stdout(&output).contains("SD mm") && all(&output).contains(" 1.00 ± 0.00"), "{}", stdout(&output));
    let output = eval(&["--spacing", "0.5"]);
    assert!(all(&output).contains(" 2.00 ± 0.00"), "{}", stdout(&output));
    assert!(stderr(&output).starts_with("--spacing 0.5 is taken, though "), "{}", stderr(&output));
    moved(0.0, 4.0, "signed.dcm");
    assert!(all(&eval(&[])).contains(" 2.00 ± 0.00"));
    moved(0.0, 4.0, "a.png");
    assert!(stdout(&eval(&[])).contains("SD px"));
}

#[test]
fn the_spacing_of_a_dicom_template_is_kept_in_the_weights() {
    let Some(python) = python() else { return };
    let f = Fixture::get();
    let folder = f.root.join("dicom-training");
    written(&python, &folder);
    let truth = phantom(5, 1, WIDTH as usize, HEIGHT as usize).points[0];
    let train = |template: &str, out: &str, more: &[&str]| {
        let row = format!("{template},{WIDTH},{HEIGHT},{},{}\n", truth[0], truth[1]);
        std::fs::write(f.path("dicom-template.csv"), format!("image,width,height,a_x,a_y\n{row}")).unwrap();
        let args =
            ["train", "dicom-training", "--template", template, "--landmarks", "dicom-template.csv", "--out", out];
        let settings = ["--stages", "match", "--set", "global_side=64"];
        let mut command = f.command(&[&args[..], &settings, more].concat());
        let done = ok(command.args(crate::fixture::TINY.iter().flat_map(|set| ["--set", set])).output().unwrap());
        let model = onemark::model::Model::read(&f.root.join(out).join("match.safetensors")).unwrap();
        (model.header.spacing, stderr(&done))
    };
    let (spacing, text) = train("inverted.dcm", "mm", &[]);
    assert_eq!(spacing, Some(0.25));
    let said = "0.25 mm a pixel is taken, though 1 of 6 images say otherwise, such as signed.dcm: 0.25 x 0.5 mm";
    assert!(text.contains(said), "{text}");
    let (spacing, text) = train("inverted.dcm", "given", &["--spacing", "0.1"]);
    assert_eq!(spacing, Some(0.1));
    assert!(
        text.contains("0.1 mm a pixel is taken, though 5 of 6 images say otherwise, such as inverted.dcm"),
        "{text}"
    );
    let (spacing, text) = train("signed.dcm", "oblong", &[]);
    assert_eq!(spacing, None);
    assert!(text.contains("signed.dcm has pixels of 0.25 x 0.5 mm, no squares: lengths are in pixels"), "{text}");
    assert_eq!(train("a.png", "png", &["--quiet"]), (None, String::new()));
}
