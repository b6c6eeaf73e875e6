//! Pseudo-labels: where each landmark is believed to be in each unlabeled image, how much that is trusted, and the gates
//! that every update passes.

use super::augment::Point;
use super::crops::Sight;
use super::dataset::Dataset;
use super::shape_model::ShapeModel;
use super::updates::Gates;
use crate::data::point::distance;
use serde::{Deserialize, Serialize};

/// One landmark's pseudo-labels over the images of a data set, in its stored pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PseudoLabels {
    /// Position in each image. The template's is its annotation and never changes.
    pub points: Vec<Point>,
    /// Weight in the loss, in [0, 1].
    pub weights: Vec<f64>,
    /// How far the arrangement of all landmarks bears each out, in [0, 1]: its share in the weight, whatever updates say.
    pub trust: Vec<f64>,
    /// Where all landmarks together put this one, where that is known: the arrangement of the matches, and from the second round
    /// on the shape model. The shape gate compares with it.
    pub expected: Vec<Option<Point>>,
}

/// Whether a length is at most a limit; one that is not a number is not.
fn within(length: f64, limit: f64) -> bool {
    length <= limit
}

/// The least share of its trust that a label's weight keeps, whatever updates say: what is in an unusual place in a few images must
/// still count in the shape model.
const LEAST_SHARE: f64 = 0.1;
/// How far a step may take a label that is beyond the shape gate still farther, as a share of a crop's side: about as far as views
/// differ.
const SLACK: f64 = 0.06;

/// What became of a label in an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The template's annotation, which never changes.
    Template,
    /// It moved.
    Accepted,
    /// The views disagreed.
    Spread,
    /// It would go far from where the arrangement expects it.
    Shape,
    /// The step was too long.
    Step,
}

impl Outcome {
    /// Its letter in [`UpdateLog::outcomes`].
    pub fn letter(self) -> char {
        match self {
            Self::Template => '-',
            Self::Accepted => 'a',
            Self::Spread => 'v',
            Self::Shape => 's',
            Self::Step => 'l',
        }
    }
}

/// Positions along a landmark's trajectories, as logs hold them: pixels of the original images, to a hundredth.
pub type Positions = Vec<Point>;

/// Positions that a log holds of a landmark, at most: about a megabyte for 19 landmarks.
const MAX_POSITIONS: usize = 3000;

/// What became of one landmark's labels in one update.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateLog {
    /// Training step.
    pub step: usize,
    /// Landmark.
    pub landmark: usize,
    /// Labels moved.
    pub accepted: usize,
    /// Labels kept because the views disagreed.
    pub refused_spread: usize,
    /// Labels kept because the step went far from where the arrangement expects them.
    pub refused_shape: usize,
    /// Labels kept because the step was too long.
    pub refused_step: usize,
    /// Mean distance between the views, stored pixels of the data set.
    pub spread: f64,
    /// Mean length of accepted steps, before blending, likewise.
    pub moved: f64,
    /// What became of the label of each image, a letter an image: `a` accepted, `v` refused since the views disagreed, `s` since the
    /// step went far from where the arrangement expects it, `l` since it was too long, `-` the template.
    pub outcomes: String,
    /// Where the labels are after the update, one an image; empty where the log is thinned.
    pub points: Positions,
}

impl PseudoLabels {
    /// Where they are, for a log.
    pub fn positions(&self, dataset: &Dataset) -> Positions {
        let hundredths = |v: f64| (100.0 * v).round() / 100.0;
        self.points.iter().enumerate().map(|(i, &p)| dataset.original(i, p).map(hundredths)).collect()
    }

    /// Whether they are of so many images, as labels from a file may not be.
    pub fn fits(&self, images: usize) -> bool {
        [self.points.len(), self.weights.len(), self.trust.len(), self.expected.len()] == [images; 4]
    }

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

    /// Updates every label but the template's by what the model sees in two views of each image, less what it misses the template's
    /// annotation by. `progress` in [0, 1] shrinks the step cap.
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
        let middle = |pair: &[Sight; 2]| [0, 1].map(|axis| (pair[0].point[axis] + pair[1].point[axis]) / 2.0);
        // Where labels follow models and models labels, both drift, and the same way in every image. The template's annotation,
        // which does not move, shows some of it.
        let [drift, annotated] = [middle(&seen[template]), self.points[template]];
        let drift = [0, 1].map(|axis| gates.anchor * (drift[axis] - annotated[axis]));
        for (i, pair) in seen.iter().enumerate() {
            if i == template {
                log.outcomes.push(Outcome::Template.letter());
                continue;
            }
            let new = [0, 1].map(|axis| middle(pair)[axis] - drift[axis]);
            let (spread, step) = (distance(pair[0].point, pair[1].point), distance(new, self.points[i]));
            log.spread += spread;
            let (outcome, count) = if !within(spread, gates.spread * side) {
                (Outcome::Spread, &mut log.refused_spread)
            } else if self.goes_far(i, new, gates.shape * side, SLACK * side) {
                (Outcome::Shape, &mut log.refused_shape)
            } else if !within(step, cap) {
                (Outcome::Step, &mut log.refused_step)
            } else {
                (Outcome::Accepted, &mut log.accepted)
            };
            *count += 1;
            log.outcomes.push(outcome.letter());
            if outcome == Outcome::Accepted {
                log.moved += step;
                let blend = |axis: usize| self.points[i][axis] + gates.blend * (new[axis] - self.points[i][axis]);
                self.points[i] = [blend(0), blend(1)];
                self.weights[i] = self.trust[i] * (peak(pair) / median).clamp(LEAST_SHARE, 1.0);
            } else {
                let least = (LEAST_SHARE * self.trust[i]).min(self.weights[i]);
                self.weights[i] = (0.5 * self.weights[i]).max(least);
            }
        }
        log.spread /= seen.len().saturating_sub(1).max(1) as f64;
        log.moved /= log.accepted.max(1) as f64;
        log
    }

    /// Whether a step to `new` takes the label of image `i` beyond `limit` from where the arrangement expects it. One that is beyond
    /// already may stay, give or take the `slack`: to refuse that would bring nothing nearer, and of a jaw that opens the chin is
    /// right where the arrangement does not expect it.
    fn goes_far(&self, i: usize, new: Point, limit: f64, slack: f64) -> bool {
        self.expected[i].is_some_and(|expected| {
            let before = distance(self.points[i], expected);
            !within(distance(new, expected), limit.max(before + slack))
        })
    }
}

/// Whether the log of the `index`th of `count` updates holds where `labels` labels of a landmark are: that of all, but where it
/// would be too much, of evenly many and the last.
pub fn is_logged(index: usize, count: usize, labels: usize) -> bool {
    let every = (count * labels).div_ceil(MAX_POSITIONS).max(1);
    (count - 1 - index).is_multiple_of(every)
}

/// Points and weights of all landmarks for each image, the points in pixels of the original image.
fn shapes(labels: &[PseudoLabels], dataset: &Dataset) -> Vec<(Vec<Point>, Vec<f64>)> {
    let image = |i: usize| labels.iter().map(|l| (dataset.original(i, l.points[i]), l.weights[i])).unzip();
    (0..dataset.len()).map(image).collect()
}

/// The shape model of all landmarks' labels; `noise` is a share of the template's longer side. None without noise.
pub fn learn_shape(labels: &[PseudoLabels], dataset: &Dataset, template: usize, noise: f64) -> Option<ShapeModel> {
    if noise <= 0.0 {
        return None;
    }
    let (points, weights): (Vec<_>, Vec<_>) = shapes(labels, dataset).into_iter().unzip();
    let side = dataset.originals[template].into_iter().max().unwrap_or(1) as f64;
    Some(ShapeModel::learn(&points[template], &points, &weights, noise * side))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::single::SingleConfig;

    fn sight(point: Point) -> Sight {
        Sight { point, peak: 0.5, spread: 1.0, disagreement: 0.0 }
    }

    /// Crops of 100 pixels: views may differ by 6, the arrangement by 50, a step by 25 at the start and by 10 at the end.
    #[test]
    fn every_gate_refuses_what_it_is_for() {
        let gates = Gates { spread: 0.06, shape: 0.5, step_start: 0.25, step_end: 0.1, blend: 0.5, anchor: 1.0 };
        let start: Point = [200.0, 100.0];
        let by =
            |dx: f64, apart: f64| [sight([200.0 + dx, 100.0 - apart / 2.0]), sight([200.0 + dx, 100.0 + apart / 2.0])];
        let (none, accepted, spread, shape, step) = ([0; 4], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]);
        let near = Some([190.0, 100.0]);
        let cases = [
            ("near", 0, by(8.0, 4.0), None, 0.0, accepted),
            ("the template", 1, by(8.0, 4.0), None, 0.0, none),
            ("views apart", 0, by(8.0, 7.0), None, 0.0, spread),
            ("as far as a step may go at first", 0, by(24.0, 0.0), near, 0.0, accepted),
            ("farther", 0, by(26.0, 0.0), near, 0.0, step),
            ("as far as at first, but late", 0, by(24.0, 0.0), near, 1.0, step),
            ("away from the others", 0, by(-8.0, 0.0), Some([241.0, 100.0]), 0.0, accepted),
            ("farther away from them", 0, by(-8.0, 0.0), Some([243.0, 100.0]), 0.0, shape),
            ("far from them, and staying there", 0, by(-4.0, 0.0), Some([290.0, 100.0]), 0.0, accepted),
            ("far from them, and coming nearer", 0, by(9.0, 0.0), Some([290.0, 100.0]), 0.0, accepted),
            ("far from them, and leaving", 0, by(-7.0, 0.0), Some([290.0, 100.0]), 0.0, shape),
            ("not a number", 0, [sight([f64::NAN; 2]); 2], None, 0.0, spread),
        ];
        for (name, image, pair, expected, progress, counts) in cases {
            let mut labels = PseudoLabels {
                points: vec![start; 2],
                weights: vec![1.0; 2],
                trust: vec![0.8; 2],
                expected: vec![expected; 2],
            };
            let mut seen = [by(0.0, 0.0); 2];
            seen[image] = pair;
            // The other image is taken for the template, unless the case is about it.
            let log = labels.update(1, &seen, &gates, 100.0, progress);
            let own = |log: &UpdateLog| [log.accepted, log.refused_spread, log.refused_shape, log.refused_step];
            let letter =
                ["a", "v", "s", "l"].iter().zip(counts).find(|(_, n)| *n > 0).map_or("a", |(letter, _)| letter);
            assert_eq!(log.outcomes, if image == 0 { format!("{letter}-") } else { "a-".into() }, "{name}");
            match image {
                0 => assert_eq!(own(&log), counts, "{name}"),
                _ => assert_eq!((labels.points[1], labels.weights[1]), (start, 1.0), "{name}"),
            }
            let dx = (pair[0].point[0] - 200.0) / 2.0;
            let expected = match counts {
                [1, ..] => ([200.0 + dx, 100.0], 0.8),
                [0, 0, 0, 0] => continue,
                _ => (start, 0.5), // of weight one
            };
            assert_eq!((labels.points[0], labels.weights[0]), expected, "{name}");
        }
    }

    /// The model sees the template's landmark 3 pixels left of and 1 below its annotation, in the mean of its views.
    #[test]
    fn labels_do_not_drift_from_the_annotation() {
        for (anchor, new) in [(1.0, [55.0, 50.0]), (0.5, [53.5, 50.5]), (0.0, [52.0, 51.0])] {
            let gates = Gates { blend: 1.0, anchor, ..Gates::default() };
            let mut labels = PseudoLabels {
                points: vec![[20.0; 2], [50.0; 2]],
                weights: vec![1.0; 2],
                trust: vec![1.0; 2],
                expected: vec![None; 2],
            };
            let seen = [[sight([16.0, 22.0]), sight([18.0, 20.0])], [sight([52.0, 51.0]); 2]];
            labels.update(0, &seen, &gates, 64.0, 0.0);
            assert_eq!(labels.points, [[20.0; 2], new], "{anchor}");
        }
    }

    #[test]
    fn a_gate_that_is_open_opens_no_other() {
        let open = Gates { spread: 100.0, ..Gates::default() };
        let mut labels = PseudoLabels {
            points: vec![[50.0; 2]; 2],
            weights: vec![1.0; 2],
            trust: vec![1.0; 2],
            expected: vec![Some([90.0, 50.0]); 2],
        };
        let seen = [[sight([42.0, 50.0]); 2], [sight([50.0; 2]); 2]];
        assert_eq!(labels.update(1, &seen, &open, 64.0, 0.0).refused_shape, 1);
    }

    #[test]
    fn what_is_refused_again_and_again_keeps_a_say() {
        let mut labels = PseudoLabels {
            points: vec![[50.0; 2]; 2],
            weights: vec![1.0; 2],
            trust: vec![0.8; 2],
            expected: vec![None; 2],
        };
        let apart = [sight([20.0; 2]), sight([80.0; 2])];
        let weights: Vec<f64> = (0..6)
            .map(|_| {
                labels.update(1, &[apart; 2], &Gates::default(), 64.0, 0.0);
                labels.weights[0]
            })
            .collect();
        assert_eq!(weights, [0.5, 0.25, 0.125, LEAST_SHARE * 0.8, LEAST_SHARE * 0.8, LEAST_SHARE * 0.8]);
    }

    #[test]
    fn long_logs_are_thinned_and_end_with_the_last_update() {
        let logged =
            |count: usize, images: usize| (0..count).filter(|&i| is_logged(i, count, images)).collect::<Vec<_>>();
        assert_eq!(logged(14, 150).len(), 14);
        let defaults = SingleConfig::default();
        let updates = defaults.update.before(defaults.steps, defaults.steps);
        let of_150 = logged(updates, 150 * defaults.rounds.len());
        assert_eq!(of_150, [1, 4, 7, 10, 13], "what the defaults have of a round");
        assert_eq!(logged(7, 1000), [0, 3, 6]);
        assert_eq!(logged(5, 1 << 20), [4]);
        assert_eq!(logged(1, 0), [0]);
    }

    #[test]
    fn labels_of_other_images_do_not_fit() {
        let mut labels = PseudoLabels {
            points: vec![[0.0; 2]; 3],
            weights: vec![1.0; 3],
            trust: vec![1.0; 3],
            expected: vec![None; 3],
        };
        assert!(labels.fits(3) && !labels.fits(2));
        labels.trust.pop();
        assert!(!labels.fits(3));
    }
}
