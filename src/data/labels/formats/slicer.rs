//! 3D Slicer's markups: a `.mrk.json` an image, a control point of a point list a landmark.
//!
//! Positions are millimetres in the patient's frame. Slicer places an image without a geometry of its own, such as a PNG,
//! with the centre of its first pixel at the origin, rows towards left (L) and columns towards posterior (P), a pixel a
//! millimetre. So in LPS a position is `spacing * pixel`, and in RAS the negative of it.

use super::builder::Builder;
use super::{Format, Holds, Source, Spacing, Target};
use crate::data::labels::json::parse;
use crate::data::labels::{Labels, Point, shown};
use crate::error::Result;
use serde::{Deserialize, Serialize};

pub(super) const FORMAT: Format = Format {
    name: "slicer",
    title: "3D Slicer markups",
    ending: ".mrk.json",
    per_image: true,
    holds: Holds { scores: false, sizes: false, ..Holds::ALL },
    landmarks: &[],
    spacing: Spacing::Needed,
    read,
    write: Some(write),
};

const SCHEMA: &str = "https://raw.githubusercontent.com/slicer/slicer/master/\
                      Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#";

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(rename = "@schema", skip_deserializing)]
    schema: &'static str,
    markups: Vec<Markup>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Markup {
    r#type: String,
    #[serde(default = "lps")]
    coordinate_system: String,
    #[serde(default = "mm")]
    coordinate_units: Units,
    #[serde(default)]
    control_points: Vec<ControlPoint>,
}

fn lps() -> String {
    "LPS".into()
}

/// A unit, or its code, the coding scheme and its meaning.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Units {
    Name(String),
    Coded(Vec<String>),
}

fn mm() -> Units {
    Units::Name("mm".into())
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ControlPoint {
    label: String,
    position: Option<Position>,
    position_status: Option<String>,
}

/// Right to left or the reverse, back to front or the reverse, feet to head; text where there is none.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Position {
    Mm([f64; 3]),
    Absent(String),
}

/// The pixel of a position in millimetres; `None` for a frame that is neither LPS nor RAS.
pub(super) fn pixel(mm: Point, frame: &str, spacing: f64) -> Option<Point> {
    let scale = match frame {
        "LPS" => spacing,
        "RAS" => -spacing,
        _ => return None,
    };
    Some(mm.map(|v| v / scale + 0.0)) // no -0
}

fn read(source: &Source, builder: &mut Builder) -> Result<()> {
    let file: File = parse(source.text, source.path)?;
    let Some((name, size)) = source.own_image(builder)? else { return Ok(()) };
    let spacing = source.spacing(&name, builder)?;
    builder.image(name, size);
    for markup in &file.markups {
        if markup.r#type != "Fiducial" {
            builder.leave_out("markups that are no point lists");
            continue;
        }
        let unit = match &markup.coordinate_units {
            Units::Name(unit) => unit.as_str(),
            Units::Coded(code) => code.first().map_or("", String::as_str),
        };
        if unit != "mm" {
            return Err(source.fault("coordinateUnits", format!("{}, but only mm can be read", shown(unit))));
        }
        for (index, point) in markup.control_points.iter().enumerate() {
            let at = |cause: String| source.fault(format!("control point {}", index + 1), cause);
            if point.label.is_empty() {
                return Err(at("no label; name it after its landmark in Slicer".into()));
            }
            let defined = point.position_status.as_deref().unwrap_or("defined") == "defined";
            let place = match point.position {
                Some(Position::Mm([x, y, _])) if defined => {
                    let place = pixel([x, y], &markup.coordinate_system, spacing);
                    let frame = || {
                        source.fault(
                            "coordinateSystem",
                            format!("{} is not LPS or RAS", shown(&markup.coordinate_system)),
                        )
                    };
                    Some(place.ok_or_else(frame)?)
                }
                _ => None,
            };
            builder.point(&point.label, place, None).map_err(at)?;
        }
    }
    Ok(())
}

fn write(labels: &Labels, target: &Target) -> Result<String> {
    let spacing = target.spacing(&labels.rows[0]).unwrap_or(1.0);
    let control_point = |(name, point): (&String, &Option<Point>)| ControlPoint {
        label: name.clone(),
        position: Some(match point {
            Some([x, y]) => Position::Mm([x * spacing, y * spacing, 0.0]),
            None => Position::Absent(String::new()),
        }),
        position_status: Some(if point.is_some() { "defined" } else { "undefined" }.into()),
    };
    let markup = Markup {
        r#type: "Fiducial".into(),
        coordinate_system: lps(),
        coordinate_units: mm(),
        control_points: labels.names.iter().zip(&labels.rows[0].points).map(control_point).collect(),
    };
    let file = File { schema: SCHEMA, markups: vec![markup] };
    Ok(serde_json::to_string_pretty(&file).unwrap_or_default() + "\n") // numbers and strings cannot fail
}

#[cfg(test)]
mod tests {
    use super::super::round_trip::{read_with, refused};

    /// In the form of Slicer's documentation, shortened: a point that is not placed has an empty text as position.
    const FILE: &str = r#"{"@schema": "https://raw.githubusercontent.com/slicer/slicer/master/markups-schema-v1.0.3.json#",
      "markups": [
        {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "locked": false, "labelFormat": "%N-%d",
         "controlPoints": [
          {"id": "1", "label": "F-1", "description": "", "position": [53.5, 73.25, 0.0], "orientation": [-1, 0, 0, 0, -1, 0, 0, 0, 1],
           "selected": true, "positionStatus": "defined"},
          {"id": "2", "label": "F-2", "position": "", "positionStatus": "undefined"},
          {"label": "F-3", "position": [1, 2, 3]}],
         "display": {"visibility": true}},
        {"type": "Line", "coordinateSystem": "LPS", "controlPoints": [{"label": "L-1", "position": [0, 0, 0]}]}]}"#;

    #[test]
    fn reads_the_documented_form() {
        let (labels, notes) = read_with("slicer", FILE, "7.mrk.json", 0.5);
        assert_eq!(labels.names, ["F-1", "F-2", "F-3"]);
        assert_eq!((labels.rows[0].image.as_str(), labels.rows[0].size()), ("7.png", (640.0, 480.0)));
        assert_eq!(labels.rows[0].points, [Some([107.0, 146.5]), None, Some([2.0, 4.0])]);
        assert_eq!(notes, ["left out: markups that are no point lists (1)"]);
        let ras = FILE.replacen("LPS", "RAS", 1).replace("[53.5, 73.25, 0.0]", "[-53.5, -73.25, 0.0]");
        assert_eq!(read_with("slicer", &ras, "7.mrk.json", 0.5).0.rows[0].points[0], Some([107.0, 146.5]));
    }

    #[test]
    fn faults_name_the_place() {
        for (from, to, words) in [
            ("LPS", "IJK", &["coordinateSystem: \"IJK\" is not LPS or RAS"][..]),
            ("\"mm\"", "[\"um\", \"UCUM\", \"micrometer\"]", &["coordinateUnits: \"um\", but only mm"]),
            ("F-3", "F-1", &["control point 3: landmark \"F-1\" is there twice"]),
            ("F-2", "", &["control point 2: no label"]),
            ("Fiducial", "Curve", &["no landmarks in it; left out: markups that are no point lists (2)"]),
        ] {
            refused("slicer", &FILE.replacen(from, to, 1), "7.mrk.json", words);
        }
    }
}
