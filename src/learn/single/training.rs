//! The stage in training.

use super::SingleConfig;
use crate::Result;
use crate::device::Device;
use crate::kernel::warp::FIELDS;
use crate::learn::augment::View;
use crate::learn::crops::{Batch, CropConfig, Labelled, Locator};
use crate::learn::dataset::Dataset;
use crate::learn::labels::{Positions, PseudoLabels, UpdateLog, is_logged};
use crate::learn::trainer::Trainer;
use crate::nn::Extents;
use crate::plan::Place;
use crate::random::Stream;
use crate::tape::{Region, Tape, Var};

/// Records the loss of `k` landmarks.
fn record(config: &SingleConfig, crop: &CropConfig, dataset: &Dataset, k: usize) -> Result<(Tape, Var)> {
    let mut tape = Tape::new();
    let images = tape.buffer(Region::Data, dataset.shape());
    let table = tape.input("table", [k, config.batch, 1, 1, FIELDS]);
    let points = tape.input("points", [k, config.batch, 1, 1, 2]);
    let weights = tape.input("weights", [k, config.batch, 1, 1, 1]);
    let crops = crop.crops(&mut tape, images, table)?;
    let logits = crop.record(&mut tape, Region::Params, Extents::distinct(k), crops)?;
    let targets = crop.targets(&mut tape, points)?;
    let losses = tape.spatial_cross_entropy(logits, targets, weights)?;
    let loss = tape.sum_all(losses)?;
    tape.output(losses);
    Ok((tape, loss))
}

/// A group of landmarks in training.
pub struct SingleTraining<'a> {
    config: &'a SingleConfig,
    crop: &'a CropConfig,
    dataset: &'a Dataset,
    template: usize,
    seed: u64,
    /// Which landmarks, by their index in the whole set.
    pub landmarks: Vec<usize>,
    /// Their pseudo-labels.
    pub labels: Vec<PseudoLabels>,
    /// The models and their state.
    pub trainer: Trainer,
    locator: Locator,
    batch: Batch,
    losses: Vec<f64>,
}

/// Images that the locator looks at in one run.
const LOOK_BATCH: usize = 10;

impl<'a> SingleTraining<'a> {
    /// At the start.
    #[expect(clippy::too_many_arguments, reason = "the settings of one run, each of another kind")]
    pub fn new(
        device: &Device,
        config: &'a SingleConfig,
        crop: &'a CropConfig,
        dataset: &'a Dataset,
        template: usize,
        landmarks: Vec<usize>,
        labels: Vec<PseudoLabels>,
        seed: u64,
    ) -> Result<Self> {
        let (k, extents) = (landmarks.len(), Extents::distinct(landmarks.len()));
        let (tape, loss) = record(config, crop, dataset, k)?;
        let mut trainer = Trainer::new(device, tape, loss)?;
        let locator = Locator::new(&mut trainer.executor, crop, Region::Ema, extents, dataset.shape(), k, LOOK_BATCH)?;
        trainer.executor.write(Region::Data, &dataset.pixels)?;
        let params = trainer.layout.init(seed, &landmarks);
        trainer.start(&params)?;
        let (batch, losses) = Default::default();
        Ok(Self { config, crop, dataset, template, seed, landmarks, labels, trainer, locator, batch, losses })
    }

    /// Bytes that the training of `k` landmarks at once plans for, and those of its largest tensor; stored images do not count.
    pub fn bytes(config: &SingleConfig, crop: &CropConfig, dataset: &Dataset, k: usize) -> Result<(u64, u64)> {
        let (tape, loss) = record(config, crop, dataset, k)?;
        let program = Trainer::plan(tape, loss)?.0;
        // The images are one buffer whatever the number of landmarks.
        let tensors = program.slots.iter().filter(|slot| slot.place != Place::Region(Region::Data));
        let largest = tensors.map(|slot| slot.operand.shape.len()).max().unwrap_or(1);
        Ok((program.total_bytes() - 4 * dataset.pixels.len() as u64, 4 * largest as u64))
    }

    /// One step; returns each landmark's loss.
    pub fn step(&mut self, step: usize) -> Result<&[f64]> {
        self.batch.clear();
        for (labels, &landmark) in self.labels.iter().zip(&self.landmarks) {
            let key = |index: usize| [3, step as u64, landmark as u64, index as u64];
            let samples = (0..self.config.batch).map(|index| {
                let image = if index < self.config.template {
                    self.template
                } else {
                    Stream::new(self.seed, &key(index)).index(self.dataset.len())
                };
                Labelled { image, point: labels.points[image], weight: labels.weights[image] }
            });
            let augment = |index: usize| Stream::new(self.seed ^ 0x5eed, &key(index));
            self.batch.add_landmark(self.crop, self.dataset, samples, augment);
        }
        let hyper = self.config.optimizer.hyper(step, self.config.steps).encode();
        let Batch { table, points, weights } = &self.batch;
        let losses = self.trainer.step(&[table, points, weights, &hyper])?[0].chunks(self.config.batch);
        self.losses.clear();
        self.losses.extend(losses.map(|losses| losses.iter().map(|&l| f64::from(l)).sum::<f64>()));
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

    /// Updates the pseudo-labels by what the averaged models see in two views of each image.
    pub fn update(&mut self, step: usize) -> Result<Vec<UpdateLog>> {
        let images: Vec<usize> = (0..self.dataset.len()).collect();
        let views = |turned: bool| -> Vec<Vec<View>> {
            let view = |image: usize, labels: &PseudoLabels, landmark: usize| {
                let side = self.crop.side;
                if !turned {
                    return self.crop.view(labels.points[image]);
                }
                let mut random = Stream::new(self.seed, &[4, step as u64, landmark as u64, image as u64]);
                let centre = labels.points[image].map(|v| v + random.range(-4.0, 4.0));
                let scale = random.range(-0.1, 0.1).exp();
                View::similarity(side, side, centre, scale, random.range(-0.17, 0.17))
            };
            let row = |&image: &usize| {
                self.labels
                    .iter()
                    .zip(&self.landmarks)
                    .map(|(labels, &landmark)| view(image, labels, landmark))
                    .collect()
            };
            images.iter().map(row).collect()
        };
        let plain = self.locator.look(&mut self.trainer.executor, self.dataset, &images, &views(false))?;
        let turned = self.locator.look(&mut self.trainer.executor, self.dataset, &images, &views(true))?;
        let progress = step as f64 / self.config.steps as f64;
        let (gates, side) = (&self.config.update.gates, self.crop.side as f64);
        let (update, steps) = (&self.config.update, self.config.steps);
        let labels = self.dataset.len() * self.config.rounds.len();
        let is_logged = is_logged(update.before(step, steps), update.before(steps, steps), labels);
        let mut logs = Vec::new();
        for (k, labels) in self.labels.iter_mut().enumerate() {
            let seen: Vec<_> = plain.iter().zip(&turned).map(|(a, b)| [a[k], b[k]]).collect();
            let log = labels.update(self.template, &seen, gates, side, progress);
            let points = if is_logged { labels.positions(self.dataset) } else { vec![] };
            logs.push(UpdateLog { step, landmark: self.landmarks[k], points, ..log });
        }
        Ok(logs)
    }
}
