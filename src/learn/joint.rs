//! The baseline: one network for all landmarks, whole images in, one heatmap a landmark out, trained on the same first
//! pseudo-labels with the same updates. What joint training costs single landmarks (the seesaw) is measured on it.

#[cfg(feature = "train")]
mod training;
#[cfg(feature = "train")]
pub use training::JointTraining;

use super::augment::{Augment, View};
use super::crops::Sight;
use super::dataset::Dataset;
use super::optimizer::Optimizer;
use super::updates::Updates;
use crate::Result;
use crate::device::Executor;
use crate::kernel::warp::FIELDS;
use crate::nn::{Extents, UNet, UNetConfig};
use crate::plan::Program;
use crate::tape::{Region, Tape, Var};
use serde::{Deserialize, Serialize};
use std::f64::consts::SQRT_2;

/// Settings of the baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
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
