//! Random labels through every format and back, and damaged files. Also what the tests of single formats share.

use super::*;
use crate::data::labels::{LabelRow, Point, scale_point};
use crate::random::Stream;
use std::collections::BTreeMap;

/// Reads a text as the file `path` beside no images.
pub(super) fn read_text(format: &str, text: &str, path: &str) -> (Labels, Vec<String>) {
    parse(format, text, path, &Images::default(), None).unwrap()
}

/// The same beside an image `7.png` of 640x480 pixels, at a spacing in mm.
pub(super) fn read_with(format: &str, text: &str, path: &str, spacing: f64) -> (Labels, Vec<String>) {
    parse(format, text, path, &seven(), Some(spacing)).unwrap()
}

/// Reading fails with an error of this file that has all of these words; formats without sizes are beside `7.png`.
#[track_caller]
pub(super) fn refused(format: &str, text: &str, path: &str, words: &[&str]) {
    let images = if Format::named(format).unwrap().holds.sizes { Images::default() } else { seven() };
    let error = parse(format, text, path, &images, None).unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with(path) && words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
    assert_eq!(error.exit_code(), 3);
}

fn seven() -> Images {
    let row = LabelRow { image: "7.png".into(), width: 640, height: 480, ..LabelRow::default() };
    Images::of_labels(&Labels { names: vec![], rows: vec![row] })
}

fn parse(format: &str, text: &str, path: &str, images: &Images, spacing: Option<f64>) -> Result<(Labels, Vec<String>)> {
    let format = Format::named(format).unwrap();
    let (mut builder, path) = (Builder::default(), Path::new(path));
    (format.read)(&Source { path, text, images, spacing, alone: true, format }, &mut builder)?;
    builder.finish(path)
}

/// Labels that a format can be asked to hold.
fn random(format: &Format, random: &mut Stream) -> Labels {
    let fixed = !format.landmarks.is_empty();
    let odd = ["", ",", "\"", "_x", " & <b>", "é\r\n;"];
    let names: Vec<String> = match fixed {
        true => format.landmarks.iter().rev().map(|name| name.to_string()).collect(),
        false => (0..1 + random.index(5)).map(|k| format!("n{k}{}", odd[random.index(6)])).collect(),
    };
    let with_scores = random.index(2) == 0;
    let n = 1 + random.index(4);
    let row = |i: usize| {
        let (width, height) =
            if fixed { (774, 960) } else { (1 + random.index(4000) as u32, 1 + random.index(3000) as u32) };
        let mut point = |k: usize| -> Option<Point> {
            let there = fixed || (i == 0 && k == 0) || random.index(4) > 0;
            there.then(|| [random.range(-0.5, width.into()), random.range(-0.5, height.into())])
        };
        let points: Vec<_> = (0..names.len()).map(&mut point).collect();
        let scores: Vec<_> = (0..if with_scores { names.len() } else { 0 })
            .map(|k| match k {
                0 => Some(0.125), // a row of empty scores alone cannot say that it has any
                _ => (random.index(3) > 0).then(|| random.uniform()),
            })
            .collect();
        LabelRow {
            image: format!("{i} {},é&'.x.png", random.index(100)),
            width,
            height,
            scores,
            points,
            ..LabelRow::default()
        }
    };
    let rows = (0..n).map(row).collect();
    Labels { names, rows }
}

/// Size, then point and score by landmark; landmarks that have neither count where missing points are held.
type Content = BTreeMap<String, ((u32, u32), BTreeMap<String, (Option<Point>, Option<f64>)>)>;

fn content(labels: &Labels, missing: bool) -> Content {
    let row = |row: &LabelRow| {
        let landmark = |(k, name): (usize, &String)| {
            let (point, score) = (row.points[k], row.scores.get(k).copied().flatten());
            (missing || point.is_some() || score.is_some()).then(|| (name.clone(), (point, score)))
        };
        (row.image.clone(), ((row.width, row.height), labels.names.iter().enumerate().filter_map(landmark).collect()))
    };
    labels.rows.iter().map(row).collect()
}

/// The labels less what the format does not hold.
fn held(format: &Format, labels: &Labels) -> Labels {
    let mut labels = labels.clone();
    for row in &mut labels.rows {
        if !format.holds.scores {
            row.scores.clear();
        }
        if !format.holds.missing {
            // A point that is not there has no score either.
            row.scores.iter_mut().zip(&row.points).filter(|(_, p)| p.is_none()).for_each(|(score, _)| *score = None);
        }
        if !format.holds.fractions {
            let to = (1935, 2400);
            let from = row.size();
            let whole = |p: Point| scale_point(p, from, (to.0.into(), to.1.into())).map(f64::round);
            row.points = row.points.iter().map(|point| point.map(whole)).collect();
            (row.width, row.height) = to;
        }
    }
    if !format.holds.names {
        labels.names = (1..=labels.names.len()).map(|n| format!("lm{n:02}")).collect();
    }
    labels
}

/// Written and read as texts alone, for files are slow.
fn through_texts(format: &'static Format, labels: &Labels, images: &Images, spacing: Option<f64>) -> Labels {
    let mut builder = Builder::default();
    for (index, row) in labels.rows.iter().enumerate().take(if format.per_image { usize::MAX } else { 1 }) {
        let path = Path::new("x").join(format!("{}{}", stem(&row.image), format.ending));
        let one = Labels { names: labels.names.clone(), rows: vec![labels.rows[index].clone()] };
        let text =
            format.write.unwrap()(if format.per_image { &one } else { labels }, &Target { path: &path, spacing })
                .unwrap();
        let source = Source { path: &path, text: &text, images, spacing, alone: false, format };
        (format.read)(&source, &mut builder).unwrap();
    }
    builder.finish(Path::new("x")).unwrap().0
}

/// Written and read as a file or a folder, whose format is recognised.
fn through_files(format: &'static Format, labels: &Labels, images: &Images, spacing: Option<f64>) -> Labels {
    let folder = std::env::temp_dir().join(format!("onemark-round-trip-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(if format.per_image { "labels".into() } else { format!("labels{}", format.ending) });
    write(labels, &path, format, spacing).unwrap();
    let file = LabelFile::open(&path, None).unwrap();
    let found = file.read(images, spacing).unwrap();
    assert_eq!((file.format().name, found.unknown_images), (format.name, 0), "recognised");
    let assumed = usize::from(format.spacing == Spacing::Needed && spacing.is_none());
    assert_eq!(found.notes.len(), assumed, "{:?}", found.notes);
    std::fs::remove_dir_all(&folder).unwrap();
    found.labels
}

#[test]
fn every_format_gives_back_what_it_holds() {
    let mut stream = Stream::new(1, &[]);
    for format in FORMATS.iter().filter(|format| format.is_written()) {
        for round in 0..150 {
            let labels = random(format, &mut stream);
            let images = Images::of_labels(&labels);
            let spacing = [None, Some(0.25), Some(0.1)][round % 3];
            let through = if round < 2 { through_files } else { through_texts };
            let found = through(format, &labels, &images, spacing);

            let expected = held(format, &labels);
            if format.holds.missing {
                assert_eq!(found.names, expected.names, "{}", format.name);
            }
            let (was, is) = (content(&expected, format.holds.missing), content(&found, format.holds.missing));
            assert_eq!(was.keys().collect::<Vec<_>>(), is.keys().collect::<Vec<_>>(), "{}", format.name);
            for (image, (size, landmarks)) in &was {
                let (size_is, landmarks_is) = &is[image];
                assert_eq!((size, landmarks.len()), (size_is, landmarks_is.len()), "{} {labels:?}", format.name);
                for (name, (point, score)) in landmarks {
                    let (point_is, score_is) = landmarks_is[name];
                    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-11 * a.abs().max(1.0);
                    let same = point.zip(point_is).is_none_or(|(a, b)| a.iter().zip(&b).all(near));
                    assert!(same && point.is_some() == point_is.is_some(), "{}: {point:?} {point_is:?}", format.name);
                    assert_eq!(*score, score_is, "{}", format.name);
                }
            }
            // What is lost is said, and nothing else.
            let note = format.loses(&labels).unwrap_or_default();
            let scores = labels.rows.iter().any(|row| !row.scores.is_empty());
            let missing = labels.rows.iter().any(|row| row.points.contains(&None));
            for (lost, what) in [
                (!format.holds.names, "no landmark names"),
                (!format.holds.scores && scores, "no scores"),
                (!format.holds.missing && missing, "no missing points"),
                (!format.holds.sizes, "no image sizes"),
                (!format.holds.fractions, "no fractions of a pixel"),
            ] {
                assert_eq!(note.contains(what), lost, "{}: {note}", format.name);
            }
        }
    }
}

#[test]
fn damaged_files_never_panic() {
    let mut stream = Stream::new(2, &[]);
    for format in &FORMATS {
        let fcsv = "# CoordinateSystem = LPS\n# columns = id,x,y,z,label\n0,1,2,3,a\n1,4,5,6,\"b\"\n";
        let mut labels = random(format, &mut stream);
        labels.rows.truncate(1);
        let target = Target { path: Path::new("t"), spacing: Some(0.5) };
        let text = format.write.map_or(fcsv.into(), |write| write(&labels, &target).unwrap());
        let images = Images::of_labels(&labels);
        for round in 0..4000 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..1 + round % 3 {
                let at = stream.index(bytes.len());
                match round % 4 {
                    0 => bytes[at] ^= 1 << stream.index(8),
                    1 => bytes[at] = b",\"\r\n=-e{}<;9"[stream.index(12)],
                    2 => bytes.truncate(at + 1),
                    _ => _ = bytes.remove(at),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            let _ = parse(format.name, &String::from_utf8_lossy(&bytes), "t", &images, Some(0.5));
        }
    }
}
