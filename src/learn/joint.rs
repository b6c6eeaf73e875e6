//! The baseline: one network for all landmarks, whole images in, one heatmap a landmark out, trained on the same first
//! pseudo-labels with the same updates. What joint training costs single landmarks (the seesaw) is measured on it.

use super::augment::{Augment, Point, View};
use super::crops::Sight;
use super::dataset::Dataset;
use super::labels::{PseudoLabels, UpdateLog, Updates};
use super::trainer::{Optimizer, Trainer};
use crate::Result;
use crate::device::{Device, Executor};
use crate::kernel::softmax::Target;
use crate::kernel::warp::FIELDS;
use crate::nn::{Extents, UNet, UNetConfig};
use crate::plan::Program;
use crate::random::Stream;
use crate::tape::{Region, Tape, Var};
use serde::{Deserialize, Serialize};
use std::f64::consts::SQRT_2;

/// Settings of the baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JointConfig {
    /// Training steps.
    pub steps: usize,
    /// Images a step; the first shows the template.
    pub batch: usize,
    /// Channels of each level, finest first.
    pub channels: Vec<usize>,
    /// Standard deviation of the Gaussian target, pixels of the global resolution.
    pub sigma: f64,
    /// Half the window of the soft-argmax, pixels.
    pub radius: usize,
    /// Updates of the pseudo-labels; their lengths are shares of a fifth of the image's longer side.
    pub update: Updates,
    /// Parameters kept along the way, for the seesaw plot.
    pub snapshots: usize,
    /// Optimiser.
    pub optimizer: Optimizer,
    /// Augmentation of the images.
    pub augment: Augment,
}

impl Default for JointConfig {
    fn default() -> Self {
        Self {
            steps: 860,
            batch: 8,
            channels: vec![16, 32, 48, 64, 64],
            sigma: 1.5,
            radius: 2,
            update: Updates { every: 60, ..Updates::default() },
            snapshots: 10,
            optimizer: Optimizer::default(),
            augment: Augment { blur: 0.0, ..Augment::default() },
        }
    }
}

impl JointConfig {
    /// The network: one head of a heatmap for each landmark, at full resolution.
    pub fn unet(&self, landmarks: usize) -> UNetConfig {
        UNetConfig { channels: self.channels.clone(), heads: vec![(0, landmarks)] }
    }

    /// The number, from 1, of the snapshot that is taken after a step.
    pub fn snapshot_after(&self, step: usize) -> Option<usize> {
        let taken = |steps: usize| steps * self.snapshots / self.steps;
        (taken(step + 1) > taken(step)).then(|| taken(step + 1))
    }

    /// Records the model on frames, with the parameters in [`Region::Ema`], and the positions that it sees. Output: a
    /// [soft-argmax](Tape::soft_argmax).
    pub fn record_look(&self, tape: &mut Tape, landmarks: usize, frames: Var) -> Result<()> {
        let logits = self.record(tape, Region::Ema, landmarks, frames)?;
        let found = tape.soft_argmax(logits, self.radius)?;
        tape.output(found);
        Ok(())
    }

    /// The program that looks at a batch of frames of stored images of this shape. Input: the table of views.
    pub fn look_program(&self, images: [usize; 5], landmarks: usize, batch: usize) -> Result<Program> {
        let mut tape = Tape::new();
        let [.., h, w, _] = images;
        let images = tape.buffer(Region::Data, images);
        let table = tape.input("table", [1, batch, 1, 1, FIELDS]);
        let frames = tape.warp_augment(images, table, h, w)?;
        self.record_look(&mut tape, landmarks, frames)?;
        Ok(Program::new(&tape))
    }

    /// Spread of a heatmap as sharp as its target, stored pixels.
    pub fn sharp(&self) -> f64 {
        self.sigma * SQRT_2
    }

    fn record(&self, tape: &mut Tape, region: Region, landmarks: usize, images: Var) -> Result<Var> {
        let net = UNet::declare(tape, region, &self.unet(landmarks), Extents::SHARED);
        Ok(net.forward(tape, images)?[0])
    }
}

/// The joint model that only looks.
pub struct JointLocator {
    program: usize,
    batch: usize,
}

impl JointLocator {
    /// Loads the program that looks at `batch` frames with the parameters in [`Region::Ema`].
    pub fn new(
        executor: &mut Executor,
        config: &JointConfig,
        dataset: &Dataset,
        landmarks: usize,
        batch: usize,
    ) -> Result<Self> {
        let program = executor.load(config.look_program(dataset.shape(), landmarks, batch)?)?;
        Ok(Self { program, batch })
    }

    /// The number of its program.
    pub fn program(&self) -> usize {
        self.program
    }

    /// Looks at views of whole images: `[image][landmark]`, stored pixels.
    pub fn look(
        &self,
        executor: &mut Executor,
        dataset: &Dataset,
        images: &[usize],
        views: &[View],
    ) -> Result<Vec<Vec<Sight>>> {
        let mut sights = Vec::new();
        for start in (0..images.len()).step_by(self.batch) {
            let at = |b: usize| (start + b).min(images.len() - 1);
            let table: Vec<f32> =
                (0..self.batch).flat_map(|b| dataset.plain(images[at(b)], views[at(b)]).encode()).collect();
            let found = executor.run(self.program, &[&table])?.swap_remove(0);
            let per_image = found.len() / self.batch;
            for (b, found) in found.chunks(per_image).enumerate().take(images.len() - start) {
                let sight = |f: &[f32]| Sight {
                    point: views[start + b].stored([f64::from(f[0]), f64::from(f[1])]),
                    peak: f64::from(f[2]),
                    spread: f64::from(f[3]),
                    disagreement: 0.0,
                };
                sights.push(found.chunks(4).map(sight).collect());
            }
        }
        Ok(sights)
    }
}

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
        Ok(Self { config, dataset, template, seed, labels, trainer, locator })
    }

    fn view(&self, random: &mut Stream, augment: &Augment, image: usize, reach: f64) -> View {
        let centre = self.dataset.sizes[image].map(|extent| (extent as f64 - 1.0) / 2.0 + random.range(-reach, reach));
        augment.view(random, self.dataset.width, self.dataset.height, centre)
    }

    /// One step; returns each landmark's loss.
    pub fn step(&mut self, step: usize) -> Result<Vec<f64>> {
        let (k, n) = (self.labels.len(), self.config.batch);
        let (mut table, mut points, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..n {
            let mut random = Stream::new(self.seed, &[6, step as u64, index as u64]);
            let image = if index == 0 { self.template } else { random.index(self.dataset.len()) };
            let view = self.view(&mut random, &self.config.augment, image, 0.05 * self.dataset.height as f64);
            table.extend(self.config.augment.row(&mut random, image, self.dataset.sizes[image], view).encode());
            for labels in &self.labels {
                let point: Point = view.inverse(labels.points[image]);
                let (w, h) = (self.dataset.width as f64, self.dataset.height as f64);
                let inside = point[0] > 0.0 && point[1] > 0.0 && point[0] < w - 1.0 && point[1] < h - 1.0;
                points.extend(point.map(|v| v as f32));
                weights.push(if inside { labels.weights[image] as f32 } else { 0.0 });
            }
        }
        for landmark in 0..k {
            let total: f32 = weights.iter().skip(landmark).step_by(k).sum();
            weights.iter_mut().skip(landmark).step_by(k).for_each(|w| *w /= total.max(1e-6));
        }
        let hyper = self.config.optimizer.hyper(step, self.config.steps);
        let report = self.trainer.step(&[&table, &points, &weights], hyper)?;
        let landmark = |l: usize| report.outputs[0].iter().skip(l).step_by(k).map(|&v| f64::from(v)).sum();
        Ok((0..k).map(landmark).collect())
    }

    /// Whether the pseudo-labels are updated after this step.
    pub fn updates_after(&self, step: usize) -> bool {
        self.config.update.due(step, self.config.steps)
    }

    /// Updates the pseudo-labels by what the averaged model sees in two views of each image.
    pub fn update(&mut self, step: usize) -> Result<Vec<UpdateLog>> {
        let images: Vec<usize> = (0..self.dataset.len()).collect();
        let plain: Vec<View> = vec![self.dataset.frame(); images.len()];
        let mild = Augment { scale: 1.1, rotation: 8.0, ..self.config.augment };
        let turned: Vec<View> = images
            .iter()
            .map(|&image| self.view(&mut Stream::new(self.seed, &[7, step as u64, image as u64]), &mild, image, 2.0))
            .collect();
        let plain = self.locator.look(&mut self.trainer.executor, self.dataset, &images, &plain)?;
        let turned = self.locator.look(&mut self.trainer.executor, self.dataset, &images, &turned)?;
        let progress = step as f64 / self.config.steps as f64;
        let side = self.dataset.width.max(self.dataset.height) as f64 / 5.0;
        let mut logs = Vec::new();
        for (k, labels) in self.labels.iter_mut().enumerate() {
            let seen: Vec<_> = plain.iter().zip(&turned).map(|(a, b)| [a[k], b[k]]).collect();
            let log = labels.update(self.template, &seen, &self.config.update.gates, side, progress);
            logs.push(UpdateLog { step, landmark: k, ..log });
        }
        Ok(logs)
    }
}
