//! The stage in training.

use super::FuseConfig;
use crate::Result;
use crate::device::Device;
use crate::kernel::adamw::Hyper;
use crate::kernel::warp::FIELDS;
use crate::learn::crops::{Batch, CropConfig, Labelled};
use crate::learn::dataset::Dataset;
use crate::learn::labels::PseudoLabels;
use crate::learn::trainer::Trainer;
use crate::nn::Extents;
use crate::random::Stream;
use crate::tape::{Region, Tape};

/// The fusion model in training.
pub struct FuseTraining<'a> {
    config: &'a FuseConfig,
    crop: &'a CropConfig,
    dataset: &'a Dataset,
    template: usize,
    labels: &'a [PseudoLabels],
    seed: u64,
    /// The model and its state.
    pub trainer: Trainer,
    batch: Batch,
    losses: Vec<f64>,
}

impl<'a> FuseTraining<'a> {
    /// At the start; `singles` are the parameters of all single models.
    #[expect(clippy::too_many_arguments, reason = "the settings of one run, each of another kind")]
    pub fn new(
        device: &Device,
        config: &'a FuseConfig,
        crop: &'a CropConfig,
        dataset: &'a Dataset,
        template: usize,
        labels: &'a [PseudoLabels],
        singles: &[f32],
        seed: u64,
    ) -> Result<Self> {
        let k = labels.len();
        let mut tape = Tape::new();
        let images = tape.buffer(Region::Data, dataset.shape());
        let table = tape.input("table", [k, config.batch, 1, 1, FIELDS]);
        let points = tape.input("points", [k, config.batch, 1, 1, 2]);
        let weights = tape.input("weights", [k, config.batch, 1, 1, 1]);
        let crops = crop.crops(&mut tape, images, table)?;
        let teacher = crop.record(&mut tape, Region::Teacher, Extents::distinct(k), crops)?;
        let student = crop.record(&mut tape, Region::Params, Extents::fused(k, config.rank, config.position), crops)?;
        let heatmap = tape.spatial_softmax(teacher)?;
        let gaussian = crop.targets(&mut tape, points)?;
        let heatmap = tape.scale_shift(heatmap, config.distill as f32, 0.0)?;
        let gaussian = tape.scale_shift(gaussian, 1.0 - config.distill as f32, 0.0)?;
        let targets = tape.add(heatmap, gaussian)?;
        let losses = tape.spatial_cross_entropy(student, targets, weights)?;
        let loss = tape.sum_all(losses)?;
        tape.output(losses);
        let mut trainer = Trainer::new(device, tape, loss)?;
        trainer.executor.write(Region::Data, &dataset.pixels)?;
        trainer.executor.write(Region::Teacher, singles)?;
        let everyone: Vec<usize> = (0..k).collect();
        let params = trainer.layout.init(seed, &everyone);
        trainer.start(&params)?;
        let (batch, losses) = Default::default();
        Ok(Self { config, crop, dataset, template, labels, seed, trainer, batch, losses })
    }

    /// One step; returns each landmark's loss.
    pub fn step(&mut self, step: usize) -> Result<&[f64]> {
        self.batch.clear();
        for (landmark, labels) in self.labels.iter().enumerate() {
            let key = |index: usize| [5, step as u64, landmark as u64, index as u64];
            let samples = (0..self.config.batch).map(|index| {
                let image = if index < self.config.template {
                    self.template
                } else {
                    Stream::new(self.seed, &key(index)).index(self.dataset.len())
                };
                // The teacher's heatmap is worth learning even where its label is doubted.
                let weight = labels.weights[image].max(0.3 * labels.trust[image]);
                Labelled { image, point: labels.points[image], weight }
            });
            let augment = |index: usize| Stream::new(self.seed ^ 0x5eed, &key(index));
            self.batch.add_landmark(self.crop, self.dataset, samples, augment);
        }
        let hyper = self.config.optimizer.hyper(step, self.config.steps);
        let is_frozen = |step| self.config.is_frozen(step, self.labels.len());
        let frozen = is_frozen(step);
        if frozen && step > 0 && !is_frozen(step - 1) {
            self.freeze()?;
        }
        // A shared gradient sums over landmarks: its norm grows with them, and AdamW does not mind.
        let hyper = Hyper { lr_shared: if frozen { 0.0 } else { hyper.lr_shared }, ..hyper }.encode();
        let Batch { table, points, weights } = &self.batch;
        let losses = self.trainer.step(&[table, points, weights, &hyper])?[0].chunks(self.config.batch);
        self.losses.clear();
        self.losses.extend(losses.map(|losses| losses.iter().map(|&l| f64::from(l)).sum::<f64>()));
        Ok(&self.losses)
    }

    /// The shared parameters become their average, as which they are frozen: from here on the averaged model differs in
    /// what is each landmark's own alone.
    fn freeze(&mut self) -> Result<()> {
        let shared = 0..self.trainer.layout.shared_len;
        let mut params = self.trainer.executor.read(Region::Params)?;
        params[shared.clone()].copy_from_slice(&self.trainer.executor.read(Region::Ema)?[shared]);
        self.trainer.executor.write(Region::Params, &params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::gray::GrayImage;
    use crate::learn::single::{SingleConfig, SingleTraining};

    #[test]
    fn what_is_frozen_is_the_average_and_stays() {
        let mut random = Stream::new(5, &[]);
        let mut image = || GrayImage::new(32, 32, (0..1024).map(|_| random.range(0.0, 1.0) as f32).collect()).unwrap();
        let dataset = Dataset::new(&[image(), image()], 32, 0.0);
        let crop = CropConfig { side: 16, channels: vec![4, 8], ..CropConfig::default() };
        let label = |x: f64| PseudoLabels {
            points: vec![[x, 16.0]; 2],
            weights: vec![1.0; 2],
            trust: vec![1.0; 2],
            expected: vec![None; 2],
        };
        let labels = [label(12.0), label(20.0)];
        let device = Device::cpu();
        let single = SingleConfig::default();
        let teacher =
            SingleTraining::new(&device, &single, &crop, &dataset, 0, vec![0, 1], labels.to_vec(), 1).unwrap();
        let teacher = teacher.trainer.executor.read(Region::Ema).unwrap();
        let config =
            FuseConfig { steps: 8, batch: 2, template: 1, rank: 1, freeze_after: 0.5, ..FuseConfig::default() };
        let mut stage = FuseTraining::new(&device, &config, &crop, &dataset, 0, &labels, &teacher, 1).unwrap();
        let mut parameters = |steps: std::ops::Range<usize>| {
            steps.for_each(|step| _ = stage.step(step).unwrap());
            let of = |region| stage.trainer.executor.read(region).unwrap();
            let shared = stage.trainer.layout.shared_len;
            let halves = |all: Vec<f32>| (all[..shared].to_vec(), all[shared..].to_vec());
            (halves(of(Region::Params)), halves(of(Region::Ema)))
        };
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-6 * a.abs().max(1e-3));
        let ((free, _), (average, _)) = parameters(0..4);
        assert!(!near(&free, &average));
        let ((frozen, own), _) = parameters(4..5);
        assert!(near(&frozen, &average), "the average of the step before");
        let ((shared, private), (average, _)) = parameters(5..8);
        assert_eq!(shared, frozen);
        assert!(near(&average, &frozen) && !near(&private, &own));
    }
}
