//! LabelMe: a JSON file an image, a shape of type `point` a landmark.
//!
//! Positions are measured from the image's corner: the centre of the first pixel is at (0.5, 0.5).

use super::builder::Builder;
use super::{Format, Holds, Source, Spacing, Target};
use crate::data::labels::json::parse;
use crate::data::labels::{Labels, shown};
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) const FORMAT: Format = Format {
    name: "labelme",
    title: "LabelMe",
    ending: ".json",
    per_image: true,
    holds: Holds { missing: false, ..Holds::ALL },
    landmarks: &[],
    spacing: Spacing::Unused,
    read,
    write: Some(write),
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(skip_deserializing)]
    version: &'static str,
    #[serde(skip_deserializing)]
    flags: BTreeMap<(), ()>,
    shapes: Vec<Shape>,
    image_path: Option<String>,
    /// The image itself, or null for that of `imagePath`.
    #[serde(skip_deserializing)]
    image_data: Option<()>,
    image_height: Option<u32>,
    image_width: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Shape {
    label: String,
    points: Vec<[f64; 2]>,
    #[serde(skip_deserializing)]
    group_id: Option<()>,
    #[serde(skip_deserializing)]
    description: &'static str,
    #[serde(default = "unsaid")]
    shape_type: String,
    #[serde(skip_deserializing)]
    flags: BTreeMap<(), ()>,
    /// Not LabelMe's own, but kept by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

/// Files before LabelMe 3.5 say no type; all their shapes are polygons.
fn unsaid() -> String {
    "polygon".into()
}

fn read(source: &Source, builder: &mut Builder) -> Result<()> {
    let file: File = parse(source.text, source.path)?;
    let declared = file.image_width.zip(file.image_height).filter(|&(width, height)| width > 0 && height > 0);
    let found = match file.image_path.as_deref().filter(|path| !path.is_empty()) {
        Some(path) => source.image(path, declared, builder)?,
        None => source.own_image(builder)?.map(|(name, size)| (name, declared.unwrap_or(size))),
    };
    let Some((name, size)) = found else { return Ok(()) };
    builder.image(name, size);
    for shape in &file.shapes {
        if shape.shape_type != "point" {
            builder.leave_out("shapes that are no points");
            continue;
        }
        let at = |cause: String| source.fault(format!("shape {}", shown(&shape.label)), cause);
        let [[x, y]] = shape.points[..] else {
            return Err(at(format!("a point with {} positions", shape.points.len())));
        };
        let score = shape.score.filter(|score| (0.0..=1.0).contains(score));
        builder.point(&shape.label, Some([x - 0.5, y - 0.5]), score).map_err(at)?;
    }
    Ok(())
}

fn write(labels: &Labels, _: &Target) -> Result<String> {
    let row = &labels.rows[0];
    let shapes = labels.names.iter().enumerate().filter_map(|(k, name)| {
        let [x, y] = row.points[k]?;
        Some(Shape {
            label: name.clone(),
            points: vec![[x + 0.5, y + 0.5]],
            group_id: None,
            description: "",
            shape_type: "point".into(),
            flags: BTreeMap::new(),
            score: row.scores.get(k).copied().flatten(),
        })
    });
    let file = File {
        version: "5.5.0",
        flags: BTreeMap::new(),
        shapes: shapes.collect(),
        image_path: Some(row.image.clone()),
        image_data: None,
        image_height: Some(row.height),
        image_width: Some(row.width),
    };
    Ok(serde_json::to_string_pretty(&file).unwrap_or_default() + "\n") // numbers and strings cannot fail
}

#[cfg(test)]
mod tests {
    use super::super::round_trip::{read_text, refused};
    use super::super::{Images, LabelFile};

    #[test]
    fn an_image_that_lacks_a_landmark_changes_no_order() {
        let shape = |name: &str| format!(r#"{{"label": "{name}", "points": [[1, 1]], "shape_type": "point"}}"#);
        let file = |image: &str, names: &[&str]| {
            let shapes = names.iter().map(|name| shape(name)).collect::<Vec<_>>().join(",");
            format!(r#"{{"imagePath": "{image}", "imageWidth": 9, "imageHeight": 9, "shapes": [{shapes}]}}"#)
        };
        let folder = std::env::temp_dir().join(format!("onemark-labelme-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (image, names) in [("1", &["b", "d"][..]), ("2", &["a", "b", "c", "d"]), ("3", &["d", "e"]), ("4", &["f"])]
        {
            std::fs::write(folder.join(format!("{image}.json")), file(&format!("{image}.png"), names)).unwrap();
        }
        let found = LabelFile::open(&folder, None).unwrap().read(&Images::default(), None).unwrap().labels;
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.names, ["a", "b", "c", "d", "e", "f"]);
        let has = |row: usize| found.rows[row].points.iter().map(|p| u8::from(p.is_some())).collect::<Vec<_>>();
        assert_eq!(
            [0, 1, 2, 3].map(has),
            [[0, 1, 0, 1, 0, 0], [1, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 1]]
        );
    }

    /// As LabelMe writes it, the image left out.
    const FILE: &str = r#"{
      "version": "5.5.0", "flags": {},
      "shapes": [
        {"label": "nose", "points": [[11.5, 42.25]], "group_id": null, "description": "", "shape_type": "point",
         "flags": {}, "mask": null},
        {"label": "fin", "points": [[1, 2], [3, 4], [5, 6]], "group_id": null, "shape_type": "polygon", "flags": {}}],
      "imagePath": "..\\images\\fish 7.jpg", "imageData": null, "imageHeight": 480, "imageWidth": 632}"#;

    #[test]
    fn reads_the_documented_form() {
        let (labels, notes) = read_text("labelme", FILE, "l.json");
        assert_eq!((labels.names.len(), labels.rows[0].points[0]), (1, Some([11.0, 41.75])));
        assert_eq!((labels.rows[0].image.as_str(), labels.rows[0].size()), ("fish 7.jpg", (632.0, 480.0)));
        assert_eq!(notes, ["left out: shapes that are no points (1)"]);
    }

    #[test]
    fn faults_name_the_place() {
        for (from, to, words) in [
            ("[[11.5, 42.25]]", "[]", &["shape \"nose\": a point with 0 positions"][..]),
            ("[[11.5, 42.25]]", "[[1]]", &["line 4", "invalid length 1"]),
            ("polygon", "point", &["shape \"fin\": a point with 3 positions"]),
            ("480", "null", &["no size of image \"..\\\\images\\\\fish 7.jpg\"", "--images"]),
        ] {
            refused("labelme", &FILE.replace(from, to), "l.json", words);
        }
    }
}
