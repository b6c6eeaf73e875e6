//! COCO keypoints: one JSON of images, annotations and categories.
//!
//! A category names the keypoints; an annotation has `[x, y, v, ...]`, with `v` 0 for missing, 1 for hidden, 2 for
//! visible. Positions are pixel indices, pixel centres at integers.

use super::builder::Builder;
use super::{Format, Holds, Source, Spacing, Target};
use crate::data::labels::json::parse;
use crate::data::labels::{LabelRow, Labels, Point, shown};
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

pub(super) const FORMAT: Format = Format {
    name: "coco",
    title: "COCO keypoints",
    ending: ".json",
    per_image: false,
    holds: Holds { scores: false, ..Holds::ALL },
    landmarks: &[],
    spacing: Spacing::Unused,
    read,
    write: Some(write),
};

#[derive(Serialize, Deserialize)]
struct File {
    images: Vec<Image>,
    #[serde(default)]
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

/// A number by COCO's own description; other tools write text.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u64),
    Text(String),
}

#[derive(Serialize, Deserialize)]
struct Image {
    id: Id,
    file_name: String,
    width: Option<u32>,
    height: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Annotation {
    #[serde(default = "nameless")]
    id: Id,
    image_id: Id,
    category_id: Id,
    keypoints: Option<Vec<f64>>,
    // Not read: tools that count objects or weigh errors by size want them.
    #[serde(skip_deserializing)]
    num_keypoints: usize,
    #[serde(skip_deserializing)]
    bbox: [f64; 4],
    #[serde(skip_deserializing)]
    area: f64,
    #[serde(skip_deserializing)]
    iscrowd: u8,
}

fn nameless() -> Id {
    Id::Number(0)
}

#[derive(Serialize, Deserialize)]
struct Category {
    id: Id,
    #[serde(default)]
    name: String,
    keypoints: Option<Vec<String>>,
    #[serde(skip_deserializing)]
    skeleton: [(); 0],
}

fn read(source: &Source, builder: &mut Builder) -> Result<()> {
    let File { images, annotations, categories } = parse(source.text, source.path)?;
    let used: HashSet<&Id> = annotations.iter().filter(|a| a.keypoints.is_some()).map(|a| &a.category_id).collect();
    let mut names: HashMap<&Id, &[String]> = HashMap::new();
    for category in &categories {
        let Some(keypoints) = &category.keypoints else { continue };
        names.insert(&category.id, keypoints);
        if used.contains(&category.id) {
            keypoints.iter().for_each(|name| builder.landmark(name));
        }
    }
    let mut of_image: HashMap<&Id, Vec<&Annotation>> = HashMap::new();
    annotations.iter().for_each(|annotation| of_image.entry(&annotation.image_id).or_default().push(annotation));
    let known: HashSet<&Id> = images.iter().map(|image| &image.id).collect();
    annotations
        .iter()
        .filter(|a| !known.contains(&a.image_id))
        .for_each(|_| builder.leave_out("annotations of unknown images"));
    for image in &images {
        let declared = image.width.zip(image.height).filter(|&(width, height)| width > 0 && height > 0);
        let Some((name, size)) = source.image(&image.file_name, declared, builder)? else { continue };
        builder.image(name, size);
        for annotation in of_image.get(&image.id).into_iter().flatten() {
            let Some(keypoints) = &annotation.keypoints else {
                builder.leave_out("annotations without keypoints");
                continue;
            };
            let at = |cause: String| source.fault(format!("image {}", shown(&image.file_name)), cause);
            let names = names.get(&annotation.category_id).copied().unwrap_or_default();
            if names.is_empty() || keypoints.len() != 3 * names.len() {
                let cause = format!("{} numbers for the {} keypoints of its category", keypoints.len(), names.len());
                return Err(at(cause));
            }
            for (name, xyv) in names.iter().zip(keypoints.chunks_exact(3)) {
                builder.point(name, (xyv[2] > 0.0).then_some([xyv[0], xyv[1]]), None).map_err(at)?;
            }
        }
    }
    Ok(())
}

fn write(labels: &Labels, _: &Target) -> Result<String> {
    let id = |index: usize| Id::Number(index as u64 + 1);
    let image = |(index, row): (usize, &LabelRow)| Image {
        id: id(index),
        file_name: row.image.clone(),
        width: Some(row.width),
        height: Some(row.height),
    };
    let annotation = |(index, row): (usize, &LabelRow)| {
        let found: Vec<&Point> = row.points.iter().flatten().collect();
        let bound = |axis: usize, pick: fn(f64, f64) -> f64| found.iter().map(|p| p[axis]).reduce(pick);
        let (left, top) = (bound(0, f64::min)?, bound(1, f64::min)?);
        let (width, height) = (bound(0, f64::max)? - left, bound(1, f64::max)? - top);
        let xyv = |point: &Option<Point>| point.map_or([0.0; 3], |[x, y]| [x, y, 2.0]);
        Some(Annotation {
            id: id(index),
            image_id: id(index),
            category_id: id(0),
            keypoints: Some(row.points.iter().flat_map(xyv).collect()),
            num_keypoints: found.len(),
            bbox: [left, top, width, height],
            area: width * height,
            iscrowd: 0,
        })
    };
    let category =
        Category { id: id(0), name: "landmarks".into(), keypoints: Some(labels.names.clone()), skeleton: [] };
    let file = File {
        images: labels.rows.iter().enumerate().map(image).collect(),
        annotations: labels.rows.iter().enumerate().filter_map(annotation).collect(),
        categories: vec![category],
    };
    Ok(serde_json::to_string(&file).unwrap_or_default() + "\n") // numbers and strings cannot fail
}

#[cfg(test)]
mod tests {
    use super::super::round_trip::{read_text, refused};

    /// In the form of COCO's own description: a person with a box and a segmentation, a keypoint that is hidden, one
    /// that is not labelled, and an object of a category without keypoints.
    const FILE: &str = r#"{
      "info": {"year": 2017, "version": "1.0"}, "licenses": [],
      "images": [{"id": 397, "license": 4, "file_name": "val/000397.jpg", "height": 427, "width": 640, "coco_url": ""},
                 {"id": 400, "file_name": "000400.jpg", "height": 10, "width": 20}],
      "annotations": [
        {"id": 1, "image_id": 397, "category_id": 1, "iscrowd": 0, "area": 9.5, "bbox": [1, 2, 3, 4],
         "segmentation": [[1, 2, 3, 4, 5, 6]], "num_keypoints": 2, "keypoints": [433, 94, 2, 0, 0, 0, 434.5, 90, 1]},
        {"id": 2, "image_id": 397, "category_id": 18, "bbox": [1, 2, 3, 4]}],
      "categories": [
        {"id": 1, "name": "person", "supercategory": "person", "keypoints": ["nose", "left_eye", "right_eye"],
         "skeleton": [[1, 2], [1, 3]]},
        {"id": 18, "name": "dog", "supercategory": "animal"}]}"#;

    #[test]
    fn reads_the_documented_form() {
        let (labels, notes) = read_text("coco", FILE, "c.json");
        assert_eq!(labels.names, ["nose", "left_eye", "right_eye"]);
        assert_eq!((labels.rows[0].image.as_str(), labels.rows[0].size()), ("000397.jpg", (640.0, 427.0)));
        assert_eq!(labels.rows[0].points, [Some([433.0, 94.0]), None, Some([434.5, 90.0])]);
        assert_eq!(labels.rows[1].points, [None; 3]);
        assert_eq!(notes, ["left out: annotations without keypoints (1)"]);
        let (labels, notes) = read_text("coco", &FILE.replacen("\"image_id\": 397", "\"image_id\": 7", 1), "c.json");
        assert_eq!(labels.rows[0].points, [None; 3]);
        assert_eq!(notes[0], "left out: annotations of unknown images (1)");
    }

    #[test]
    fn faults_name_the_place() {
        for (from, to, words) in [
            ("[433, 94, 2,", "[", &["image \"val/000397.jpg\": 6 numbers for the 3 keypoints"][..]),
            (
                "\"category_id\": 18, \"bbox\"",
                "\"category_id\": 1, \"keypoints\": [1,1,1,1,1,1,1,1,1], \"bbox\"",
                &["\"nose\" is there twice"],
            ),
            ("\"annotations\"", "\"shapes\"", &["c.json: no landmarks in it"]),
            (
                "\"file_name\": \"000400.jpg\", \"height\": 10",
                "\"file_name\": \"000400.jpg\"",
                &["no size of image \"000400.jpg\"", "--images"],
            ),
            ("\"images\"", "\"image\"", &["line ", "missing field `images`"]),
        ] {
            refused("coco", &FILE.replace(from, to), "c.json", words);
        }
    }
}
