//! DeepLabCut's CSV: header rows `scorer`, `bodyparts` and `coords`, then a row an image.
//!
//! A row begins with the image's path, in one cell or in three (`labeled-data`, the video's folder, the image). Positions
//! have pixel centres at integers; an empty cell is a missing point. Predictions have a column `likelihood` a body part.

use super::builder::Builder;
use super::{Format, Holds, Source, Spacing, Target};
use crate::data::labels::csv::{MAX_COLUMNS, Records, number, push_cell};
use crate::data::labels::{Labels, shown};
use crate::error::{Error, Result};
use std::fmt::Write;

pub(super) const FORMAT: Format = Format {
    name: "deeplabcut",
    title: "DeepLabCut",
    ending: ".csv",
    per_image: false,
    holds: Holds { sizes: false, ..Holds::ALL },
    landmarks: &[],
    spacing: Spacing::Unused,
    read,
    write: Some(write),
};

const COORDS: [&str; 3] = ["x", "y", "likelihood"];

fn read(source: &Source, builder: &mut Builder) -> Result<()> {
    let mut records = Records::new(source.text, 1);
    let at = |line: usize, cause: String| source.fault(format!("line {line}"), cause);
    let mut next = |max| records.next_record(max).map_err(|(line, cause)| at(line, cause));
    let mut header = |row: &str| match next(MAX_COLUMNS)? {
        Some((_, cells)) if cells[0] == "individuals" => {
            Err(Error::input(source.path, "of a project of several animals; onemark has one of each landmark an image"))
        }
        Some((line, cells)) if cells[0] != row => {
            Err(at(line, format!("begins with {}, but must be the header's row {row}", shown(&cells[0]))))
        }
        Some(record) => Ok(record),
        None => Err(Error::input(source.path, format!("no row {row}; the header is scorer, bodyparts, coords"))),
    };
    let (_, scorer) = header("scorer")?;
    let (line, parts) = header("bodyparts")?;
    let (_, coords) = header("coords")?;
    if parts.len() != scorer.len() || coords.len() != scorer.len() {
        return Err(at(line, "the rows of the header differ in length".into()));
    }
    // The columns of the path have no body part.
    let first = 1 + parts[1..].iter().take_while(|part| part.is_empty()).count();
    // Body parts with the columns of their coords.
    let mut columns: Vec<(&str, [Option<usize>; 3])> = Vec::new();
    for (index, (part, coord)) in parts.iter().zip(&coords).enumerate().skip(first) {
        let Some(which) = COORDS.iter().position(|known| known == coord) else {
            let cause = format!("coords of {} are x, y and likelihood, not {}", shown(part), shown(coord));
            return Err(at(line, cause));
        };
        if columns.last().is_none_or(|(last, _)| last != part) {
            builder.landmark(part);
            columns.push((part, [None; 3]));
        }
        if let Some((_, places)) = columns.last_mut() {
            places[which] = Some(index);
        }
    }
    while let Some((line, cells)) = next(scorer.len())? {
        if cells.len() < scorer.len() {
            return Err(at(line, format!("{} cells, but the header has {}", cells.len(), scorer.len())));
        }
        let Some((name, size)) = source.image(&cells[first - 1], None, builder)? else { continue };
        builder.image(name, size);
        for (name, places) in &columns {
            let fault = |cause: String| at(line, format!("{}: {cause}", shown(name)));
            let value = |place: Option<usize>| place.map_or(Ok(None), |column| number(&cells[column])).map_err(fault);
            let [x, y, likelihood] = *places;
            let point = match (value(x)?, value(y)?) {
                (Some(x), Some(y)) => Some([x, y]),
                (None, None) => None,
                _ => return Err(fault("one of x and y is empty".into())),
            };
            builder.point(name, point, value(likelihood)?).map_err(|cause| at(line, cause))?;
        }
    }
    Ok(())
}

/// The file belongs into `labeled-data/VIDEO/` of a project as `CollectedData_SCORER.csv`, whose names are taken from its path.
fn write(labels: &Labels, target: &Target) -> Result<String> {
    let stem = target.path.file_stem().unwrap_or_default().to_string_lossy();
    let scorer = stem.strip_prefix("CollectedData_").filter(|scorer| !scorer.is_empty()).unwrap_or("onemark");
    let folder = std::path::absolute(target.path).ok();
    let folder = folder.as_deref().and_then(|path| path.parent()?.file_name()).unwrap_or_default().to_string_lossy();
    let with_scores = labels.rows.iter().flat_map(|row| &row.scores).any(Option::is_some);
    let coords = &COORDS[..if with_scores { 3 } else { 2 }];
    let mut csv = String::new();
    let mut header = |row: &str, cell: &dyn Fn(&str, &str) -> String| {
        csv += row;
        csv += ",,";
        for name in &labels.names {
            for coord in coords {
                csv.push(',');
                push_cell(&mut csv, &cell(name, coord));
            }
        }
        csv.push('\n');
    };
    header("scorer", &|_, _| scorer.into());
    header("bodyparts", &|name, _| name.into());
    header("coords", &|_, coord| coord.into());
    for row in &labels.rows {
        csv += "labeled-data,";
        push_cell(&mut csv, &folder);
        csv.push(',');
        push_cell(&mut csv, &row.image);
        for k in 0..labels.names.len() {
            let _ = match row.points[k] {
                Some([x, y]) => write!(csv, ",{x},{y}"), // writing to a String cannot fail
                None => write!(csv, ",,"),
            };
            let _ = match row.scores.get(k).copied().flatten() {
                Some(score) => write!(csv, ",{score}"),
                None => write!(csv, "{}", if with_scores { "," } else { "" }),
            };
        }
        csv.push('\n');
    }
    Ok(csv)
}

#[cfg(test)]
mod tests {
    use super::super::round_trip::{read_with, refused};

    /// As DeepLabCut writes it, the path in one cell.
    const FILE: &str = "scorer,me,me,me,me\nbodyparts,snout,snout,tail,tail\ncoords,x,y,x,y\n\
                        labeled-data/reach/7.png,196.25,147.5,,\nlabeled-data/reach/img9.png,1,2,3,4\n";

    #[test]
    fn reads_the_documented_forms() {
        let (labels, notes) = read_with("deeplabcut", FILE, "CollectedData_me.csv", 1.0);
        assert_eq!((labels.names, labels.rows.len()), (vec!["snout".into(), "tail".into()], 1));
        assert_eq!((labels.rows[0].image.as_str(), labels.rows[0].size()), ("7.png", (640.0, 480.0)));
        assert_eq!((&labels.rows[0].points[..], labels.rows[0].scores.len()), (&[Some([196.25, 147.5]), None][..], 0));
        assert_eq!(notes, ["left out: images that are not among those given (1)"]);
        // Newer: the path in three cells; and predictions.
        let new = "scorer,,,net,net,net\nbodyparts,,,snout,snout,snout\ncoords,,,x,y,likelihood\n\
                   labeled-data,reach,7.png,1,2,0.5\n";
        let (labels, _) = read_with("deeplabcut", new, "predicted.csv", 1.0);
        assert_eq!((labels.rows[0].points[0], labels.rows[0].scores[0]), (Some([1.0, 2.0]), Some(0.5)));
    }

    #[test]
    fn faults_name_the_place() {
        for (from, to, words) in [
            ("bodyparts", "individuals", &["of several animals"][..]),
            ("coords", "co", &["line 3: begins with \"co\", but must be the header's row coords"]),
            ("coords,x,y", "coords,x,z", &["coords of \"snout\" are x, y and likelihood, not \"z\""]),
            ("coords,x,y,x,y", "coords,x,y", &["the rows of the header differ in length"]),
            ("tail,tail", "tail,snout", &["line 4: landmark \"snout\" is there twice"]),
            ("196.25", "", &["line 4: \"snout\": one of x and y is empty"]),
            ("196.25", "a", &["line 4: \"snout\": \"a\" is not a finite number"]),
            (",,\n", "\n", &["line 4: 3 cells, but the header has 5"]),
            ("reach/7.png", "reach/8.png", &["no images in it; left out: images that are not among those given (2)"]),
        ] {
            refused("deeplabcut", &FILE.replacen(from, to, 1), "d.csv", words);
        }
    }
}
