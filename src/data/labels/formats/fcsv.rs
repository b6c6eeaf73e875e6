//! 3D Slicer's older fiducial file, read only: comment lines that name the frame and the columns, then a line a point.

use super::builder::Builder;
use super::{Format, Holds, Source, Spacing, slicer};
use crate::data::labels::csv::{MAX_COLUMNS, Records, number};
use crate::data::labels::shown;
use crate::error::Result;

pub(super) const FORMAT: Format = Format {
    name: "fcsv",
    title: "3D Slicer fiducials",
    ending: ".fcsv",
    per_image: true,
    holds: Holds { scores: false, missing: false, sizes: false, ..Holds::ALL },
    landmarks: &[],
    spacing: Spacing::Needed,
    read,
    write: None,
};

/// The columns of files that do not name them.
const COLUMNS: &str = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID";

fn read(source: &Source, builder: &mut Builder) -> Result<()> {
    // Files that name no frame are old, and in RAS.
    let (mut frame, mut columns) = ("RAS", COLUMNS);
    let (mut rest, mut first_line) = (source.text, 1);
    while let Some(comment) = rest.strip_prefix('#') {
        let (comment, after) = comment.split_once('\n').unwrap_or((comment, ""));
        (rest, first_line) = (after, first_line + 1);
        match comment.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("CoordinateSystem", "0")) => frame = "RAS",
            Some(("CoordinateSystem", "1")) => frame = "LPS",
            Some(("CoordinateSystem", name)) => frame = name,
            Some(("columns", names)) => columns = names,
            _ => {}
        }
    }
    let column = |name: &str| {
        let found = columns.split(',').position(|column| column.trim() == name);
        found.ok_or_else(|| source.fault("columns", format!("no column {name}; there are {}", shown(columns))))
    };
    let (x, y, label) = (column("x")?, column("y")?, column("label")?);
    let Some((name, size)) = source.own_image(builder)? else { return Ok(()) };
    let spacing = source.spacing(&name, builder)?;
    builder.image(name, size);
    let mut records = Records::new(rest, first_line);
    let at = |line: usize, cause: String| source.fault(format!("line {line}"), cause);
    while let Some((line, cells)) = records.next_record(MAX_COLUMNS).map_err(|(line, cause)| at(line, cause))? {
        let cell =
            |column: usize| cells.get(column).ok_or_else(|| at(line, format!("{} cells are too few", cells.len())));
        let mm = |column: usize| match number(cell(column)?).map_err(|cause| at(line, cause))? {
            Some(mm) => Ok(mm),
            None => Err(at(line, "a position is empty".into())),
        };
        let place = slicer::pixel([mm(x)?, mm(y)?], frame, spacing);
        let place =
            place.ok_or_else(|| source.fault("CoordinateSystem", format!("{} is not LPS or RAS", shown(frame))))?;
        let label = cell(label)?;
        if label.is_empty() {
            return Err(at(line, "no label; name it after its landmark in Slicer".into()));
        }
        builder.point(label, Some(place), None).map_err(|cause| at(line, cause))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::round_trip::{read_with, refused};

    /// In the form of Slicer's documentation.
    const FILE: &str = "# Markups fiducial file version = 4.13\n# CoordinateSystem = LPS\n\
        # columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n\
        0,19.5,13.25,29.4,0,0,0,1,1,1,0,F-1,,\n1,7,76,17.5,0,0,0,1,1,1,0,\"F, 2\",\"it's\",vtkMRMLScalarVolumeNode1\n";

    #[test]
    fn reads_the_documented_form() {
        let (labels, _) = read_with("fcsv", FILE, "7.fcsv", 0.25);
        assert_eq!((labels.names, labels.rows[0].image.as_str()), (vec!["F-1".into(), "F, 2".into()], "7.png"));
        assert_eq!(labels.rows[0].points, [Some([78.0, 53.0]), Some([28.0, 304.0])]);
        // Older: a number for the frame, other columns.
        let old = "# Markups fiducial file version = 4.4\n# CoordinateSystem = 0\n# columns = label,y,x\nF-1,-8,-2\n";
        assert_eq!(read_with("fcsv", old, "7.fcsv", 1.0).0.rows[0].points, [Some([2.0, 8.0])]);
    }

    #[test]
    fn faults_name_the_place() {
        for (from, to, words) in [
            ("LPS", "2", &["CoordinateSystem: \"2\" is not LPS or RAS"][..]),
            ("19.5", "", &["line 4: a position is empty"]),
            ("19.5", "x", &["line 4: \"x\" is not a finite number"]),
            ("F-1", "", &["line 4: no label"]),
            ("\"F, 2\"", "F-1", &["line 5: landmark \"F-1\" is there twice"]),
            ("sel,lock,label", "sel", &["columns: no column label"]),
            ("0,19.5,13.25,29.4,0,0,0,1,1,1,0,F-1,,", "0,1,2", &["line 4: 3 cells are too few"]),
        ] {
            refused("fcsv", &FILE.replace(from, to), "7.fcsv", words);
        }
    }
}
