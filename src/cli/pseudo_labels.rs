//! How far pseudo-labels are from the truth, where the truth of training images is known. Training never reads it.

use super::run_info::RunInfo;
use crate::data::labels::{LabelRow, Labels, Point, scale_point};
use crate::eval::{Options, Spacing, error_grid};
use crate::learn::checkpoint::RunDir;
use crate::learn::config::InitialLabels;
use crate::learn::dataset::scaled;
use crate::learn::labels::PseudoLabels;
use crate::learn::pipeline::{LABELS, PROPOSALS, weights_file};
use crate::learn::propose::Proposal;
use crate::model::{Kind, Model};
use crate::report::{Curve, Report};
use crate::{Error, Result};

/// Adds the errors of the first and the final pseudo-labels, and the trust in the final ones.
pub fn add_errors(report: &mut Report, run: &RunDir, info: &RunInfo, truth: &Labels, options: &Options) -> Result<()> {
    let trained = |row: &&LabelRow| row.image != info.template && info.images.iter().any(|i| i.name == row.image);
    // A ruler or a spacing that is missing in an image must not cost the rest of the report.
    let whole = |row: &&LabelRow| row.points.iter().all(Option::is_some);
    let measured = |row: &&LabelRow| !matches!(options.spacing, Spacing::Stated) || row.spacing.is_some();
    let rows: Vec<LabelRow> = truth.rows.iter().filter(trained).filter(whole).filter(measured).cloned().collect();
    if rows.is_empty() || !run.has(LABELS) {
        return Ok(());
    }
    let truth = Labels { names: truth.names.clone(), rows };
    let errors = |point: &dyn Fn(usize, usize) -> Point| Ok(error_grid(&labels(info, point), &truth, options)?.r);

    let config = Model::read(&run.file(&weights_file(Kind::Match)))?.header.config;
    let (images, landmarks) = (info.images.len(), info.landmarks.len());
    let other = |file: &str| Error::input(run.file(file), "is of other images or landmarks than the run");
    let last: Vec<PseudoLabels> = run.read_json(LABELS)?;
    if last.len() != landmarks || last.iter().any(|l| l.points.len() != images || l.weights.len() != images) {
        return Err(other(LABELS));
    }
    let original = |image: usize, k: usize| {
        let size = [info.images[image].width, info.images[image].height];
        let float = |[w, h]: [usize; 2]| (w as f64, h as f64);
        scale_point(last[k].points[image], float(scaled(size, config.local_side)), float(size))
    };
    let last_errors: Vec<Vec<Option<f64>>> = errors(&original)?;
    let mut course = vec![((config.single.rounds.len() * config.single.steps) as f64, mean(&last_errors))];
    if config.initial_labels == InitialLabels::Matched {
        let first: Vec<Vec<Proposal>> = run.read_json(PROPOSALS)?;
        if first.len() != images || first.iter().any(|image| image.len() != landmarks) {
            return Err(other(PROPOSALS));
        }
        course.insert(0, (0.0, mean(&errors(&|image, k| first[image][k].point)?)));
    }
    let mut trust = Vec::new();
    for (row, errors) in truth.rows.iter().zip(&last_errors) {
        let image = info.images.iter().position(|i| i.name == row.image);
        for (name, error) in truth.names.iter().zip(errors) {
            let k = info.landmarks.iter().position(|landmark| landmark == name);
            trust.extend(image.zip(k).zip(*error).map(|((image, k), error)| (last[k].weights[image], error)));
        }
    }
    let shown = report.pseudo_labels.get_or_insert_default();
    shown.error = vec![Curve { name: "mean".into(), points: course }];
    shown.confidence_error = trust;
    Ok(())
}

/// A run's images with the landmarks at `point(image, landmark)`, in pixels of the originals.
fn labels(info: &RunInfo, point: &dyn Fn(usize, usize) -> Point) -> Labels {
    let row = |image: usize| LabelRow {
        image: info.images[image].name.clone(),
        width: info.images[image].width as u32,
        height: info.images[image].height as u32,
        points: (0..info.landmarks.len()).map(|k| Some(point(image, k))).collect(),
        ..LabelRow::default()
    };
    Labels { names: info.landmarks.clone(), rows: (0..info.images.len()).map(row).collect() }
}

fn mean(errors: &[Vec<Option<f64>>]) -> f64 {
    let known = || errors.iter().flatten().flatten();
    known().sum::<f64>() / known().count() as f64
}
