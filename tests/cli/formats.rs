//! Every format at the command line: converted and back, trained from, detected into, compared with.

use crate::fixture::{Fixture, ok, onemark, stderr, stdout};
use onemark::data::labels::formats::FORMATS;
use onemark::data::labels::{LabelRow, Labels};
use std::process::Output;

fn convert(args: &[&str]) -> Output {
    onemark(&[&["convert"], args].concat())
}

#[track_caller]
fn assert_near(a: &Labels, b: &Labels) {
    assert_eq!((&a.names, a.rows.len()), (&b.names, b.rows.len()));
    for (a, b) in a.rows.iter().zip(&b.rows) {
        assert_eq!((&a.image, a.width, a.height), (&b.image, b.width, b.height));
        let points = a.points.iter().flatten().flatten().zip(b.points.iter().flatten().flatten());
        assert!(points.into_iter().all(|(a, b)| (a - b).abs() < 1e-9), "{a:?} {b:?}");
    }
}

#[test]
fn converted_and_back() {
    let f = Fixture::get();
    let truth = Labels::read(f.path("truth.csv")).unwrap();
    let names = truth.names.join(",");
    // Whatever holds no sizes or names is told them.
    for (to, out, lost, back) in [
        ("json", "back.json", "", &[][..]),
        ("coco", "back-coco.json", "", &[]),
        ("cvat", "back.xml", "", &[]),
        ("labelme", "back-labelme", "", &[]),
        ("slicer", "back-slicer", "holds no image sizes", &["--images", "images", "--spacing", "0.5"]),
        ("deeplabcut", "back-dlc.csv", "holds no image sizes", &["--images", "images"]),
        (
            "tps",
            "back.tps",
            "TPS holds no landmark names, no image sizes",
            &["--images", "images/*.png", "--names", &names],
        ),
    ] {
        let spacing: &[&str] = if ["slicer", "tps"].contains(&to) { &["--spacing", "0.5"] } else { &[] };
        let said = stderr(&ok(convert(&[&["truth.csv", out, "--to", to], spacing].concat())));
        assert!(said.contains(lost) && said.is_empty() == lost.is_empty(), "{to}: {said}");
        let csv = format!("{out}.back.csv");
        assert_eq!(stderr(&ok(convert(&[&[out, &csv], back].concat()))), "");
        assert_near(&Labels::read(f.path(&csv)).unwrap(), &truth);
    }
    let again = convert(&["truth.csv", "back.json"]);
    assert_eq!(again.status.code(), Some(3));
    assert!(
        stderr(&again).contains("back.json: is there already; remove it, or write elsewhere"),
        "{}",
        stderr(&again)
    );
}

#[test]
fn each_image_has_its_own_millimetres() {
    let f = Fixture::get();
    let mut truth = Labels::read(f.path("truth.csv")).unwrap();
    truth.rows.truncate(4);
    let spacings = [Some([0.5, 0.5]), Some([0.25, 0.25]), None, Some([0.5, 0.4])];
    truth.rows.iter_mut().zip(spacings).for_each(|(row, spacing)| row.spacing = spacing);
    truth.write(f.path("mm.csv")).unwrap();
    let said = stderr(&ok(convert(&["mm.csv", "mm-slicer", "--to", "slicer"])));
    for words in ["no pixels that are not square", "a pixel is taken for 1 mm where no spacing is known"] {
        assert!(said.contains(words), "{said}");
    }
    for (row, mm) in truth.rows.iter().zip([0.5, 0.25, 1.0, 1.0]) {
        let path = f.path(&format!("mm-slicer/{}.mrk.json", row.image.trim_end_matches(".png")));
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let x = json["markups"][0]["controlPoints"][0]["position"][0].as_f64().unwrap();
        assert!((x - mm * row.points[0].unwrap()[0]).abs() < 1e-9, "{}: {x}", row.image);
    }
    let said = stderr(&ok(convert(&["mm.csv", "mm.tps"])));
    assert!(said.contains("no pixels that are not square"), "{said}");
    let tps = std::fs::read_to_string(f.path("mm.tps")).unwrap();
    let scales: Vec<&str> = tps.lines().filter(|line| line.starts_with("SCALE")).collect();
    assert_eq!(scales, ["SCALE=0.5", "SCALE=0.25"]);
}

#[test]
fn what_cannot_be_converted() {
    let f = Fixture::get();
    ok(convert(&["truth.csv", "cannot.tps", "--quiet"]));
    for (args, code, words) in [
        (
            &["cannot.tps", "x.csv"][..],
            3,
            "cannot.tps: TPS holds no size of image \"p0.png\"; say where the images are",
        ),
        (&["truth.csv", "x.fcsv"], 2, "3D Slicer fiducials can be read, but not written"),
        (
            &["truth.csv", "x.out"],
            2,
            "x.out: no format by its ending; --format (of convert: --to) takes one of csv, json, coco",
        ),
        (&["truth.csv", "x.txt"], 3, "x.txt: ISBI 2015 text holds 19 landmarks of its own"),
        (&["truth.csv", "x.json", "--to", "labelme"], 2, "there are 6; name a folder"),
        (&["truth.csv", "x.json", "--names", "a,b"], 2, "--names: 2 names for 4 landmarks, thumb_tip"),
        (&["truth.csv", "x.json", "--spacing", "2"], 2, "--spacing: native CSV and native JSON are in pixels"),
        (&["truth.csv", "x.json", "--spacing", "0"], 2, "--spacing must be above 0"),
        (&["truth.csv", "x.json", "--to", "cocoa"], 2, "'coco'"),
        (
            &["images", "x.json"],
            3,
            "images: a folder without files that hold an image's labels; looked for *.json of LabelMe",
        ),
        (&["gone.tps", "x.csv"], 3, "gone.tps: cannot read"),
    ] {
        let output = convert(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
    }
    assert!(!f.root.join("x.json").exists());
}

#[test]
fn trained_and_compared_with() {
    let f = Fixture::get();
    let run = f.trained();
    let annotation = |run: &str| {
        let json = std::fs::read(f.root.join(run).join("run.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&json).unwrap()["annotation"].clone()
    };
    // A file that Slicer gave a name of its own is the template's.
    ok(convert(&["template.csv", "F.mrk.json", "--quiet"]));
    let done = ok(f.train("of-slicer", &["--landmarks", "F.mrk.json", "--stages", "match"]));
    assert!(stderr(&done).contains("F.mrk.json: a pixel is taken for 1 mm"), "{}", stderr(&done));
    assert_eq!(annotation("of-slicer"), annotation("trained"));
    ok(convert(&["template.csv", "half.mrk.json", "--spacing", "0.5", "--quiet"]));
    let done = ok(f.train("of-half", &["--landmarks", "half.mrk.json", "--spacing", "0.5", "--stages", "match"]));
    assert!(!stderr(&done).contains("for 1 mm"), "{}", stderr(&done));
    assert_eq!(annotation("of-half"), annotation("trained"));

    ok(f.detect(&["images", "--out", "seen.csv", "--quiet"]));
    ok(convert(&["truth.csv", "truth-coco.json", "--to", "coco", "--quiet"]));
    ok(convert(&["truth.csv", "truth-slicer", "--to", "slicer", "--quiet"]));
    let eval = |pred: &str, truth: &str| onemark(&["eval", "--pred", pred, "--truth", truth]);
    let expected = stdout(&ok(eval("seen.csv", "truth.csv")));
    assert_eq!(stdout(&ok(eval("seen.csv", "truth-coco.json"))), expected);
    let sized = ok(eval("seen.csv", "truth-slicer"));
    assert_eq!(stdout(&sized), expected);
    assert!(stderr(&sized).contains("truth-slicer: image sizes are those of seen.csv"), "{}", stderr(&sized));
    ok(convert(&["seen.csv", "seen-slicer", "--to", "slicer", "--quiet"]));
    // Slicer's files hold no scores, of which the last line tells.
    let unscored = expected.split_once("\nscores: MRE ").expect("scores are told of").0;
    assert_eq!(stdout(&ok(eval("seen-slicer", "truth.csv"))).trim_end(), unscored);
    // In millimetres: of the option, or of what the other file states.
    ok(convert(&["truth.csv", "truth-half", "--to", "slicer", "--spacing", "0.5", "--quiet"]));
    let in_mm = |truth: &str| {
        let done = ok(onemark(&["eval", "--pred", "seen.csv", "--truth", truth, "--spacing", "0.5"]));
        assert!(!stderr(&done).contains("for 1 mm"), "{}", stderr(&done));
        stdout(&done)
    };
    assert_eq!(in_mm("truth-half"), in_mm("truth.csv"));
    let mut stating = Labels::read(f.path("seen.csv")).unwrap();
    stating.rows.iter_mut().for_each(|row| row.spacing = Some([0.5, 0.5]));
    stating.write(f.path("stating.csv")).unwrap();
    let of_rows = eval("stating.csv", "truth-half");
    assert_eq!(stdout(&ok(of_rows)), stdout(&ok(eval("stating.csv", "truth.csv"))));
    let neither = eval("seen-slicer", "truth-slicer");
    assert!(stderr(&neither).contains("holds no size of image \"p0\"; say where"), "{}", stderr(&neither));
    std::fs::remove_file(f.root.join("seen-slicer/p3.mrk.json")).unwrap();
    let fewer = eval("seen-slicer", "truth.csv");
    assert!(stderr(&fewer).contains("seen-slicer: no row for image \"p3.png\""), "{}", stderr(&fewer));
    let mut labels = Labels::read(f.path("seen.csv")).unwrap();
    labels.rows.truncate(4);
    labels.write(f.path("seen-four.csv")).unwrap();
    let fewer = eval("seen-four.csv", "truth-slicer");
    assert!(
        stderr(&fewer).contains("seen-four.csv: no rows for 2 of the images in truth-slicer"),
        "{}",
        stderr(&fewer)
    );

    let compare = |truth: &str, out: &str| {
        let run = run.to_str().unwrap();
        let args = ["compare", run, "--images", "images", "--truth", truth, "--out", out, "--json", "--quiet"];
        let summary: serde_json::Value = serde_json::from_str(&stdout(&ok(onemark(&args)))).unwrap();
        summary["methods"]["fused"]["mre"].as_f64().unwrap()
    };
    assert_eq!(compare("truth-slicer", "compared-slicer"), compare("truth.csv", "compared-csv"));
}

#[test]
fn challenge_annotations_are_compared_at_their_own_size() {
    let f = Fixture::get();
    let isbi = FORMATS.iter().find(|format| format.name == "isbi").unwrap();
    let names: Vec<String> = isbi.landmarks.iter().map(|name| name.to_string()).collect();
    let row = |n: usize| LabelRow {
        image: format!("{n}.jpg"),
        width: 774,
        height: 960,
        points: (0..names.len()).map(|k| Some([100.3 + (31 * k) as f64, 700.7 - (n + 29 * k) as f64])).collect(),
        scores: vec![],
        ..LabelRow::default()
    };
    Labels { rows: vec![row(151), row(152)], names: names.clone() }.write(f.path("ceph.csv")).unwrap();
    let said = stderr(&ok(convert(&["ceph.csv", "400_senior", "--to", "isbi"])));
    assert_eq!(said, "400_senior: ISBI 2015 text holds no fractions of a pixel\n");
    let text = std::fs::read_to_string(f.path("400_senior/151.txt")).unwrap();
    assert_eq!((text.lines().next(), text.lines().count()), (Some("252,1375"), 19));
    ok(onemark(&["eval", "--pred", "ceph.csv", "--truth", "400_senior", "--json", "ceph.json"]));
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(f.path("ceph.json")).unwrap()).unwrap();
    // Rounded to whole pixels of 1935x2400, and no more.
    assert!(json["all"]["mre"].as_f64().unwrap() < 0.6 && json["scaled"] == 2, "{}", json["all"]);
}

#[test]
fn detected_into() {
    let f = Fixture::get();
    f.trained();
    ok(f.detect(&["images", "--out", "into.csv", "--quiet"]));
    let expected = Labels::read(f.path("into.csv")).unwrap();
    let done = ok(f.detect(&["images", "--out", "into.xml"]));
    assert!(!stderr(&done).contains("holds no"), "{}", stderr(&done));
    ok(f.detect(&["images", "--out", "into", "--format", "labelme", "--quiet"]));
    for out in ["into.xml", "into"] {
        let back = format!("{out}.back.csv");
        ok(convert(&[out, &back]));
        let found = Labels::read(f.path(&back)).unwrap();
        assert_near(&found, &expected);
        assert!(found.rows.iter().zip(&expected.rows).all(|(a, b)| a.scores == b.scores), "{out}");
    }
    let again = f.detect(&["images", "--out", "into", "--format", "labelme"]);
    assert_eq!(again.status.code(), Some(3));
    assert!(stderr(&again).contains("into/p0.json: is there already"), "{}", stderr(&again));
    let one = f.detect(&["images", "--out", "into.mrk.json"]);
    assert_eq!((one.status.code(), f.root.join("into.mrk.json").exists()), (Some(2), false), "{}", stderr(&one));
    ok(f.detect(&["images/p1.png", "--out", "into.mrk.json", "--quiet"]));
}

#[test]
fn resumed_in_a_format_that_loses_scores() {
    let f = Fixture::get();
    f.trained();
    let folder = f.root.join("torn-coco");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(f.root.join("images/p0.png"), folder.join("p0.png")).unwrap();
    std::fs::write(folder.join("p1.png"), b"torn").unwrap();
    let detect =
        |more: &[&str]| f.detect(&[&["torn-coco", "--out", "torn.json", "--format", "coco", "--json"], more].concat());
    let first = detect(&[]);
    assert_eq!(first.status.code(), Some(3));
    assert!(stderr(&first).contains("torn.json: COCO keypoints holds no scores"), "{}", stderr(&first));
    let images = || {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(f.path("torn.json")).unwrap()).unwrap();
        json["images"].as_array().unwrap().len()
    };
    assert_eq!((images(), f.root.join("torn.json.resume.csv").is_file()), (1, true));
    std::fs::copy(f.root.join("images/p1.png"), folder.join("p1.png")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&stdout(&ok(detect(&["--resume"])))).unwrap();
    assert_eq!((summary["skipped"].as_u64(), images()), (Some(1), 2));
    let left = |file: &str| f.root.join(file).exists();
    assert!(!left("torn.json.resume.csv") && !left("torn.json.resume.csv.resume.json"));
}

#[test]
fn help_and_documentation_have_every_format() {
    let help = stdout(&ok(convert(&["--help"])));
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats");
    let page = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for format in &FORMATS {
        let about = format.about();
        let row = format!("| `{}` | {about} | [", format.name);
        let line = page.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("{row}"));
        let link = line.rsplit_once('(').unwrap().1.trim_end_matches(") |");
        let text = std::fs::read_to_string(folder.join(link)).unwrap();
        assert!(
            ["**Read**", "**Written**", "**Lost**", "**Positions**"].iter().all(|part| text.contains(part)),
            "{link}"
        );
        // Help is wrapped.
        let flat = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(flat.contains(&about), format.is_written(), "{about}: {help}");
    }
    let isbi =
        std::fs::read_to_string(folder.join("isbi.md")).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(isbi.contains(&onemark::data::labels::formats::FORMATS[9].landmarks.join(", ")));
}
