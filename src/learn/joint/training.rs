//! The baseline in training.

use super::{JointConfig, JointLocator};
use crate::Result;
use crate::device::Device;
use crate::kernel::softmax::Target;
use crate::kernel::warp::FIELDS;
use crate::learn::augment::{Augment, Point, View};
use crate::learn::crops::Batch;
use crate::learn::dataset::Dataset;
use crate::learn::labels::{Positions, PseudoLabels, UpdateLog, is_logged};
use crate::learn::trainer::Trainer;
use crate::random::Stream;
use crate::tape::{Region, Tape};

/// The baseline in training. Its labels are in pixels of the global resolution.
pub struct JointTraining<'a> {
    config: &'a JointConfig,
    dataset: &'a Dataset,
    template: usize,
    seed: u64,
    /// The pseudo-labels.
    pub labels: Vec<PseudoLabels>,
    /// The model and its state.
    pub trainer: Trainer,
    locator: JointLocator,
    batch: Batch,
    losses: Vec<f64>,
}

impl<'a> JointTraining<'a> {
    /// At the start.
    pub fn new(
        device: &Device,
        config: &'a JointConfig,
        dataset: &'a Dataset,
        template: usize,
        labels: Vec<PseudoLabels>,
        seed: u64,
    ) -> Result<Self> {
        let (k, n) = (labels.len(), config.batch);
        let mut tape = Tape::new();
        let images = tape.buffer(Region::Data, dataset.shape());
        let table = tape.input("table", [1, n, 1, 1, FIELDS]);
        let points = tape.input("points", [1, n, 1, k, 2]);
        let weights = tape.input("weights", [1, n, 1, 1, k]);
        let frames = tape.warp_augment(images, table, dataset.height, dataset.width)?;
        let logits = config.record(&mut tape, Region::Params, k, frames)?;
        let target = Target::Gaussian(config.sigma as f32);
        let targets = tape.target_maps(points, dataset.height, dataset.width, 1.0, target)?;
        let losses = tape.spatial_cross_entropy(logits, targets, weights)?;
        let loss = tape.sum_all(losses)?;
        tape.output(losses);
        let mut trainer = Trainer::new(device, tape, loss)?;
        let locator = JointLocator::new(&mut trainer.executor, config, dataset, k, n)?;
        trainer.executor.write(Region::Data, &dataset.pixels)?;
        let params = trainer.layout.init(seed, &[]);
        trainer.start(&params)?;
        let (batch, losses) = Default::default();
        Ok(Self { config, dataset, template, seed, labels, trainer, locator, batch, losses })
    }

    fn view(&self, random: &mut Stream, augment: &Augment, image: usize, reach: f64) -> View {
        let centre = self.dataset.sizes[image].map(|extent| (extent as f64 - 1.0) / 2.0 + random.range(-reach, reach));
        augment.view(random, self.dataset.width, self.dataset.height, centre)
    }

    /// One step; returns each landmark's loss.
    pub fn step(&mut self, step: usize) -> Result<&[f64]> {
        let (k, n) = (self.labels.len(), self.config.batch);
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        for index in 0..n {
            let mut random = Stream::new(self.seed, &[6, step as u64, index as u64]);
            let image = if index == 0 { self.template } else { random.index(self.dataset.len()) };
            let view = self.view(&mut random, &self.config.augment, image, 0.05 * self.dataset.height as f64);
            let size = [self.dataset.width, self.dataset.height];
            let row = self.config.augment.row(&mut random, self.dataset, image, view, size);
            batch.table.extend(row.encode());
            for labels in &self.labels {
                let point: Point = view.inverse(labels.points[image]);
                let (w, h) = (self.dataset.width as f64, self.dataset.height as f64);
                let inside = point[0] > 0.0 && point[1] > 0.0 && point[0] < w - 1.0 && point[1] < h - 1.0;
                batch.points.extend(point.map(|v| v as f32));
                batch.weights.push(if inside { labels.weights[image] as f32 } else { 0.0 });
            }
        }
        for landmark in 0..k {
            let total: f32 = batch.weights.iter().skip(landmark).step_by(k).sum();
            batch.weights.iter_mut().skip(landmark).step_by(k).for_each(|w| *w /= total.max(1e-6));
        }
        self.batch = batch;
        let hyper = self.config.optimizer.hyper(step, self.config.steps).encode();
        let Batch { table, points, weights } = &self.batch;
        let losses = &self.trainer.step(&[table, points, weights, &hyper])?[0];
        self.losses.clear();
        self.losses.extend((0..k).map(|l| losses.iter().skip(l).step_by(k).map(|&v| f64::from(v)).sum::<f64>()));
        Ok(&self.losses)
    }

    /// Where the pseudo-labels are, by landmark.
    pub fn positions(&self) -> Vec<Positions> {
        self.labels.iter().map(|labels| labels.positions(self.dataset)).collect()
    }

    /// Whether the pseudo-labels are updated after this step.
    pub fn updates_after(&self, step: usize) -> bool {
        self.config.update.due(step, self.config.steps)
    }

    /// Updates the pseudo-labels by what the averaged model sees in two views of each image.
    pub fn update(&mut self, step: usize) -> Result<Vec<UpdateLog>> {
        let images: Vec<usize> = (0..self.dataset.len()).collect();
        let plain: Vec<View> = vec![View::WHOLE; images.len()];
        let mild = Augment { scale: 1.1, rotation: 8.0, ..self.config.augment };
        let turned: Vec<View> = images
            .iter()
            .map(|&image| self.view(&mut Stream::new(self.seed, &[7, step as u64, image as u64]), &mild, image, 2.0))
            .collect();
        let plain = self.locator.look(&mut self.trainer.executor, self.dataset, &images, &plain)?;
        let turned = self.locator.look(&mut self.trainer.executor, self.dataset, &images, &turned)?;
        let progress = step as f64 / self.config.steps as f64;
        let side = self.dataset.width.max(self.dataset.height) as f64 / 5.0;
        let (update, steps) = (&self.config.update, self.config.steps);
        let is_logged = is_logged(update.before(step, steps), update.before(steps, steps), self.dataset.len());
        let mut logs = Vec::new();
        for (k, labels) in self.labels.iter_mut().enumerate() {
            let seen: Vec<_> = plain.iter().zip(&turned).map(|(a, b)| [a[k], b[k]]).collect();
            let log = labels.update(self.template, &seen, &self.config.update.gates, side, progress);
            let points = if is_logged { labels.positions(self.dataset) } else { vec![] };
            logs.push(UpdateLog { step, landmark: k, points, ..log });
        }
        Ok(logs)
    }
}
