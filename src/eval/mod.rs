//! Predictions against truth: `R = |p - g|` per point, then MRE, median, SD and SDR per landmark and overall.
//!
//! Distances are in pixels of the *truth's* image, times millimetres per pixel where a spacing is known; a prediction
//! made on the same image at another size is scaled first. The figures are defined in [`metrics`].

pub mod metrics;
pub mod reliability;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::data::labels::{LabelRow, Labels, PixelSpacing, same_shape, scale_point, scale_spacing};
use crate::data::point::distance;
use crate::error::{Error, Result};
use crate::nearest::nearest;
pub use metrics::Stats;
pub use reliability::Reliability;

/// How a pixel of the truth's image becomes a length.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Errors and thresholds are in pixels.
    #[default]
    Pixels,
    /// Millimetres per pixel, the same for every image.
    MmPerPixel(f64),
    /// As each row of the truth says, or the prediction's of the same image.
    Stated,
    /// Two landmarks of the truth that lie `mm` apart in every image, such as the ends of a ruler.
    Between {
        /// One landmark.
        a: String,
        /// The other.
        b: String,
        /// Their distance in millimetres.
        mm: f64,
    },
}

impl Spacing {
    /// `mm` or `px`.
    pub fn unit(&self) -> &'static str {
        if *self == Self::Pixels { "px" } else { "mm" }
    }
}

/// What [`evaluate`] is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The length of a pixel.
    pub spacing: Spacing,
    /// SDR thresholds in the unit of `spacing`; 2, 2.5, 3 and 4 by default.
    pub thresholds: Vec<f64>,
    /// Landmarks to leave out.
    pub skip: Vec<String>,
    /// Count truth points without a prediction as missed, where they are otherwise an error.
    pub allow_missing: bool,
    /// Bootstrap samples for the intervals; 0 for none.
    pub resamples: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// What messages call the predictions.
    pub pred_path: PathBuf,
    /// What messages call the truth.
    pub truth_path: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            spacing: Spacing::Pixels,
            thresholds: vec![2.0, 2.5, 3.0, 4.0],
            skip: Vec::new(),
            allow_missing: false,
            resamples: 2000,
            seed: 0,
            pred_path: "predictions".into(),
            truth_path: "truth".into(),
        }
    }
}

/// The radial errors themselves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ErrorGrid {
    /// The truth's images.
    pub images: Vec<String>,
    /// The truth's landmarks that were not skipped.
    pub names: Vec<String>,
    /// `r[image][landmark]` in the unit of [`Options::spacing`]; `None` where truth or prediction is missing.
    pub r: Vec<Vec<Option<f64>>>,
    /// The scores of the predictions, in the same places.
    pub scores: Vec<Vec<Option<f64>>>,
    /// The length of each image's longer side, in the same unit.
    pub sides: Vec<f64>,
    /// `(image, landmark)` indices of truth points without a prediction; empty unless `allow_missing`.
    pub missed: Vec<(usize, usize)>,
    /// Images whose predictions were made at another size.
    pub scaled: usize,
}

/// The figures of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Unit of every length: `mm` or `px`.
    pub unit: &'static str,
    /// How pixels became lengths.
    pub spacing: Spacing,
    /// The thresholds of every SDR, in `unit`.
    pub thresholds: Vec<f64>,
    /// Landmarks that were left out.
    pub skipped: Vec<String>,
    /// Images of the truth with at least one point.
    pub images: usize,
    /// Images whose predictions were made at another size than the truth's, and scaled to it.
    pub scaled: usize,
    /// Bootstrap samples behind the intervals.
    pub resamples: usize,
    /// Over all points.
    pub all: Stats,
    /// Per landmark, in the truth's order, those without a truth point left out.
    pub landmarks: Vec<Stats>,
    /// Whether the predictions' scores can be trusted; absent where they have none.
    pub reliability: Option<Reliability>,
    /// What the figures are made of.
    #[serde(skip)]
    pub grid: ErrorGrid,
}

/// Compares predictions with the truth; rows and landmarks that the truth has not are ignored.
///
/// Intervals are 95 % percentile bootstrap over *images*: the points of one image are not independent.
///
/// # Errors
/// [`Error::Usage`] for options that do not fit the truth; [`Error::Input`], naming image and landmark, for a truth
/// point without a prediction (unless `allow_missing`), predictions for an image of another shape, a spacing that cannot be
/// found, and a truth without points.
pub fn evaluate(pred: &Labels, truth: &Labels, options: &Options) -> Result<Evaluation> {
    let positive = |v: f64| v.is_finite() && v > 0.0;
    if let Some(bad) = options.thresholds.iter().find(|&&t| !positive(t)) {
        return Err(Error::Usage(format!("{bad} is not a threshold: it must be above 0")));
    }
    if let Spacing::MmPerPixel(mm) | Spacing::Between { mm, .. } = &options.spacing
        && !positive(*mm)
    {
        return Err(Error::Usage(format!("{mm} mm is not a spacing: it must be above 0")));
    }
    let grid = error_grid(pred, truth, options)?;
    let missed: HashSet<(usize, usize)> = grid.missed.iter().copied().collect();
    // The truth points of landmarks `ks` in every image that has any: an error, or `None` if missed.
    let points = |ks: std::ops::Range<usize>| -> Vec<Vec<Option<f64>>> {
        let of_image = |(i, r): (usize, &Vec<Option<f64>>)| {
            ks.clone()
                .map(|k| (k, r[k]))
                .filter(|(k, r)| r.is_some() || missed.contains(&(i, *k)))
                .map(|(_, r)| r)
                .collect()
        };
        grid.r.iter().enumerate().map(of_image).filter(|points: &Vec<_>| !points.is_empty()).collect()
    };
    let stats = |name: &str, points: &[Vec<Option<f64>>]| {
        Stats::of(name, points, &options.thresholds, options.resamples, options.seed)
    };
    let everything = points(0..grid.names.len());
    if everything.is_empty() {
        return Err(Error::input(&options.truth_path, "no points to compare with, after those skipped"));
    }
    let landmarks = grid.names.iter().enumerate().map(|(k, name)| (name, points(k..k + 1)));
    Ok(Evaluation {
        unit: options.spacing.unit(),
        spacing: options.spacing.clone(),
        thresholds: options.thresholds.clone(),
        skipped: options.skip.clone(),
        images: everything.len(),
        scaled: grid.scaled,
        resamples: options.resamples,
        all: stats("all", &everything),
        landmarks: landmarks.filter(|(_, p)| !p.is_empty()).map(|(name, p)| stats(name, &p)).collect(),
        reliability: Reliability::of(&grid),
        grid,
    })
}

/// The radial error of every point, in the unit of `options.spacing`.
///
/// # Errors
/// As [`evaluate`].
pub fn error_grid(pred: &Labels, truth: &Labels, options: &Options) -> Result<ErrorGrid> {
    let index = |labels: &Labels, name: &str| labels.names.iter().position(|n| n == name);
    let known = |name: &str| {
        let hint = || match nearest(name, truth.names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("the truth has {}", truth.names.join(", ")),
        };
        index(truth, name).ok_or_else(|| Error::Usage(format!("no landmark {name:?}; {}", hint())))
    };
    for name in &options.skip {
        known(name)?;
    }
    let between = match &options.spacing {
        Spacing::Between { a, b, .. } => Some((known(a)?, known(b)?)),
        _ => None,
    };
    let kept: Vec<usize> = (0..truth.names.len()).filter(|&k| !options.skip.contains(&truth.names[k])).collect();
    let pred_index: Vec<Option<usize>> = truth.names.iter().map(|name| index(pred, name)).collect();
    let pred_rows: HashMap<&str, &LabelRow> = pred.rows.iter().map(|row| (row.image.as_str(), row)).collect();
    let point = |row: &LabelRow, k: usize| row.points.get(k).copied().flatten();

    let mut grid = ErrorGrid {
        images: truth.rows.iter().map(|row| row.image.clone()).collect(),
        names: kept.iter().map(|&k| truth.names[k].clone()).collect(),
        r: Vec::with_capacity(truth.rows.len()),
        scores: Vec::with_capacity(truth.rows.len()),
        sides: Vec::with_capacity(truth.rows.len()),
        missed: Vec::new(),
        scaled: 0,
    };
    for (i, row) in truth.rows.iter().enumerate() {
        let image = format!("image {:?}", row.image);
        let pred_row = pred_rows.get(row.image.as_str()).copied();
        let spacing = match (&options.spacing, between) {
            (Spacing::Between { a, b, mm }, Some((ka, kb))) => {
                let pixels = point(row, ka).zip(point(row, kb)).map_or(0.0, |(a, b)| distance(a, b));
                if pixels.is_nan() || pixels <= 0.0 {
                    let cause = format!("no spacing: {a:?} and {b:?} must both be there, and apart");
                    return Err(Error::input_at(&options.truth_path, image, cause));
                }
                [mm / pixels; 2]
            }
            (Spacing::MmPerPixel(mm), _) => [*mm; 2],
            (Spacing::Stated, _) => stated(row, pred_row).ok_or_else(|| {
                Error::input_at(&options.truth_path, &image, "neither it nor the predictions state a spacing")
            })?,
            _ => [1.0; 2],
        };
        if let Some(p) = pred_row.filter(|p| p.size() != row.size()) {
            if !same_shape(p.size(), row.size()) {
                let cause = format!(
                    "{}x{} pixels here, but {}x{} in {}, which is another shape; both must be about the same image",
                    row.width,
                    row.height,
                    p.width,
                    p.height,
                    options.pred_path.display()
                );
                return Err(Error::input_at(&options.truth_path, image, cause));
            }
            grid.scaled += usize::from(kept.iter().any(|&k| point(row, k).is_some()));
        }
        let mut errors = vec![None; kept.len()];
        for (j, &k) in kept.iter().enumerate() {
            let Some(g) = point(row, k) else { continue };
            let at =
                |cause| Error::input_at(&options.pred_path, format!("{image}, landmark {:?}", truth.names[k]), cause);
            match pred_row.and_then(|p| Some(scale_point(point(p, pred_index[k]?)?, p.size(), row.size()))) {
                Some(p) => {
                    let r = (spacing[0] * (p[0] - g[0])).hypot(spacing[1] * (p[1] - g[1]));
                    // The squares of larger ones could overflow.
                    if r.is_nan() || r > 1e100 {
                        return Err(at("an error beyond all measure; check the coordinates and the spacing"));
                    }
                    errors[j] = Some(r);
                }
                None if options.allow_missing => grid.missed.push((i, j)),
                None if pred_row.is_none() => {
                    let lacks = |row: &&LabelRow| !pred_rows.contains_key(row.image.as_str());
                    let others = match truth.rows[i + 1..].iter().filter(lacks).count() {
                        0 => String::new(),
                        n => format!(" and {n} others"),
                    };
                    let cause = format!("no row for {image}{others}; --allow-missing counts their points as missed");
                    return Err(Error::input(&options.pred_path, cause));
                }
                None if pred_index[k].is_none() => {
                    let near = nearest(&truth.names[k], pred.names.iter().map(String::as_str));
                    let near = near.map(|near| format!(" (did you mean its {near:?}?)")).unwrap_or_default();
                    let name = &truth.names[k];
                    let cause = format!("no landmark {name:?}, which the truth has{near}; --skip leaves it out");
                    return Err(Error::input(&options.pred_path, cause));
                }
                None => return Err(at("no prediction, but the truth has this point")),
            }
        }
        let score = |k: usize| pred_row?.scores.get(pred_index[k]?).copied().flatten();
        grid.scores.push(kept.iter().map(|&k| score(k)).collect());
        grid.sides.push((spacing[0] * f64::from(row.width)).max(spacing[1] * f64::from(row.height)));
        grid.r.push(errors);
    }
    Ok(grid)
}

/// For each image of the truth its name, and the millimetres between its pixels, if its row or the prediction's says them.
pub fn stated_spacings<'a>(pred: &Labels, truth: &'a Labels) -> Vec<(&'a str, Option<PixelSpacing>)> {
    let pred: HashMap<&str, &LabelRow> = pred.rows.iter().map(|row| (row.image.as_str(), row)).collect();
    let of = |row: &'a LabelRow| (row.image.as_str(), stated(row, pred.get(row.image.as_str()).copied()));
    truth.rows.iter().map(of).collect()
}

fn stated(truth: &LabelRow, pred: Option<&LabelRow>) -> Option<PixelSpacing> {
    truth.spacing.or_else(|| pred.and_then(|p| Some(scale_spacing(p.spacing?, p.size(), truth.size()))))
}

impl Evaluation {
    /// The figures as JSON: lengths in `unit`, rates in per cent, nothing rounded.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() // numbers and strings cannot fail
    }

    /// The figures as an aligned text table, one row a landmark, then `all`, then its intervals in words.
    pub fn to_table(&self) -> String {
        let with_missed = self.all.missed > 0;
        let with_intervals = self.all.mre_interval.is_some();
        let mut header = vec!["landmark".into(), "n".into(), format!("MRE ± SD {}", self.unit), "median".into()];
        header.extend(self.thresholds.iter().map(|t| format!("<{t} {} %", self.unit)));
        header.extend(with_missed.then(|| "missed %".into()));
        header.extend(with_intervals.then(|| "95% of MRE".into()));
        let mut rows = vec![header];
        for s in self.landmarks.iter().chain([&self.all]) {
            let spread = format!("{} ± {}", length(s.mre), length(s.sd));
            let mut row = vec![s.name.clone(), s.n.to_string(), spread, length(s.median)];
            row.extend(s.sdr.iter().map(|v| format!("{v:.1}")));
            row.extend(with_missed.then(|| format!("{:.1}", s.miss_rate())));
            row.extend(with_intervals.then(|| s.mre_interval.map_or("-".into(), range)));
            rows.push(row);
        }
        let width = |c: usize| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
        let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)) + "\n";
        let mut table = String::new();
        for (i, row) in rows.iter().enumerate() {
            if i == 1 || i + 1 == rows.len() {
                table += &rule;
            }
            table += &format!("{:<1$}", row[0], widths[0]);
            for (cell, &width) in row.iter().zip(&widths).skip(1) {
                table += &format!("  {cell:>width$}");
            }
            table.push('\n');
        }
        table + &self.footer()
    }

    /// What the table leaves to be said about `all`.
    fn footer(&self) -> String {
        let mut text = String::new();
        if let Some(mre) = self.all.mre_interval {
            text += &format!("95% intervals, {} resamples of {} images: ", self.resamples, self.images);
            text += &format!("MRE {} {}", range(mre), self.unit);
            for (t, [low, high]) in self.thresholds.iter().zip(&self.all.sdr_interval) {
                text += &format!(", <{t} {} {low:.1}..{high:.1} %", self.unit);
            }
            text.push('\n');
        }
        if self.all.missed > 0 {
            let points = self.all.n + self.all.missed;
            text += &format!("missed {} of {points} points: not in MRE, median and SD; ", self.all.missed);
            text += "counted as not detected in the rates\n";
        }
        if let Some(found) = &self.reliability {
            text += &format!(
                "scores: MRE {} {unit} of the 80 % of points from {:.2} up, {} {unit} of all with a score; calibration error {:.2}\n",
                length(found.trusted_mre),
                found.trusted_from,
                length(found.mre),
                found.calibration_error,
                unit = self.unit,
            );
        }
        if self.scaled > 0 {
            text += &format!("scaled to the truth's size: predictions in {} of {} images\n", self.scaled, self.images);
        }
        if !self.skipped.is_empty() {
            text += &format!("left out: {}\n", self.skipped.join(", "));
        }
        text
    }
}

fn length(v: f64) -> String {
    if v.is_nan() { "-".into() } else { format!("{v:.2}") }
}

fn range([low, high]: [f64; 2]) -> String {
    format!("{low:.2}..{high:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(csv: &str) -> Labels {
        Labels::from_csv(csv, "t.csv").unwrap()
    }

    fn truth() -> Labels {
        labels("image,width,height,a_x,a_y,b_x,b_y\n1,100,50,10,10,40,50\n2,100,50,20,20,,\n3,100,50,0,0,0,10\n")
    }

    #[test]
    fn figures_by_hand_with_other_size_and_order() {
        // Image 1 at twice the size: (10, 10) is (20.5, 20.5) there, so `a` is 3 px off in x; `b` is 4 px off in y.
        let pred = labels(
            "image,width,height,b_x,b_y,a_x,a_y,a_score\n3,100,50,0,10,0,0,1\n2,100,50,9,9,20,20,1\n9,1,1,0,0,0,0,1\n\
             1,200,100,80.5,108.5,26.5,20.5,0.5\n",
        );
        let e = evaluate(&pred, &truth(), &Options::default()).unwrap();
        assert_eq!(e.grid.r, [vec![Some(3.0), Some(4.0)], vec![Some(0.0), None], vec![Some(0.0), Some(0.0)]]);
        assert_eq!((e.unit, e.images, e.all.n, e.all.mre, e.all.median), ("px", 3, 5, 1.4, 0.0));
        assert_eq!(e.all.sdr, [60.0, 60.0, 60.0, 80.0]);
        assert!(
            e.scaled == 1 && e.to_table().contains("scaled to the truth's size: predictions in 1 of 3 images"),
            "{}",
            e.to_table()
        );
        assert_eq!((e.landmarks[0].mre, e.landmarks[1].mre, e.landmarks[1].n), (1.0, 2.0, 2));
        // Of an image without points nothing is scaled.
        let twice = labels("image,width,height,b_x,b_y\n1,200,100,80.5,108.5\n2,200,100,9,9\n3,200,100,0.5,20.5\n");
        let b = evaluate(&twice, &truth(), &Options { skip: vec!["a".into()], ..Options::default() }).unwrap();
        assert_eq!((b.scaled, b.images, b.all.mre), (2, 2, 2.0));
        // Only `a` has scores: 0.5 where it is 3 px off, which is more than 1.2 % of 100, and 1 where it is right.
        let line = "scores: MRE 0.00 px of the 80 % of points from 1.00 up, 1.00 px of all with a score; calibration error 0.17";
        assert!(e.to_table().contains(line), "{}", e.to_table());

        let mm = Options { spacing: Spacing::MmPerPixel(0.5), skip: vec!["b".into()], ..Options::default() };
        let e = evaluate(&pred, &truth(), &mm).unwrap();
        assert_eq!((e.unit, e.all.mre, e.landmarks.len()), ("mm", 0.5, 1));

        let between = Spacing::Between { a: "a".into(), b: "b".into(), mm: 5.0 };
        let ruler = Options { spacing: between.clone(), ..Options::default() };
        let error = evaluate(&pred, &truth(), &ruler).unwrap_err().to_string();
        assert!(error.starts_with("truth: image \"2\": no spacing: \"a\" and \"b\" must"), "{error}");
        let mut complete = truth();
        complete.rows.remove(1);
        let e = evaluate(&pred, &complete, &Options { spacing: between, ..Options::default() }).unwrap();
        assert!((e.grid.r[0][0].unwrap() - 0.3).abs() < 1e-12, "50 px are 5 mm");
    }

    #[test]
    fn stated_spacings_measure_each_axis() {
        let mm = |rows: &str| labels(&format!("image,width,height,pixel_width_mm,pixel_height_mm,a_x,a_y\n{rows}"));
        let truth = mm("1,100,50,0.5,2,10,10\n2,100,50,,,0,0\n");
        // The truth's word goes first; that of a prediction at twice the size is scaled with its point, to (4, 0).
        let pred = mm("1,100,50,9,9,13,12\n2,200,100,0.25,1,8.5,0.5\n");
        assert_eq!(stated_spacings(&pred, &truth), [("1", Some([0.5, 2.0])), ("2", Some([0.5, 2.0]))]);
        let options = Options { spacing: Spacing::Stated, ..Options::default() };
        let e = evaluate(&pred, &truth, &options).unwrap();
        assert_eq!((e.unit, &e.grid.r[..]), ("mm", &[vec![Some(1.5_f64.hypot(4.0))], vec![Some(2.0)]][..]));
        let error = evaluate(&truth, &truth, &options).unwrap_err().to_string();
        assert_eq!(error, "truth: image \"2\": neither it nor the predictions state a spacing");
    }

    #[test]
    fn missing_predictions_are_errors_or_misses() {
        let pred = labels("image,width,height,a_x,a_y,b_x,b_y\n1,100,50,11,10,,\n2,100,50,20,20,0,0\n");
        let message = |pred: &Labels, o: &Options| evaluate(pred, &truth(), o).unwrap_err().to_string();
        let strict = Options::default();
        assert_eq!(
            message(&pred, &strict),
            "predictions: image \"1\", landmark \"b\": no prediction, but the truth has this point"
        );
        let skip = Options { skip: vec!["b".into()], ..Options::default() };
        assert_eq!(
            message(&pred, &skip),
            "predictions: no row for image \"3\"; --allow-missing counts their points as missed"
        );
        let e = evaluate(&pred, &truth(), &Options { allow_missing: true, ..Options::default() }).unwrap();
        assert_eq!((e.all.n, e.all.missed, e.all.mre), (2, 3, 0.5));
        assert_eq!(e.all.sdr, [40.0; 4]);
        assert_eq!(e.grid.missed, [(0, 1), (2, 0), (2, 1)]);
        assert!(e.landmarks[1].mre.is_nan() && e.landmarks[1].sdr == [0.0; 4]);
        assert!(e.to_table().contains("missed 3 of 5 points"), "{}", e.to_table());
        let json: serde_json::Value = serde_json::from_str(&e.json()).unwrap();
        assert!(json["landmarks"][1]["mre"].is_null() && json["all"]["missed"] == 3);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let message = |pred: Labels, o: &Options| evaluate(&pred, &truth(), o).unwrap_err().to_string();
        let mut other = truth();
        other.rows[1].height = 60;
        let expected = "truth: image \"2\": 100x50 pixels here, but 100x60 in predictions";
        assert!(message(other, &Options::default()).starts_with(expected));
        let mut far = truth();
        far.rows[0].points[0] = Some([1e308, -1e308]);
        let expected = "predictions: image \"1\", landmark \"a\": an error beyond all measure";
        assert!(message(far, &Options::default()).starts_with(expected));
        let mut named = truth();
        named.names = vec!["a".into(), "thumb_tp".into()];
        let mut tip = truth();
        tip.names[1] = "thumb_tip".into();
        let error = evaluate(&named, &tip, &Options::default()).unwrap_err().to_string();
        assert_eq!(
            error,
            "predictions: no landmark \"thumb_tip\", which the truth has (did you mean its \"thumb_tp\"?); --skip leaves it out"
        );
        let skip = Options { skip: vec!["thumb_tp".into()], ..Options::default() };
        assert!(evaluate(&tip, &tip, &skip).unwrap_err().to_string().ends_with("did you mean \"thumb_tip\"?"));
        let mut near = truth();
        near.rows[0].points[0] = Some([11.0, 10.0]);
        let huge = Options { spacing: Spacing::MmPerPixel(1e308), ..Options::default() };
        assert!(message(near, &huge).starts_with(expected));
    }

    #[test]
    fn options_are_checked() {
        for (options, expected) in [
            (Options { skip: vec!["c".into()], ..Options::default() }, "no landmark \"c\"; the truth has a, b"),
            (Options { thresholds: vec![0.0], ..Options::default() }, "0 is not a threshold"),
            (Options { spacing: Spacing::MmPerPixel(f64::NAN), ..Options::default() }, "NaN mm is not a spacing"),
            (Options { skip: vec!["a".into(), "b".into()], ..Options::default() }, "no points to compare with"),
        ] {
            let error = evaluate(&truth(), &truth(), &options).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn table_is_aligned() {
        let mut pred = truth();
        pred.rows[0].points[0] = Some([11.0, 10.0]);
        let options = Options { spacing: Spacing::MmPerPixel(2.0), thresholds: vec![2.0, 2.5], ..Options::default() };
        let table = evaluate(&pred, &truth(), &options).unwrap().to_table();
        let expected = "\
landmark  n  MRE ± SD mm  median  <2 mm %  <2.5 mm %  95% of MRE
----------------------------------------------------------------
a         3  0.67 ± 0.94    0.00     66.7      100.0  0.00..2.00
b         2  0.00 ± 0.00    0.00    100.0      100.0  0.00..0.00
----------------------------------------------------------------
all       5  0.40 ± 0.80    0.00     80.0      100.0  0.00..1.00
95% intervals, 2000 resamples of 3 images: MRE 0.00..1.00 mm, <2 mm 50.0..100.0 %, <2.5 mm 100.0..100.0 %
";
        assert_eq!(table, expected, "\n{table}");
    }
}
