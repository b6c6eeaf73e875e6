//! How far pseudo-labels are from the truth, where the truth of training images is known. Training never reads it.

use super::run_info::RunInfo;
use crate::data::labels::{LabelRow, Labels, Point, scale_point};
use crate::eval::{Options, Spacing, error_grid};
use crate::learn::checkpoint::{RunDir, StageLog};
use crate::learn::dataset::scaled;
use crate::learn::labels::{Positions, PseudoLabels};
use crate::learn::pipeline::{LABELS, log_file, weights_file};
use crate::model::{Kind, Model};
use crate::report::{Curve, Report};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Adds the errors of pseudo-labels along their trajectories, and the trust in the final ones. Stands behind
/// [`add_training`](super::pages::add_training).
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
    let errors = |point: Place| Ok(error_grid(&labels(info, point), &truth, options)?.r);
    // The columns of errors.
    let names: Vec<&String> = truth.names.iter().filter(|name| !options.skip.contains(name)).collect();

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
    for trajectories in &mut report.trajectories {
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == trajectories.stage) else { continue };
        for (step, errors) in along(run, kind, info, &errors)? {
            for (k, trajectory) in trajectories.landmarks.iter_mut().enumerate() {
                let column = names.iter().position(|&name| *name == info.landmarks[k]);
                trajectory.error.extend(column.map(|column| (step, mean(errors.iter().map(|row| &row[column])))));
            }
        }
    }
    let steps = (config.single.rounds.len() * config.single.steps) as f64;
    let course = along(run, Kind::Single, info, &errors)?.into_iter();
    let mut course: Vec<(f64, f64)> = course.map(|(step, errors)| (step, mean(errors.iter().flatten()))).collect();
    // What settled them in the end stands for the last update.
    course.retain(|&(step, _)| step < steps);
    course.push((steps, mean(last_errors.iter().flatten())));
    let mut trust = Vec::new();
    for (row, errors) in truth.rows.iter().zip(&last_errors) {
        let image = info.images.iter().position(|i| i.name == row.image);
        for (name, error) in names.iter().zip(errors) {
            let k = info.landmarks.iter().position(|landmark| landmark == *name);
            trust.extend(image.zip(k).zip(*error).map(|((image, k), error)| (last[k].weights[image], error)));
        }
    }
    let shown = report.pseudo_labels.get_or_insert_default();
    shown.error = vec![Curve { name: "mean".into(), points: course }];
    shown.confidence_error = trust;
    Ok(())
}

/// A run's images with the landmarks at `point(image, landmark)`, in pixels of the originals.
fn labels(info: &RunInfo, point: Place) -> Labels {
    let row = |image: usize| LabelRow {
        image: info.images[image].name.clone(),
        width: info.images[image].width as u32,
        height: info.images[image].height as u32,
        points: (0..info.landmarks.len()).map(|k| Some(point(image, k))).collect(),
        ..LabelRow::default()
    };
    Labels { names: info.landmarks.clone(), rows: (0..info.images.len()).map(row).collect() }
}

/// Where a landmark is in an image, in pixels of the original: `(image, landmark)`.
type Place<'a> = &'a dyn Fn(usize, usize) -> Point;

/// `[image][landmark]`
type Errors = Vec<Vec<Option<f64>>>;

/// The errors of a stage's labels before its first update and after each whose positions are in the log, with the steps done.
fn along(
    run: &RunDir,
    kind: Kind,
    info: &RunInfo,
    errors: &dyn Fn(Place<'_>) -> Result<Errors>,
) -> Result<Vec<(f64, Errors)>> {
    let name = log_file(kind);
    let log: StageLog = run.read_json(&name)?;
    let mut course: BTreeMap<usize, Vec<&Positions>> = BTreeMap::from([(0, log.start.iter().collect())]);
    for update in log.updates.iter().filter(|update| !update.points.is_empty()) {
        course.entry(update.step + 1).or_default().push(&update.points);
    }
    let fits = |points: &Positions| points.len() == info.images.len();
    if !course.values().all(|all| all.len() == info.landmarks.len() && all.iter().all(|points| fits(points))) {
        return Err(Error::input(run.file(&name), "is of other images or landmarks than the run"));
    }
    course.iter().map(|(&step, all)| Ok((step as f64, errors(&|image, k| all[k][image])?))).collect()
}

fn mean<'a>(errors: impl Iterator<Item = &'a Option<f64>>) -> f64 {
    let (n, sum) = errors.flatten().fold((0, 0.0), |(n, sum), error| (n + 1, sum + error));
    sum / f64::from(n)
}
