//! Detection that is stopped and resumed, images that cannot be read, and where pictures go.

use crate::bad_input::refused;
use crate::fixture::{Fixture, ok, onemark, stderr, stdout};
use onemark::data::images::write_png_gray;
use onemark::data::labels::Labels;
use std::path::Path;

/// A folder of images of which one cannot be read: detection over it stays incomplete until that is mended.
fn incomplete(f: &Fixture, name: &str) {
    let folder = f.root.join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    for image in ["p0.png", "p1.png", "p2.png"] {
        std::fs::copy(f.root.join("images").join(image), folder.join(image)).unwrap();
    }
    std::fs::write(folder.join("p3.png"), b"torn").unwrap();
}

fn mend(f: &Fixture, name: &str) {
    std::fs::copy(f.root.join("images/p3.png"), f.root.join(name).join("p3.png")).unwrap();
}

fn skipped(output: &std::process::Output) -> u64 {
    serde_json::from_str::<serde_json::Value>(&stdout(output)).unwrap()["skipped"].as_u64().unwrap()
}

fn modified(path: &Path) -> std::time::SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

#[test]
fn what_was_found_is_kept_on_resume() {
    let f = Fixture::get();
    f.trained();
    incomplete(f, "part");
    let resume = ["part", "--out", "part.csv", "--resume", "--json", "--quiet"];
    assert_eq!(f.detect(&resume).status.code(), Some(3));
    assert!(f.root.join("part.csv.resume.json").is_file());
    assert_eq!(skipped(&f.detect(&resume)), 3, "the torn image is tried again");
    mend(f, "part");
    assert_eq!(skipped(&ok(f.detect(&resume))), 3);
    assert!(!f.root.join("part.csv.resume.json").exists(), "nothing is left to resume");

    for out in ["whole.csv", "whole.json"] {
        ok(f.detect(&["part", "--out", out, "--quiet"]));
    }
    assert_eq!(Labels::read(f.path("whole.json")).unwrap(), Labels::read(f.path("whole.csv")).unwrap());
    assert_eq!(std::fs::read(f.path("part.csv")).unwrap(), std::fs::read(f.path("whole.csv")).unwrap());
    ok(f.detect(&["images/p1.png", "--out", "part.csv"]));
    assert_eq!(Labels::read(f.path("part.csv")).unwrap().rows.len(), 1, "replaced without --resume");
}

#[test]
fn rows_of_other_weights_and_of_changed_images_are_made_again() {
    let f = Fixture::get();
    f.trained();
    incomplete(f, "changing");
    let (single, fused) = (f.weights("single"), f.weights("fused"));
    let detect = |weights: &str, out: &str, resume: &[&str]| {
        f.detect(&[&["changing", "--weights", weights, "--out", out, "--json"], resume].concat())
    };
    detect(&single, "changing.csv", &[]);
    let found = std::fs::read(f.path("changing.csv")).unwrap();
    let other = detect(&fused, "changing.csv", &["--resume"]);
    refused(other, 3, &["changing.csv: its rows are from other weights", "write into another --out"]);
    assert_eq!(std::fs::read(f.path("changing.csv")).unwrap(), found);
    detect(&fused, "changing.csv", &[]);
    // Another image under the same name, of another size.
    write_png_gray(f.root.join("changing/p1.png"), 70, 90, &[90; 70 * 90]).unwrap();
    mend(f, "changing");
    let again = ok(detect(&fused, "changing.csv", &["--resume"]));
    assert!(stderr(&again).contains("of images that have changed: found again (1)"), "{}", stderr(&again));
    assert_eq!(skipped(&again), 2);
    ok(detect(&fused, "unchanged.csv", &[]));
    assert_eq!(std::fs::read(f.path("changing.csv")).unwrap(), std::fs::read(f.path("unchanged.csv")).unwrap());
}

#[test]
fn rows_that_cannot_be_kept_are_not_lost() {
    let f = Fixture::get();
    f.trained();
    // A finished file, corrected by hand.
    ok(f.detect(&["images", "--out", "finished.csv", "--quiet"]));
    let mut text = std::fs::read_to_string(f.path("finished.csv")).unwrap();
    text = text.replacen("p1.png,64,80,", "p1.png,64,80,0", 1);
    std::fs::write(f.path("finished.csv"), &text).unwrap();
    let words = ["finished.csv: finished, or corrected since", "another --out, or delete the file"];
    refused(f.detect(&["images", "--out", "finished.csv", "--resume"]), 3, &words);
    assert_eq!(std::fs::read_to_string(f.path("finished.csv")).unwrap(), text);
    ok(f.detect(&["images", "--out", "finished.json", "--format", "coco", "--quiet"]));
    let again = f.detect(&["images", "--out", "finished.json", "--format", "coco", "--resume"]);
    refused(again, 3, &["finished.json: is there already"]);

    // One that is not finished, with a row of an image that is not named, and then a record that is torn.
    incomplete(f, "strange-part");
    let resume = || f.detect(&["strange-part", "--out", "strange.csv", "--resume", "--quiet"]);
    assert_eq!(resume().status.code(), Some(3));
    let rows = std::fs::read_to_string(f.path("strange.csv")).unwrap();
    let more = format!("{rows}{}", rows.lines().last().unwrap().replace("p2.png", "own.png") + "\n");
    std::fs::write(f.path("strange.csv"), &more).unwrap();
    refused(resume(), 3, &["strange.csv: its row of \"own.png\" is not of this detection", "another --out"]);
    std::fs::write(f.path("strange.csv.resume.json"), "{").unwrap();
    refused(resume(), 3, &["strange.csv: ", "strange.csv.resume.json is damaged"]);
    assert_eq!(std::fs::read_to_string(f.path("strange.csv")).unwrap(), more);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_image() {
    let f = Fixture::get();
    f.trained();
    let made = std::process::Command::new("mkfifo").arg(f.root.join("pipe.png")).status().unwrap();
    assert!(made.success());
    let done = f.detect(&["images/p1.png", "pipe.png", "/dev/zero", "--out", "piped.csv", "--quiet", "--json"]);
    assert_eq!(done.status.code(), Some(3));
    let text = stderr(&done);
    assert!(text.contains("pipe.png: a pipe or device; images are read from files alone"), "{text}");
    assert!(text.contains("/dev/zero: a pipe or device") && text.lines().count() == 2, "{text}");
    assert_eq!(Labels::read(f.path("piped.csv")).unwrap().rows.len(), 1, "others are looked at");
    let told: serde_json::Value = serde_json::from_str(&stdout(&done)).unwrap();
    assert_eq!(told["out"], "piped.csv");
    let none = f.detect(&["pipe.png", "--out", "none.csv", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&stdout(&none)).unwrap();
    assert!(told["out"].is_null() && !f.root.join("none.csv").exists(), "{told}");
    refused(f.train("x", &["pipe.png"]), 3, &["pipe.png: a pipe or device"]);
}

#[test]
fn missing_pictures_are_drawn_on_resume() {
    let f = Fixture::get();
    f.trained();
    incomplete(f, "undrawn");
    let detect = |more: &[&str]| f.detect(&[&["undrawn", "--out", "undrawn.csv", "--json", "--quiet"], more].concat());
    detect(&[]);
    let overlay = ["--resume", "--overlay", "drawn"];
    assert_eq!(skipped(&detect(&overlay)), 3);
    let picture = |name: &str| f.root.join("drawn").join(name);
    assert!(["p0.png", "p1.png", "p2.png"].iter().all(|name| picture(name).is_file()));
    let first = modified(&picture("p0.png"));
    std::fs::remove_file(picture("p1.png")).unwrap();
    std::fs::write(picture(".p2.png.1-1.onemark-tmp"), b"a write that was killed").unwrap();
    std::fs::write(f.root.join(".undrawn.csv.1-1.onemark-tmp"), b"another").unwrap();
    mend(f, "undrawn");
    assert_eq!(skipped(&ok(detect(&overlay))), 3);
    assert!(picture("p1.png").is_file() && picture("p3.png").is_file());
    assert_eq!(modified(&picture("p0.png")), first, "one that is there is not drawn again");
    assert!(!picture(".p2.png.1-1.onemark-tmp").exists() && !f.root.join(".undrawn.csv.1-1.onemark-tmp").exists());
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
    assert!(stderr(&done).contains("stems: --overlay would put pictures beside stems/a.PNG"), "{}", stderr(&done));
}

/// The points of a file that are there, by image and landmark.
fn present(labels: &Labels) -> Vec<Vec<bool>> {
    labels.rows.iter().map(|row| row.points.iter().map(Option::is_some).collect()).collect()
}

#[test]
fn points_below_a_score_are_left_out_in_every_format() {
    let f = Fixture::get();
    f.trained();
    ok(f.detect(&["images", "--out", "all.csv", "--quiet"]));
    let all = Labels::read(f.path("all.csv")).unwrap();
    let mut scores: Vec<f64> = all.rows.iter().flat_map(|row| row.scores.iter().flatten().copied()).collect();
    scores.sort_by(f64::total_cmp);
    // One that is exactly met is kept. The median leaves points out and others in.
    let least = scores[scores.len() / 2].to_string();
    let detect = |out: &str, more: &[&str]| {
        f.detect(&[&["images", "--out", out, "--min-score", &least, "--json", "--quiet"], more].concat())
    };
    let summary: serde_json::Value = serde_json::from_str(&stdout(&ok(detect("some.csv", &[])))).unwrap();
    let some = Labels::read(f.path("some.csv")).unwrap();
    let below = scores.iter().filter(|score| **score < least.parse().unwrap()).count();
    assert!(below > 0 && summary["left_out"].as_u64() == Some(below as u64), "{summary}");
    for (row, before) in some.rows.iter().zip(&all.rows) {
        assert_eq!(row.scores, before.scores, "scores are kept");
        for (k, point) in row.points.iter().enumerate() {
            let kept = before.scores[k].unwrap() >= least.parse().unwrap();
            assert_eq!(*point, before.points[k].filter(|_| kept));
        }
    }
    for (out, format) in [
        ("some.json", "json"),
        ("some-coco.json", "coco"),
        ("some-cvat.xml", "cvat"),
        ("some-dlc.csv", "deeplabcut"),
        ("some.tps", "tps"),
        ("some-labelme", "labelme"),
        ("some-slicer", "slicer"),
    ] {
        let _ = std::fs::remove_dir_all(f.root.join(out));
        ok(detect(out, &["--format", format]));
        let back = format!("back-{format}.csv");
        let _ = std::fs::remove_file(f.root.join(&back));
        let names = some.names.join(",");
        let named: &[&str] = if format == "tps" { &["--names", &names] } else { &[] };
        ok(onemark(&[&["convert", out, &back, "--images", "images", "--quiet"], named].concat()));
        let back = Labels::read(f.path(&back)).unwrap().select(&some.names);
        let rows = some.rows.iter().filter(|row| back.row(&row.image).is_some()).cloned().collect();
        // LabelMe and CVAT have no entry for what is missing, so that a landmark's order may be another.
        let expected = Labels { names: some.names.clone(), rows };
        for row in &expected.rows {
            let found = back.row(&row.image).unwrap();
            for (name, point) in expected.names.iter().zip(&row.points) {
                let k = back.names.iter().position(|known| known == name);
                let there = k.is_some_and(|k| found.points[k].is_some());
                assert_eq!(there, point.is_some(), "{format}, {}, {name}", row.image);
            }
        }
        assert_eq!(back.rows.len(), 6, "{format}");
    }
    for score in ["1.5", "high", "nan"] {
        let done = f.detect(&["images", "--out", "x.csv", "--min-score", score]);
        assert!(done.status.code() == Some(2) && stderr(&done).contains("a score is from 0 to 1"), "{}", stderr(&done));
    }
    let isbi = f.detect(&["images", "--out", "x", "--format", "isbi", "--min-score", "0.5"]);
    refused(isbi, 2, &["--min-score may leave points out, and ISBI 2015 text takes no missing ones"]);
    let none = ok(f.detect(&["images", "--out", "none-above.csv", "--min-score", "1", "--overlay", "unmarked"]));
    assert!(stderr(&none).contains("24 of 24 points left out: score below 1"), "{}", stderr(&none));
    assert!(present(&Labels::read(f.path("none-above.csv")).unwrap()).iter().flatten().all(|there| !there));
    ok(f.detect(&["images", "--out", "marked.csv", "--overlay", "marked", "--quiet"]));
    let coloured = |folder: &str| {
        let picture = image::open(f.root.join(folder).join("p1.png")).unwrap().to_rgb8();
        picture.pixels().filter(|p| p.0[0] != p.0[1] || p.0[1] != p.0[2]).count()
    };
    assert!(coloured("marked") > 0 && coloured("unmarked") == 0);
    let missing = ["eval", "--pred", "some.csv", "--truth", "truth.csv"];
    assert_eq!(onemark(&missing).status.code(), Some(3), "a truth point without a detection");
    ok(onemark(&[&missing[..], &["--allow-missing"]].concat()));
}

#[test]
fn a_stopped_detection_goes_on_with_the_same_score_alone() {
    let f = Fixture::get();
    f.trained();
    incomplete(f, "scored");
    let detect = |score: &[&str], out: &str, more: &[&str]| {
        f.detect(&[&["scored", "--out", out, "--quiet", "--json"], score, more].concat())
    };
    let half = ["--min-score", "0.02"];
    assert_eq!(detect(&half, "scored.csv", &[]).status.code(), Some(3));
    for (other, words) in [
        (&[][..], "found with --min-score 0.02, not no --min-score"),
        (&["--min-score", "0.3"], "found with --min-score 0.02, not --min-score 0.3"),
    ] {
        refused(detect(other, "scored.csv", &["--resume"]), 3, &["scored.csv: its rows were", words]);
    }
    mend(f, "scored");
    assert_eq!(skipped(&ok(detect(&half, "scored.csv", &["--resume"]))), 3);
    ok(detect(&half, "scored-whole.csv", &[]));
    assert_eq!(std::fs::read(f.path("scored.csv")).unwrap(), std::fs::read(f.path("scored-whole.csv")).unwrap());
}
