//! The stage in training, and what a trained matcher reads off the template.

use super::{Features, MatchConfig, Matcher, embed, stride};
use crate::Result;
use crate::device::Device;
use crate::kernel::softmax::Target;
use crate::kernel::warp::FIELDS;
use crate::learn::augment::{Augment, Point, View};
use crate::learn::dataset::Dataset;
use crate::learn::trainer::Trainer;
use crate::nn::{Extents, UNet};
use crate::random::Stream;
use crate::tape::{Region, Tape, Var};

/// The patch's side for frames of these sizes: two fifths of the longer side.
fn patch_side(dataset: &Dataset) -> usize {
    (dataset.width.max(dataset.height) * 2 / 5).next_multiple_of(Dataset::MULTIPLE)
}

/// Records the loss.
fn record(config: &MatchConfig, dataset: &Dataset) -> Result<(Tape, Var)> {
    let mut tape = Tape::new();
    let (n, p) = (config.batch, config.points);
    let images = tape.buffer(Region::Data, dataset.shape());
    let tables = ["whole", "patch"].map(|name| tape.input(name, [1, n, 1, 1, FIELDS]));
    let points = ["whole_points", "patch_points"].map(|name| tape.input(name, [1, n, 1, p, 2]));
    let weights = tape.input("weights", [1, n, 1, 1, p]);
    let side = patch_side(dataset);
    let whole = tape.warp_augment(images, tables[0], dataset.height, dataset.width)?;
    let patch = tape.warp_augment(images, tables[1], side, side)?;
    let net = UNet::declare(&mut tape, Region::Params, &config.unet(), Extents::SHARED);
    let whole = embed(&mut tape, &net, whole)?;
    let patch = embed(&mut tape, &net, patch)?;
    let mut losses = Vec::new();
    for (level, (&whole, &patch)) in whole.iter().zip(&patch).enumerate() {
        let scale = stride(level);
        let shape = tape.shape(whole);
        let features = tape.sample_points(patch, points[1], scale)?;
        let features = tape.l2_normalize(features)?;
        let cosine = tape.similarity(whole, features)?;
        let logits = tape.scale_shift(cosine, config.sharpness as f32, 0.0)?;
        let targets = tape.target_maps(points[0], shape.h, shape.w, scale, Target::Tent)?;
        let loss = tape.spatial_cross_entropy(logits, targets, weights)?;
        losses.push(tape.sum_all(loss)?);
    }
    let mut total = losses[0];
    for &loss in &losses[1..] {
        total = tape.add(total, loss)?;
    }
    tape.output(total);
    Ok((tape, total))
}

/// The inputs of a step.
#[derive(Default)]
struct Pairs {
    tables: [Vec<f32>; 2],
    points: [Vec<f32>; 2],
    weights: Vec<f32>,
}

impl Pairs {
    /// Draws those of a step in the place of others.
    fn draw(&mut self, config: &MatchConfig, dataset: &Dataset, seed: u64, step: usize) {
        self.tables.iter_mut().chain(&mut self.points).chain([&mut self.weights]).for_each(Vec::clear);
        let side = patch_side(dataset);
        for sample in 0..config.batch {
            let mut random = Stream::new(seed, &[1, step as u64, sample as u64]);
            let image = random.index(dataset.len());
            let [w, h] = dataset.sizes[image].map(|extent| extent as f64);
            let wobble = 0.035 * w.max(h);
            let mut centre = |extent: f64, spread: f64| (extent - 1.0) / 2.0 + random.range(-spread, spread);
            let whole_centre = [centre(w, wobble), centre(h, wobble)];
            let patch_centre = [centre(w, 0.35 * w), centre(h, 0.35 * h)];
            let mild = Augment { scale: 1.1, rotation: 8.0, ..config.augment };
            let whole = mild.view(&mut random, dataset.width, dataset.height, whole_centre);
            let patch = config.augment.view(&mut random, side, side, patch_centre);
            let size = [dataset.width, dataset.height];
            self.tables[0].extend(mild.row(&mut random, dataset, image, whole, size).encode());
            let row = config.augment.row(&mut random, dataset, image, patch, [side; 2]);
            self.tables[1].extend(row.encode());

            // Points of the patch that the image and the whole view both show; a few tries each, then weight 0.
            let inside = |[x, y]: Point, w: f64, h: f64| x > 2.0 && y > 2.0 && x < w - 3.0 && y < h - 3.0;
            for _ in 0..config.points {
                let margin = 6.0f64.min(side as f64 / 8.0);
                let mut draw = || {
                    let far = side as f64 - 1.0 - margin;
                    let in_patch = [random.range(margin, far), random.range(margin, far)];
                    let stored = patch.stored(in_patch);
                    let in_whole = whole.inverse(stored);
                    let seen = inside(stored, w, h) && inside(in_whole, dataset.width as f64, dataset.height as f64);
                    (in_patch, in_whole, seen)
                };
                let (in_patch, in_whole, seen) = (0..8).map(|_| draw()).find(|draw| draw.2).unwrap_or_else(&mut draw);
                self.points[0].extend(in_whole.map(|v| v as f32));
                self.points[1].extend(in_patch.map(|v| v as f32));
                self.weights.push(f32::from(u8::from(seen)) / (config.batch * config.points) as f32);
            }
        }
    }
}

/// The stage in training.
pub struct MatchTraining<'a> {
    config: &'a MatchConfig,
    dataset: &'a Dataset,
    seed: u64,
    /// The model and its state.
    pub trainer: Trainer,
    pairs: Pairs,
}

impl<'a> MatchTraining<'a> {
    /// At the start.
    pub fn new(device: &Device, config: &'a MatchConfig, dataset: &'a Dataset, seed: u64) -> Result<Self> {
        let (tape, loss) = record(config, dataset)?;
        let mut trainer = Trainer::new(device, tape, loss)?;
        trainer.executor.write(Region::Data, &dataset.pixels)?;
        let params = trainer.layout.init(seed, &[]);
        trainer.start(&params)?;
        Ok(Self { config, dataset, seed, trainer, pairs: Pairs::default() })
    }

    /// One step; returns the loss.
    pub fn step(&mut self, step: usize) -> Result<f64> {
        self.pairs.draw(self.config, self.dataset, self.seed, step);
        let hyper = self.config.optimizer.hyper(step, self.config.steps).encode();
        let Pairs { tables: [whole, patch], points: [at_whole, at_patch], weights } = &self.pairs;
        let outputs = self.trainer.step(&[whole, patch, at_whole, at_patch, weights, &hyper])?;
        Ok(f64::from(outputs[0][0]))
    }
}

impl Matcher {
    /// Features of the template, averaged over augmented views; where one cuts a landmark off, the nearest that it shows.
    pub fn template(&mut self, dataset: &Dataset, image: usize, points: &[Point], views: usize) -> Result<Features> {
        let (w, h) = (dataset.width, dataset.height);
        let mut sums = vec![vec![0.0f32; self.landmarks * self.config.embedding]; self.config.unet().heads.len()];
        let augment = Augment { scale: 1.15, rotation: 8.0, noise: 0.0, blur: 0.0, overlay: 0.0, ..Augment::default() };
        for index in 0..views.max(1) {
            let mut random = Stream::new(0, &[2, index as u64]);
            let [iw, ih] = dataset.sizes[image].map(|extent| (extent as f64 - 1.0) / 2.0);
            let (view, row) = if index == 0 {
                (View::WHOLE, dataset.plain(image, View::WHOLE))
            } else {
                let view = augment.view(&mut random, w, h, [iw, ih]);
                (view, augment.row(&mut random, dataset, image, view, [w, h]))
            };
            let seen: Vec<Point> = points.iter().map(|&p| view.inverse(p)).collect();
            self.look(&row.encode())?;
            let features = self.features(&seen)?;
            for (sums, features) in sums.iter_mut().zip(&features.0) {
                sums.iter_mut().zip(features).for_each(|(sum, &f)| *sum += f);
            }
        }
        for feature in sums.iter_mut().flat_map(|level| level.chunks_mut(self.config.embedding)) {
            let norm = feature.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-6);
            feature.iter_mut().for_each(|v| *v /= norm);
        }
        Ok(Features(sums))
    }
}
