//! TPS, as tpsDig and geomorph use it: a block of lines an image.
//!
//! ```text
//! LM=2
//! 276 118
//! NA NA
//! IMAGE=63063.jpg
//! ID=0
//! SCALE=0.01
//! ```
//!
//! x is the pixel's column; y is counted from below, image height minus the pixel's row. A missing point is `NA NA`, or
//! has both numbers negative. `SCALE` are units a pixel. Landmarks have no names, so they are called `lm01` and so on.

use super::builder::Builder;
use super::{Format, Holds, Source, Spacing, Target};
use crate::data::labels::{Labels, Point, shown};
use crate::error::{Error, Result};
use std::fmt::Write;

pub(super) const FORMAT: Format = Format {
    name: "tps",
    title: "TPS",
    ending: ".tps",
    per_image: false,
    holds: Holds { names: false, scores: false, sizes: false, ..Holds::ALL },
    landmarks: &[],
    spacing: Spacing::Said,
    read,
    write: Some(write),
};

/// A block: the line on which it begins, and what it holds.
#[derive(Default)]
struct Specimen<'a> {
    line: usize,
    points: Vec<Option<Point>>,
    image: Option<&'a str>,
    id: Option<&'a str>,
}

fn read(source: &Source, builder: &mut Builder) -> Result<()> {
    let mut lines = source.text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    let mut specimens: Vec<Specimen> = Vec::new();
    while let Some((index, line)) = lines.next() {
        let at = |cause: String| source.fault(format!("line {}", index + 1), cause);
        let (key, value) = line.split_once('=').ok_or_else(|| at(format!("{} is not KEY=VALUE", shown(line))))?;
        let (key, value) = (key.trim().to_ascii_uppercase(), value.trim());
        let count = || value.parse::<usize>().map_err(|_| at(format!("{} is not a number of points", shown(value))));
        let mut points = |n: usize| -> Result<Vec<Option<Point>>> {
            let points = lines
                .by_ref()
                .take(n)
                .map(|(index, line)| point(line).map_err(|cause| source.fault(format!("line {}", index + 1), cause)));
            let points: Vec<_> = points.collect::<Result<_>>()?;
            match points.len() {
                read if read < n => Err(at(format!("{n} points are promised, but the file ends after {read}"))),
                _ => Ok(points),
            }
        };
        match key.as_str() {
            "LM" => specimens.push(Specimen { line: index + 1, points: points(count()?)?, ..Specimen::default() }),
            "LM3" => return Err(at("landmarks in space; only those of images can be read".into())),
            "POINTS" => {
                points(count()?)?;
                builder.leave_out("curves");
            }
            _ => {
                let specimen = specimens.last_mut().ok_or_else(|| at("a block begins with LM=".into()))?;
                match key.as_str() {
                    "IMAGE" => specimen.image = Some(value),
                    "ID" => specimen.id = Some(value),
                    _ => {}
                }
            }
        }
    }
    let most = specimens.iter().map(|specimen| specimen.points.len()).max().unwrap_or(0);
    let names: Vec<String> = (1..=most).map(|n| format!("lm{n:02}")).collect();
    names.iter().for_each(|name| builder.landmark(name));
    for Specimen { line, points, image, id } in specimens {
        let at = |cause: String| source.fault(format!("line {line}"), cause);
        // tpsUtil lists images that are not digitised yet.
        if points.len() != most && !points.is_empty() {
            let n = points.len();
            return Err(at(format!("{n} landmarks, but another block has {most}; all must have the same")));
        }
        let image = image.or(id).ok_or_else(|| at("the block has no IMAGE= that says of which image it is".into()))?;
        let Some((image, size)) = source.image(image, None, builder)? else { continue };
        builder.image(image, size);
        for (name, point) in names.iter().zip(points) {
            builder.point(name, point.map(|p| flipped(p, size.1)), None).map_err(at)?;
        }
    }
    Ok(())
}

/// From above to below, and back.
fn flipped([x, y]: Point, height: u32) -> Point {
    [x, f64::from(height) - y]
}

/// Whether both numbers of a point would be negative, which reads as missing.
pub(super) fn reads_as_missing(point: Point, height: u32) -> bool {
    let [x, y] = flipped(point, height);
    x < 0.0 && y < 0.0
}

fn point(line: &str) -> Result<Option<Point>, String> {
    let mut values = line.split_whitespace();
    let (Some(x), Some(y), None) = (values.next(), values.next(), values.next()) else {
        return Err(format!("{} is not a point: two numbers", shown(line)));
    };
    if (x, y) == ("NA", "NA") {
        return Ok(None);
    }
    let number = |text: &str| match text.parse::<f64>() {
        Ok(v) if v.is_finite() => Ok(v),
        _ => Err(format!("{} is not a finite number", shown(text))),
    };
    let place = [number(x)?, number(y)?];
    Ok((place[0] >= 0.0 || place[1] >= 0.0).then_some(place))
}

fn write(labels: &Labels, target: &Target) -> Result<String> {
    let mut tps = String::new();
    for (id, row) in labels.rows.iter().enumerate() {
        if row.image.trim() != row.image || row.image.contains(['\r', '\n']) {
            let cause =
                format!("the file name {} does not fit into a line of TPS; rename the image", shown(&row.image));
            return Err(Error::input(target.path, cause));
        }
        let _ = writeln!(tps, "LM={}", labels.names.len()); // writing to a String cannot fail
        for point in &row.points {
            let _ = match point.map(|p| flipped(p, row.height)) {
                Some([x, y]) => writeln!(tps, "{x} {y}"),
                None => writeln!(tps, "NA NA"),
            };
        }
        let _ = writeln!(tps, "IMAGE={}\nID={id}", row.image);
        if let Some(mm) = target.spacing(row) {
            let _ = writeln!(tps, "SCALE={mm}");
        }
    }
    Ok(tps)
}

#[cfg(test)]
mod tests {
    use super::super::round_trip::{read_with, refused};

    /// In the form that tpsDig writes, with a curve, and a block as of geomorph.
    const FILE: &str = "LM=3\r\n276.00000 118.00000\r\n-1.00000 -1.00000\r\n68 \t 247\r\nCURVES=1\r\nPOINTS=2\r\n1 2\r\n3 4\r\n\
                        IMAGE=C:\\wings\\7.jpg\r\nID=0\r\nSCALE=0.010309\r\nlm=3\r\n1 2\r\n3 4\r\nNA NA\r\nIMAGE=8.jpg\r\nLM=0\r\nIMAGE=9.jpg\r\n";

    #[test]
    fn reads_the_documented_form() {
        let (labels, notes) = read_with("tps", FILE, "wings.TPS", 1.0);
        assert_eq!((labels.names.join(" "), labels.rows.len()), ("lm01 lm02 lm03".into(), 1));
        assert_eq!((labels.rows[0].image.as_str(), labels.rows[0].size()), ("7.png", (640.0, 480.0)));
        assert_eq!(labels.rows[0].points, [Some([276.0, 362.0]), None, Some([68.0, 233.0])]);
        let nothing =
            read_with("tps", &FILE.replacen("7.jpg", "6.jpg", 1).replace("9.jpg", "7.jpg"), "wings.TPS", 1.0).0;
        assert_eq!(nothing.rows[0].points, [None; 3], "not digitised yet");
        assert_eq!(notes, ["left out: curves (1)", "left out: images that are not among those given (2)"]);
    }

    #[test]
    fn faults_name_the_place() {
        for (from, to, words) in [
            ("LM=3\r\n276", "LM=2\r\n276", &["line 4: \"68 \\t 247\" is not KEY=VALUE"][..]),
            ("LM=3", "LM3=3", &["line 1: landmarks in space"]),
            ("LM=3", "LM=three", &["line 1: \"three\" is not a number of points"]),
            ("lm=3", "lm=2", &["line 15: \"NA NA\" is not KEY=VALUE"]),
            ("lm=3\r\n1 2\r\n", "lm=2\r\n", &["line 12: 2 landmarks, but another block has 3"]),
            ("lm=3", "lm=9", &["line 16: \"IMAGE=8.jpg\" is not a point"]),
            ("POINTS=2", "POINTS=99", &["is not a point"]),
            ("247", "247,5", &["line 4: \"247,5\" is not a finite number"]),
            ("IMAGE=8.jpg", "COMMENT=8", &["line 12: the block has no IMAGE="]),
            (
                "LM=3\r\n276.00000 118.00000\r\n-1.00000 -1.00000\r\n68 \t 247\r\n",
                "",
                &["line 1: a block begins with LM="],
            ),
        ] {
            refused("tps", &FILE.replacen(from, to, 1), "t.tps", words);
        }
        refused("tps", "LM=2\n1 2", "t.tps", &["line 1: 2 points are promised, but the file ends after 1"]);
    }
}
