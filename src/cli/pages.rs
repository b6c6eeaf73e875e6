//! Reports put together from what a run left in its folder.

use super::contest::{Contender, Named};
use crate::data::files::write_atomic;
use crate::data::labels::{LabelRow, Labels, scale_point};
use crate::data::point::distance;
use crate::learn::checkpoint::{RunDir, StageLog};
use crate::learn::labels::{Positions, UpdateLog};
use crate::learn::pipeline::{log_file, weights_file};
use crate::model::{Kind, Model};
use crate::report::overlay::{OverlayPoint, overlay, png_bytes};
use crate::report::{Curve, GalleryItem, LossCurves, PseudoLabels, Report, Trajectories, Trajectory};
use crate::{Result, report};
use std::collections::BTreeMap;

/// Longest side of a picture in a report, pixels: pages stay small.
const PICTURE_SIDE: usize = 900;

/// Loss curves and pseudo-label updates of the stages that have finished. `native` is the longest side of the images in
/// pixels, `unit` the length of such a pixel in the report's unit; without one length for all images, lengths are left out.
pub fn add_training(report: &mut Report, run: &RunDir, native: usize, unit: Option<f64>) -> Result<()> {
    let config = Model::read(&run.file(&weights_file(Kind::Match)))?.header.config;
    for kind in Kind::ALL {
        let name = log_file(kind);
        if !run.has(&name) {
            continue;
        }
        let log: StageLog = run.read_json(&name)?;
        let mean = |losses: &Vec<f64>| losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        let points = log.losses.iter().enumerate().map(|(step, losses)| (step as f64, mean(losses))).collect();
        report
            .losses
            .push(LossCurves { stage: kind.name().into(), curves: vec![Curve { name: kind.name().into(), points }] });
        if !log.updates.is_empty() {
            report.trajectories.push(trajectories(kind, &log, unit));
        }
        if kind == Kind::Single && !log.updates.is_empty() {
            report.pseudo_labels = Some(updates(&log, |step| {
                // Lengths are in pixels of what the round sees.
                let round = config.single.rounds.get(step / config.single.steps.max(1)).copied().unwrap_or(1.0);
                Some(unit? * native as f64 / config.local_side as f64 * round)
            }));
        }
    }
    Ok(())
}

/// What a log says of each landmark; `unit` is the length of a pixel of the images, where there is one for all.
fn trajectories(kind: Kind, log: &StageLog, unit: Option<f64>) -> Trajectories {
    let landmark = |(k, start): (usize, &Positions)| {
        let own: Vec<&UpdateLog> = log.updates.iter().filter(|update| update.landmark == k).collect();
        let after = |update: &UpdateLog| update.step as f64 + 1.0;
        let count = |of: fn(&UpdateLog) -> usize| own.iter().map(|u| (after(u), of(u) as f64)).collect();
        let logged = own.iter().filter(|update| !update.points.is_empty());
        let mut course = vec![(0.0, start)];
        course.extend(logged.map(|update| (after(update), &update.points)));
        let end = course[course.len() - 1].1;
        let others = start.len().saturating_sub(1).max(1) as f64; // but the template, which stays
        let far = |points: &Positions| points.iter().zip(end).map(|(&a, &b)| distance(a, b)).sum::<f64>() / others;
        Trajectory {
            accepted: count(|update| update.accepted),
            refused_spread: count(|update| update.refused_spread),
            refused_shape: count(|update| update.refused_shape),
            refused_step: count(|update| update.refused_step),
            distance: course.iter().filter_map(|&(step, points)| Some((step, unit? * far(points)))).collect(),
            error: vec![],
        }
    };
    Trajectories { stage: kind.name().into(), landmarks: log.start.iter().enumerate().map(landmark).collect() }
}

/// What a log says of all landmarks together; `unit` is the length of a pixel of what models see at a step.
fn updates(log: &StageLog, unit: impl Fn(usize) -> Option<f64>) -> PseudoLabels {
    let mut steps: BTreeMap<usize, (f64, f64, f64, f64, f64)> = BTreeMap::new();
    for update in &log.updates {
        let sum = steps.entry(update.step).or_default();
        let refused = update.refused_spread + update.refused_shape + update.refused_step;
        *sum = (
            sum.0 + 1.0,
            sum.1 + update.spread,
            sum.2 + update.moved,
            sum.3 + update.accepted as f64,
            sum.4 + refused as f64,
        );
    }
    let curve =
        |f: fn(&(f64, f64, f64, f64, f64)) -> f64| steps.iter().map(|(&step, sum)| (step as f64, f(sum))).collect();
    let length = |(step, pixels): (f64, f64)| Some((step, unit(step as usize)? * pixels));
    let lengths = |curve: Vec<(f64, f64)>| curve.into_iter().filter_map(length).collect();
    PseudoLabels {
        spread: vec![
            Curve { name: "between views".into(), points: lengths(curve(|s| s.1 / s.0)) },
            Curve { name: "accepted step".into(), points: lengths(curve(|s| s.2 / s.0)) },
        ],
        accepted: curve(|s| s.3),
        refused: curve(|s| s.4),
        ..PseudoLabels::default()
    }
}

/// An overlay of a row of labels on its image, small enough for a page. The truth may have other landmarks, in another order.
pub fn picture(named: &Named, names: &[String], row: &LabelRow, truth: Option<(&[String], &LabelRow)>) -> GalleryItem {
    let long = named.image.width.max(named.image.height);
    let scale = (PICTURE_SIDE as f64 / long as f64).min(1.0);
    let size = |extent: usize| ((extent as f64 * scale).round() as usize).max(1);
    let image = named.image.resize_area(size(named.image.width), size(named.image.height));
    let (from, to) = (row.size(), (image.width as f64, image.height as f64));
    let true_point = |name: &String| {
        let (names, row) = truth?;
        let k = names.iter().position(|other| other == name)?;
        Some(scale_point(row.points[k]?, row.size(), to))
    };
    let point = |k: usize, name: &String| {
        Some(OverlayPoint {
            name: name.clone(),
            xy: scale_point(row.points[k]?, from, to),
            score: row.scores.get(k).copied().flatten(),
            truth: true_point(name),
        })
    };
    let points: Vec<OverlayPoint> = names.iter().enumerate().filter_map(|(k, name)| point(k, name)).collect();
    let caption = match truth {
        Some(_) => format!("{}: detected (rings) and true (crosses)", named.name),
        None => format!("{}: detected", named.name),
    };
    GalleryItem { caption, png: png_bytes(&overlay(&image.pixels, image.width, image.height, &points)) }
}

/// Pictures of a method, from its best image to its worst.
pub fn add_gallery(report: &mut Report, best: &Contender, images: &[Named], truth: &Labels, count: usize) {
    let grid = &best.evaluation.grid;
    let mean = |errors: &[Option<f64>]| {
        let known: Vec<f64> = errors.iter().copied().flatten().collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    };
    let mut order: Vec<(f64, &str)> =
        grid.r.iter().map(|r| mean(r)).zip(grid.images.iter().map(String::as_str)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let count = count.min(order.len());
    for rank in 0..count {
        let (error, name) = order[rank * (order.len() - 1) / count.saturating_sub(1).max(1)];
        let Some(named) = images.iter().find(|named| named.name == name) else { continue };
        let Some(row) = best.detections.row(name) else { continue };
        let known = truth.row(name).map(|row| (&truth.names[..], row));
        let mut item = picture(named, &best.detections.names, row, known);
        item.caption = format!("{}, mean error {error:.2} {} ({})", item.caption, report.unit, best.name);
        report.gallery.push(item);
    }
}

/// Writes `report.html` into a run's folder.
pub fn write(run: &RunDir, report: &Report) -> Result<()> {
    write_atomic(run.file("report.html"), report::html(report).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_each_steps_pixels_or_left_out() {
        let update =
            |step, spread| UpdateLog { step, spread, moved: 2.0 * spread, accepted: 3, ..UpdateLog::default() };
        let log = StageLog { updates: vec![update(4, 1.0), update(4, 3.0), update(9, 1.0)], ..StageLog::default() };
        // Of a first, coarse round of five steps a pixel is twice as long.
        let drawn = updates(&log, |step| Some(if step < 5 { 1.0 } else { 0.5 }));
        let [views, steps] = &drawn.spread[..] else { panic!("{:?}", drawn.spread) };
        assert_eq!((&views.points, &steps.points), (&vec![(4.0, 2.0), (9.0, 0.5)], &vec![(4.0, 4.0), (9.0, 1.0)]));
        let counted = updates(&log, |_| None);
        assert!(counted.spread.iter().all(|curve| curve.points.is_empty()));
        assert_eq!(counted.accepted, [(4.0, 6.0), (9.0, 3.0)]);
    }
}
