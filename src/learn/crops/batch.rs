//! Batches of augmented crops.

use super::CropConfig;
use crate::learn::augment::Point;
use crate::learn::dataset::Dataset;
use crate::random::Stream;

/// A labelled image that a batch may show.
#[derive(Clone, Copy, Debug)]
pub struct Labelled {
    /// Index in the data set.
    pub image: usize,
    /// The landmark, stored pixels.
    pub point: Point,
    /// Weight in the loss.
    pub weight: f64,
}

/// The inputs of a training step, in order: `[k, n, ..]` for crop models, `[1, n, .., k]` for the joint model.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Rows of the warp table.
    pub table: Vec<f32>,
    /// Landmarks in the crops' or frames' pixels.
    pub points: Vec<f32>,
    /// Weights, of sum one for each landmark; zeros where nothing shows it.
    pub weights: Vec<f32>,
}

impl Batch {
    /// Takes everything out; its memory is kept.
    pub fn clear(&mut self) {
        [&mut self.table, &mut self.points, &mut self.weights].into_iter().for_each(Vec::clear);
    }

    /// Adds one landmark's samples, augmented around their labels.
    pub fn add_landmark(
        &mut self,
        config: &CropConfig,
        dataset: &Dataset,
        samples: impl Iterator<Item = Labelled>,
        random: impl Fn(usize) -> Stream,
    ) {
        let first = self.weights.len();
        for (index, sample) in samples.enumerate() {
            let mut random = random(index);
            let reach = config.jitter * config.side as f64;
            let centre = sample.point.map(|v| v + random.range(-reach, reach));
            let view = config.augment.view(&mut random, config.side, config.side, centre);
            let row = config.augment.row(&mut random, dataset, sample.image, view, [config.side; 2]);
            let point = view.inverse(sample.point);
            let inside = point.iter().all(|&v| v > 1.0 && v < config.side as f64 - 2.0);
            self.table.extend(row.encode());
            self.points.extend(point.map(|v| v as f32));
            self.weights.push(if inside { sample.weight as f32 } else { 0.0 });
        }
        let weights = &mut self.weights[first..];
        let total: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= total.max(1e-6));
    }
}
