//! `onemark eval`: predictions against truth.

use super::outputs::keep_inputs;
use crate::data::files::write_atomic;
use crate::data::labels::formats::{Images, LabelFile};
use crate::data::labels::{Labels, is_square};
use crate::eval::{Options, Spacing, evaluate, stated_spacings};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Compare detections with annotations: mean radial error and detection rates.
///
/// Both are landmark files of any format that `onemark convert` knows. Lengths are pixels of the truth's images, or
/// millimetres with a spacing: an option's, else the one that either file states for every image, as detections in DICOM do.
/// Where detections have scores, it says how much better the 80 % with the highest are, and the calibration error: how far scores are from
/// the share of points that are within 1.2 % of the image's longer side of the truth, on average over eight groups of rising score.
/// Predictions made on the same images at another size are scaled; a file that holds no image sizes is taken to be of the other's.
#[derive(clap::Args)]
pub struct Args {
    /// The detections.
    #[arg(long, value_name = "FILE")]
    pred: PathBuf,
    /// The annotations.
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    #[command(flatten)]
    length: Length,
    /// Landmarks to leave out.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    skip: Vec<String>,
    /// Thresholds of the detection rates, in mm or pixels.
    #[arg(long, value_name = "LENGTH,..", value_delimiter = ',', default_value = "2,2.5,3,4")]
    thresholds: Vec<f64>,
    /// Write the figures as JSON; a file that is there is replaced.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Count points without a detection as missed; without this they are an error.
    #[arg(long)]
    allow_missing: bool,
}

/// The length of a pixel.
#[derive(clap::Args)]
pub struct Length {
    /// Millimetres a pixel of the truth's images.
    #[arg(long, value_name = "MM", conflicts_with = "spacing_from")]
    pub spacing: Option<f64>,
    /// Two landmarks of the truth, and how many millimetres they are apart in every image.
    #[arg(long, value_name = "A,B=MM", value_parser = spacing_from)]
    spacing_from: Option<Spacing>,
}

impl Length {
    /// The landmarks between which a known length lies.
    pub fn ruler(&self) -> Vec<String> {
        match &self.spacing_from {
            Some(Spacing::Between { a, b, .. }) => vec![a.clone(), b.clone()],
            _ => vec![],
        }
    }

    /// What was asked for, else what the files state for every image, else pixels; notes what contradicts it.
    pub fn spacing(self, pred: &Labels, truth: &Labels, note: impl Fn(String)) -> Spacing {
        let images = stated_spacings(pred, truth);
        let stated = || images.iter().filter_map(|&(image, spacing)| Some((image, spacing?)));
        if let Some(mm) = self.spacing {
            if let Some((image, [x, y])) = stated().find(|&(_, spacing)| !is_square(spacing, mm)) {
                note(format!("--spacing {mm} is taken, though {image} has pixels of {x} x {y} mm"));
            }
            return Spacing::MmPerPixel(mm);
        }
        if let Some(between) = self.spacing_from {
            return between;
        }
        match stated().count() {
            0 => Spacing::Pixels,
            all if all == images.len() => Spacing::Stated,
            some => {
                note(format!("{some} of {} images state a spacing: lengths are in pixels", images.len()));
                Spacing::Pixels
            }
        }
    }
}

fn spacing_from(text: &str) -> Result<Spacing, String> {
    let parsed = text.rsplit_once('=').and_then(|(names, mm)| {
        let (a, b) = names.split_once(',')?;
        Some(Spacing::Between { a: a.into(), b: b.into(), mm: mm.parse().ok()? })
    });
    parsed.ok_or_else(|| "expected two landmarks and millimetres, such as ruler_top,ruler_end=100".into())
}

pub fn run(args: Args) -> Result<u8> {
    keep_inputs(&args.json, [&args.pred, &args.truth])?;
    let (pred, truth) = read_both(&args.pred, &args.truth, args.length.spacing)?;
    let options = Options {
        spacing: args.length.spacing(&pred, &truth, super::note),
        thresholds: args.thresholds,
        skip: args.skip,
        allow_missing: args.allow_missing,
        pred_path: args.pred,
        truth_path: args.truth,
        ..Options::default()
    };
    // Over nothing in common the table would be all missed points.
    let images =
        |labels: &Labels| labels.rows.iter().take(3).map(|row| row.image.as_str()).collect::<Vec<_>>().join(", ");
    if !truth.rows.iter().any(|row| pred.row(&row.image).is_some()) {
        let cause = format!(
            "has none of the truth's images: it begins with {}, the truth with {}",
            images(&pred),
            images(&truth)
        );
        return Err(Error::input(&options.pred_path, cause));
    }
    if !truth.names.iter().any(|name| pred.names.contains(name)) {
        let cause = format!(
            "has none of the truth's landmarks: it has {}, the truth {}",
            pred.names.join(", "),
            truth.names.join(", ")
        );
        return Err(Error::input(&options.pred_path, cause));
    }
    let evaluation = evaluate(&pred, &truth, &options)?;
    if let Some(path) = &args.json {
        write_atomic(path, evaluation.json().as_bytes())?;
    }
    super::print(evaluation.to_table())?;
    Ok(0)
}

/// The labels of both files, whatever their formats. A file that holds no image sizes is read with those of the other.
fn read_both(pred: &Path, truth: &Path, spacing: Option<f64>) -> Result<(Labels, Labels)> {
    let (pred_file, truth_file) = (LabelFile::open(pred, None)?, LabelFile::open(truth, None)?);
    let read = |file: &LabelFile, path: &Path, images: &Images, of: &Path| {
        let found = file.read(images, spacing)?;
        let assumed = (!file.format().holds.sizes).then(|| format!("image sizes are those of {}", of.display()));
        found.notes.iter().chain(&assumed).for_each(|note| super::note(format!("{}: {note}", path.display())));
        Ok::<_, Error>(found)
    };
    if !pred_file.format().holds.sizes || !pred_file.format().landmarks.is_empty() {
        let truth_labels = read(&truth_file, truth, &Images::default(), pred)?.labels;
        return Ok((read(&pred_file, pred, &Images::of_labels(&truth_labels), truth)?.labels, truth_labels));
    }
    let pred_labels = read(&pred_file, pred, &Images::default(), truth)?.labels;
    let found = read(&truth_file, truth, &Images::of_labels(&pred_labels), pred)?;
    match found.unknown_images {
        0 => Ok((pred_labels, found.labels)),
        n => {
            let truth = truth.display();
            let cause = format!(
                "no rows for {n} of the images in {truth}, whose format holds no image sizes; to count them as missed \
                 (--allow-missing), `onemark convert {truth} truth.csv --images FOLDER` first"
            );
            Err(Error::input(pred, cause))
        }
    }
}
