//! Labels put together point by point, as most formats hold them.

use crate::data::labels::json::MAX_POINTS;
use crate::data::labels::{LabelRow, Labels, PixelSpacing, Point, shown};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// Landmarks that a file may name.
const MAX_LANDMARKS: usize = 10_000;

/// Labels in the making. Landmarks stand in the order in which they are named; those that no list names, as the images have them.
#[derive(Default)]
pub(super) struct Builder {
    names: Vec<String>,
    /// Landmarks that were named by themselves, in order.
    listed: Vec<usize>,
    is_listed: Vec<bool>,
    index: HashMap<String, usize>,
    rows: Vec<Row>,
    /// Landmarks that the last row has.
    seen: HashSet<usize>,
    left_out: BTreeMap<&'static str, usize>,
    unknown_images: usize,
    /// Whether a pixel was taken for a millimetre.
    pub assumed_mm: bool,
}

struct Row {
    image: String,
    size: (u32, u32),
    spacing: Option<PixelSpacing>,
    points: Vec<(usize, Option<Point>, Option<f64>)>,
}

impl Builder {
    /// Names a landmark, whether or not a point follows.
    pub fn landmark(&mut self, name: &str) {
        let k = self.known(name);
        if !std::mem::replace(&mut self.is_listed[k], true) {
            self.listed.push(k);
        }
    }

    fn known(&mut self, name: &str) -> usize {
        if let Some(&k) = self.index.get(name) {
            return k;
        }
        self.index.insert(name.into(), self.names.len());
        self.names.push(name.into());
        self.is_listed.push(false);
        self.names.len() - 1
    }

    /// Begins the row of an image of `size` `(width, height)`.
    pub fn image(&mut self, image: impl Into<String>, size: (u32, u32)) {
        self.begin(image.into(), size, None);
    }

    fn begin(&mut self, image: String, size: (u32, u32), spacing: Option<PixelSpacing>) {
        self.rows.push(Row { image, size, spacing, points: Vec::new() });
        self.seen.clear();
    }

    /// Adds a landmark to the row that was begun last. The cause, if it has it already.
    pub fn point(&mut self, name: &str, point: Option<Point>, score: Option<f64>) -> Result<(), String> {
        let k = self.known(name);
        if !self.seen.insert(k) {
            return Err(format!("landmark {} is there twice; each image has one of it", shown(name)));
        }
        if let Some(row) = self.rows.last_mut() {
            row.points.push((k, point, score));
        }
        Ok(())
    }

    /// Adds the rows of labels that are whole already.
    pub fn rows(&mut self, labels: Labels) -> Result<(), String> {
        labels.names.iter().for_each(|name| self.landmark(name));
        for row in labels.rows {
            self.begin(row.image, (row.width, row.height), row.spacing);
            for (k, name) in labels.names.iter().enumerate() {
                self.point(name, row.points[k], row.scores.get(k).copied().flatten())?;
            }
        }
        Ok(())
    }

    /// Counts a thing of the file that labels have no place for; `what` is the plural.
    pub fn leave_out(&mut self, what: &'static str) {
        *self.left_out.entry(what).or_default() += 1;
    }

    /// Counts an image whose size is not known because it is not among the images that are given; its row is left out.
    pub fn unknown_image(&mut self) {
        self.unknown_images += 1;
        self.leave_out("images that are not among those given");
    }

    /// How many there were.
    pub fn unknown_images(&self) -> usize {
        self.unknown_images
    }

    /// The landmarks in order: those that were listed, then those of each image, each behind the one that is before it there, else in
    /// front of the next that is known. So an image that lacks some changes nothing.
    fn order(&self) -> Vec<usize> {
        let mut order = self.listed.clone();
        let mut placed = self.is_listed.clone();
        for row in &self.rows {
            let here: Vec<usize> = row.points.iter().map(|point| point.0).collect();
            for (at, &k) in here.iter().enumerate() {
                if !placed[k] {
                    let place = |k: usize| order.iter().position(|&known| known == k);
                    let spot = match at {
                        0 => here.iter().find(|&&next| placed[next]).and_then(|&next| place(next)),
                        _ => place(here[at - 1]).map(|before| before + 1),
                    };
                    order.insert(spot.unwrap_or(order.len()), k);
                    placed[k] = true;
                }
            }
        }
        order
    }

    /// The labels, checked, and a line for each kind of thing that was left out.
    pub fn finish(self, path: &Path) -> Result<(Labels, Vec<String>)> {
        if self.names.len().saturating_mul(self.rows.len()) > MAX_POINTS {
            return Err(Error::input(path, format!("more than {MAX_POINTS} points")));
        }
        if self.names.len() > MAX_LANDMARKS {
            return Err(Error::input(path, format!("{} landmarks are more than {MAX_LANDMARKS}", self.names.len())));
        }
        let notes = self.left_out.iter().map(|(what, n)| format!("left out: {what} ({n})")).collect::<Vec<_>>();
        if self.rows.is_empty() || self.names.is_empty() {
            let cause = if self.rows.is_empty() { "no images in it" } else { "no landmarks in it" };
            return Err(Error::input(path, [&[cause.to_string()], &notes[..]].concat().join("; ")));
        }
        let k = self.names.len();
        let order = self.order();
        let mut rank = vec![0; k];
        order.iter().enumerate().for_each(|(rank_of, &k)| rank[k] = rank_of);
        let with_scores = self.rows.iter().flat_map(|row| &row.points).any(|(_, _, score)| score.is_some());
        let rows = self.rows.into_iter().map(|row| {
            let (mut points, mut scores) = (vec![None; k], vec![None; if with_scores { k } else { 0 }]);
            for (k, point, score) in row.points {
                points[rank[k]] = point;
                if with_scores {
                    scores[rank[k]] = score;
                }
            }
            let (width, height) = row.size;
            LabelRow { image: row.image, width, height, spacing: row.spacing, points, scores }
        });
        let labels = Labels { rows: rows.collect(), names: order.iter().map(|&k| self.names[k].clone()).collect() };
        labels.check(path)?;
        Ok((labels, notes))
    }
}
