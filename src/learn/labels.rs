//! Pseudo-labels: where each landmark is believed to be in each unlabeled image, how much that is trusted, and the gates
//! that every update passes.

use super::augment::Point;
use super::crops::Sight;
use super::dataset::Dataset;
use super::shape::distance;
use super::shape_model::ShapeModel;
use super::updates::Gates;
use serde::{Deserialize, Serialize};

/// One landmark's pseudo-labels over the images of a data set, in pixels of the local resolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PseudoLabels {
    /// Position in each image. The template's is its annotation and never changes.
    pub points: Vec<Point>,
    /// Weight in the loss, in [0, 1].
    pub weights: Vec<f64>,
    /// How far the arrangement of all landmarks bears each out, in [0, 1]: its share in the weight, whatever updates say.
    pub trust: Vec<f64>,
    /// Where all matched landmarks together put this one, where that is known: the shape gate compares with it.
    pub expected: Vec<Option<Point>>,
}

/// Whether a length is at most a limit; one that is not a number is not.
fn within(length: f64, limit: f64) -> bool {
    length <= limit
}

/// What became of one landmark's labels in one update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateLog {
    /// Training step.
    pub step: usize,
    /// Landmark.
    pub landmark: usize,
    /// Labels moved.
    pub accepted: usize,
    /// Labels kept because the views disagreed.
    pub refused_spread: usize,
    /// Labels kept because the arrangement contradicts.
    pub refused_shape: usize,
    /// Labels kept because the step was too long.
    pub refused_step: usize,
    /// Mean distance between the views, pixels.
    pub spread: f64,
    /// Mean length of accepted steps, before blending, pixels.
    pub moved: f64,
}

impl PseudoLabels {
    /// The same labels in another data set's stored pixels.
    pub fn to_dataset(&self, from: &Dataset, to: &Dataset) -> Self {
        let map = |i: usize, point: Point| to.stored(i, from.original(i, point));
        Self {
            points: self.points.iter().enumerate().map(|(i, &p)| map(i, p)).collect(),
            weights: self.weights.clone(),
            trust: self.trust.clone(),
            expected: self.expected.iter().enumerate().map(|(i, p)| p.map(|p| map(i, p))).collect(),
        }
    }

    /// Updates every label but the template's by what the model sees in two views. `progress` in [0, 1] shrinks the step cap.
    pub fn update(
        &mut self,
        template: usize,
        seen: &[[Sight; 2]],
        gates: &Gates,
        side: f64,
        progress: f64,
    ) -> UpdateLog {
        let cap = side * (gates.step_start + (gates.step_end - gates.step_start) * progress);
        let peak = |pair: &[Sight; 2]| (pair[0].peak + pair[1].peak) / 2.0;
        let mut peaks: Vec<f64> = seen.iter().map(peak).collect();
        peaks.sort_by(f64::total_cmp);
        let median = peaks.get(peaks.len() / 2).copied().unwrap_or(1.0).max(1e-12);
        let mut log = UpdateLog::default();
        for (i, pair) in seen.iter().enumerate() {
            if i == template {
                continue;
            }
            let new = [0, 1].map(|axis| (pair[0].point[axis] + pair[1].point[axis]) / 2.0);
            let (spread, step) = (distance(pair[0].point, pair[1].point), distance(new, self.points[i]));
            log.spread += spread;
            let refused = if !within(spread, gates.spread * side) {
                Some(&mut log.refused_spread)
            } else if self.expected[i].is_some_and(|expected| !within(distance(new, expected), gates.shape * side)) {
                Some(&mut log.refused_shape)
            } else if !within(step, cap) {
                Some(&mut log.refused_step)
            } else {
                None
            };
            match refused {
                Some(count) => {
                    *count += 1;
                    self.weights[i] *= 0.5;
                }
                None => {
                    log.accepted += 1;
                    log.moved += step;
                    let blend = |axis: usize| self.points[i][axis] + gates.blend * (new[axis] - self.points[i][axis]);
                    self.points[i] = [blend(0), blend(1)];
                    self.weights[i] = self.trust[i] * (peak(pair) / median).clamp(0.1, 1.0);
                }
            }
        }
        log.spread /= seen.len().saturating_sub(1).max(1) as f64;
        log.moved /= log.accepted.max(1) as f64;
        log
    }
}

/// Points and weights of all landmarks for each image, the points in pixels of the original image.
fn shapes(labels: &[PseudoLabels], dataset: &Dataset) -> Vec<(Vec<Point>, Vec<f64>)> {
    let image = |i: usize| labels.iter().map(|l| (dataset.original(i, l.points[i]), l.weights[i])).unzip();
    (0..dataset.len()).map(image).collect()
}

/// The shape model of all landmarks' labels; `noise` is a share of the template's longer side.
pub fn learn_shape(labels: &[PseudoLabels], dataset: &Dataset, template: usize, noise: f64) -> ShapeModel {
    let (points, weights): (Vec<_>, Vec<_>) = shapes(labels, dataset).into_iter().unzip();
    let side = dataset.originals[template].into_iter().max().unwrap_or(1) as f64;
    ShapeModel::learn(&points[template], &points, &weights, noise * side)
}

/// Moves labels (but the template's) to where the model settles them, and trusts them as far as it does.
pub fn settle(labels: &mut [PseudoLabels], dataset: &Dataset, template: usize, model: &ShapeModel) {
    for (i, (points, weights)) in shapes(labels, dataset).into_iter().enumerate() {
        if i == template {
            continue;
        }
        let settled = model.settle(&points, &weights);
        for (k, labels) in labels.iter_mut().enumerate() {
            labels.points[i] = dataset.stored(i, settled.points[k]);
            labels.expected[i] = Some(dataset.stored(i, settled.expected[k]));
            labels.weights[i] *= settled.trust[k] / labels.trust[i].max(1e-9);
            labels.trust[i] = settled.trust[k];
        }
    }
}
