//! The page in headless Chromium: `tests/browser/annotate.mjs` clicks and types, and here the files are looked at.

use crate::chromium;
use crate::program::{Program, detections, folder};
use onemark::data::images::write_png_gray;
use onemark::data::labels::Labels;
use onemark::random::Stream;
use serde::Deserialize;
use std::path::Path;

/// Runs a scenario; returns its last words, or `None` where there is no browser to run it in.
fn run(scenario: &str, program: &Program, argument: &Path) -> Option<String> {
    let args = [scenario.as_ref(), program.url.as_ref(), argument.as_os_str()];
    let output = chromium::run("annotate.mjs", args)?;
    assert!(output.status.success(), "{scenario}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Dark noise with spots of 3x3 pixels.
fn spots(centres: &[[usize; 2]], width: usize, height: usize) -> Vec<u8> {
    let mut random = Stream::new(9, &[]);
    let mut pixels: Vec<u8> = (0..width * height).map(|_| random.range(10.0, 60.0) as u8).collect();
    for [x, y] in centres {
        (0..9).for_each(|i| pixels[(y + i / 3 - 1) * width + x + i % 3 - 1] = 255);
    }
    pixels
}

#[test]
fn nineteen_clicks_are_where_the_landmarks_are_at_three_zoom_levels() {
    let folder = folder("place");
    std::fs::create_dir(folder.join("images")).unwrap();
    let mut random = Stream::new(4, &[]);
    let centres: Vec<[usize; 2]> = (0..19).map(|k| [20 + random.index(600), 40 + 38 * k]).collect();
    for image in ["1.png", "2.png", "8.png"] {
        write_png_gray(folder.join("images").join(image), 640, 800, &spots(&centres, 640, 800)).unwrap();
    }
    let names: Vec<String> = (0..19).map(|k| format!("l{k}")).collect();
    let program = Program::start(&folder, &["images", "--names", &names.join(","), "--out", "placed.csv"]);
    if run("place", &program, &folder).is_none() {
        return;
    }
    let labels = Labels::read(folder.join("placed.csv")).unwrap();
    assert_eq!((labels.rows.len(), labels.names), (3, names));
    for row in labels.rows {
        let error = |(p, c): (&Option<[f64; 2]>, &[usize; 2])| {
            let [x, y] = p.unwrap();
            (x - c[0] as f64).abs().max((y - c[1] as f64).abs())
        };
        let worst = row.points.iter().zip(&centres).map(error).fold(0.0, f64::max);
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("zoom {}: 19 clicks within {worst:.3} px\n", row.image).as_bytes(),
        );
        assert!(worst <= 0.5, "zoom {}: {worst} px", row.image);
    }
}

#[test]
fn a_corrected_detection_changes_only_its_point() {
    #[derive(Deserialize)]
    struct Moved {
        dx: f64,
        dy: f64,
    }
    let folder = detections("correct");
    let before = read(folder.join("pred.csv"));
    let program = Program::start(&folder, &["images", "--landmarks", "pred.csv"]);
    let Some(moved) = run("correct", &program, &folder) else { return };
    let moved: Moved = serde_json::from_str(&moved).unwrap();
    let after = read(folder.join("pred.csv"));
    assert_eq!(read(folder.join("pred.csv.bak")), before);
    let lines = |text: &str| text.split_inclusive('\n').map(String::from).collect::<Vec<_>>();
    for (number, (old, new)) in lines(&before).iter().zip(lines(&after)).enumerate() {
        if number != 2 {
            assert_eq!(*old, new);
            continue;
        }
        let cells = |line: &str| line.split(',').map(String::from).collect::<Vec<_>>();
        let (old, new) = (cells(old), cells(&new));
        let differ: Vec<usize> = (0..old.len()).filter(|&i| old[i] != new[i]).collect();
        assert_eq!(differ, [12, 13, 14], "x, y and score of the fourth landmark");
        let value = |cells: &[String], i: usize| cells[i].parse::<f64>().unwrap();
        assert!((value(&new, 12) - value(&old, 12) - moved.dx).abs() < 0.5 && new[14].is_empty(), "{new:?}");
        assert!((value(&new, 13) - value(&old, 13) - moved.dy).abs() < 0.5, "{new:?}");
    }
    assert_eq!(lines(&before).len(), lines(&after).len());
}

#[test]
fn no_mouse_is_needed() {
    #[derive(Deserialize)]
    struct Placed {
        a: [f64; 2],
        c: [f64; 2],
    }
    let folder = detections("keyboard");
    let program = Program::start(&folder, &["images/p0.png", "--names", "a,b", "--out", "keys.csv"]);
    let Some(placed) = run("keyboard", &program, &folder) else { return };
    let Placed { a, c } = serde_json::from_str(&placed).unwrap();
    let labels = Labels::read(folder.join("keys.csv")).unwrap();
    assert_eq!(labels.names, ["a", "c, d"]);
    for (point, expected) in labels.rows[0].points.iter().zip([a, c]) {
        assert!((0..2).all(|i| (point.unwrap()[i] - expected[i]).abs() < 1e-9), "{point:?}, not {expected:?}");
    }
}

#[test]
fn what_another_program_wrote_is_asked_about() {
    let folder = detections("conflict");
    let before = read(folder.join("pred.csv"));
    let program = Program::start(&folder, &["images", "--landmarks", "pred.csv"]);
    if run("conflict", &program, &folder.join("pred.csv")).is_none() {
        return;
    }
    let after = read(folder.join("pred.csv"));
    assert!(after.contains(",three\r\n"), "{after}");
    assert_eq!(after.lines().skip(2).collect::<Vec<_>>(), before.lines().skip(2).collect::<Vec<_>>());
    let x = |text: &str| Labels::from_csv(text, "pred.csv").unwrap().rows[0].points[0].unwrap()[0];
    assert!((x(&after) - x(&before) - 1.0).abs() < 0.01, "one step to the right, the second one dropped");
}

#[test]
fn unsaved_work_is_asked_about() {
    let folder = detections("leave");
    let torn = std::fs::read(folder.join("images/p2.png")).unwrap();
    std::fs::write(folder.join("images/p2.png"), &torn[..torn.len() / 2]).unwrap();
    let before = Labels::read(folder.join("pred.csv")).unwrap();
    let program = Program::start(&folder, &["images", "--landmarks", "pred.csv", "--out", "kept.json"]);
    if run("leave", &program, &folder).is_none() {
        return;
    }
    let after = Labels::read(folder.join("kept.json")).unwrap();
    assert_eq!((&after.rows[0], &after.rows[2]), (&before.rows[0], &before.rows[2]));
    assert_ne!(after.rows[1], before.rows[1]);
    assert_eq!(Labels::read(folder.join("pred.csv")).unwrap(), before);
}

#[cfg(unix)]
#[test]
fn what_the_program_did_not_save_can_be_downloaded() {
    let folder = detections("ended");
    let program = Program::start(&folder, &["images/p0.png", "--names", "a,\"b\"", "--out", "lost.csv"]);
    let Some(text) = run("ended", &program, Path::new(&program.id())) else { return };
    let labels = Labels::from_csv(&text, "landmarks.csv").unwrap();
    assert_eq!((&labels.names[1][..], labels.rows[0].width, labels.rows[0].points[1]), ("\"b\"", 320, None));
    assert!(labels.rows[0].points[0].is_some() && !folder.join("lost.csv").exists());
}

#[test]
fn pictures_are_shown_at_any_size_and_depth() {
    let folder = detections("look");
    let twelve_bits = |x: u32, y: u32| image::Luma([(x * 13 + y * 7) as u16 % 1024 + 512]);
    image::ImageBuffer::from_fn(200, 150, twelve_bits).save(folder.join("images/deep.png")).unwrap();
    let program = Program::start(&folder, &["images", "--landmarks", "pred.csv"]);
    run("look", &program, &folder);
}
