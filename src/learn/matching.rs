//! Stage 1, match: pixel embeddings learned without labels, and the template's landmarks matched into every image.
//!
//! A pair is a mildly warped whole image and a strongly warped patch of it. At each of several strides, the features of the
//! patch at random points must find their pixel in the whole image: cross-entropy of the softmax over the whole map of
//! `15 cos` (after CC2D, arXiv 2103.04527, without its distance margin). Matching adds the log-similarities of all strides.

use super::augment::{Augment, Point};
use super::dataset::Dataset;
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

/// Settings of the stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MatchConfig {
    /// Training steps.
    pub steps: usize,
    /// Pairs a step.
    pub batch: usize,
    /// Points a pair.
    pub points: usize,
    /// Channels of each level of the U-Net, finest first; all but the finest have embeddings.
    pub channels: Vec<usize>,
    /// Numbers of an embedding.
    pub embedding: usize,
    /// Factor of the cosine in the softmax.
    pub sharpness: f64,
    /// Optimiser.
    pub optimizer: Optimizer,
    /// Augmentation of the patch.
    pub augment: Augment,
}

impl Default for MatchConfig {
    fn default() -> Self {
        Self {
            steps: 1000,
            batch: 4,
            points: 32,
            channels: vec![16, 32, 48, 64, 64],
            embedding: 32,
            sharpness: 15.0,
            optimizer: Optimizer { warmup: 50, ema_decay: 0.98, ..Optimizer::default() },
            augment: Augment { scale: 1.25, rotation: 20.0, noise: 0.04, blur: 0.0, ..Augment::default() },
        }
    }
}

impl MatchConfig {
    /// The network: a head of embeddings on every level but the finest.
    pub fn unet(&self) -> UNetConfig {
        let heads = (1..self.channels.len()).map(|level| (level, self.embedding)).collect();
        UNetConfig { channels: self.channels.clone(), heads }
    }

    /// The program that searches stored images of this shape, in frames of their size. Inputs: the table row of a view, then those of
    /// [`MatchConfig::record_locate`].
    pub fn locate_program(&self, images: [usize; 5], landmarks: usize) -> Result<Program> {
        let (mut tape, x) = view(images)?;
        self.record_locate(&mut tape, x, landmarks)?;
        Ok(Program::new(&tape))
    }

    /// Records the search for `landmarks` in frames `x: [1, 1, h, w, 1]`. Inputs: a prior on the finest map's logits, then the
    /// landmarks' features at each level, finest first. Output: a [soft-argmax](Tape::soft_argmax) on the finest map.
    pub fn record_locate(&self, tape: &mut Tape, x: Var, landmarks: usize) -> Result<()> {
        let net = UNet::declare(tape, Region::Ema, &self.unet(), Extents::SHARED);
        let maps = embed(tape, &net, x)?;
        let finest = tape.shape(maps[0]);
        let mut logits = tape.input("prior", [1, 1, finest.h, finest.w, landmarks]);
        for &map in &maps {
            let query = tape.input("query", [1, 1, 1, landmarks, self.embedding]);
            let cosine = tape.similarity(map, query)?;
            let cosine = tape.scale_shift(cosine, self.sharpness as f32, 0.0)?;
            let cosine = tape.resize(cosine, finest.h, finest.w)?;
            logits = tape.add(logits, cosine)?;
        }
        let found = tape.soft_argmax(logits, 2)?;
        tape.output(found);
        Ok(())
    }

    fn levels(&self) -> usize {
        self.channels.len() - 1
    }
}

/// Unit-length embeddings of `x`, finest first.
fn embed(tape: &mut Tape, net: &UNet, x: Var) -> Result<Vec<Var>> {
    let heads = net.forward(tape, x)?;
    heads.into_iter().map(|e| tape.l2_normalize(e)).collect()
}

/// A tape with a view, of the size of its frame, of stored images of this shape.
fn view(images: [usize; 5]) -> Result<(Tape, Var)> {
    let mut tape = Tape::new();
    let [.., h, w, _] = images;
    let images = tape.buffer(Region::Data, images);
    let table = tape.input("table", [1, 1, 1, 1, FIELDS]);
    let x = tape.warp_augment(images, table, h, w)?;
    Ok((tape, x))
}

/// Spread of a match as sharp as one can be, stored pixels.
pub(crate) const SHARP: f64 = 2.0;

/// Logarithm of the prior where no landmark can be.
pub(crate) const OUTSIDE: f32 = -1e4;

fn stride(level: usize) -> f32 {
    (2usize << level) as f32
}

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
struct Pairs {
    tables: [Vec<f32>; 2],
    points: [Vec<f32>; 2],
    weights: Vec<f32>,
}

fn pairs(config: &MatchConfig, dataset: &Dataset, seed: u64, step: usize) -> Pairs {
    let mut pairs = Pairs { tables: [vec![], vec![]], points: [vec![], vec![]], weights: vec![] };
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
        let size = dataset.sizes[image];
        pairs.tables[0].extend(mild.row(&mut random, image, size, whole).encode());
        pairs.tables[1].extend(config.augment.row(&mut random, image, size, patch).encode());

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
            pairs.points[0].extend(in_whole.map(|v| v as f32));
            pairs.points[1].extend(in_patch.map(|v| v as f32));
            pairs.weights.push(f32::from(u8::from(seen)) / (config.batch * config.points) as f32);
        }
    }
    pairs
}

/// The stage in training.
pub struct MatchTraining<'a> {
    config: &'a MatchConfig,
    dataset: &'a Dataset,
    seed: u64,
    /// The model and its state.
    pub trainer: Trainer,
}

impl<'a> MatchTraining<'a> {
    /// At the start.
    pub fn new(device: &Device, config: &'a MatchConfig, dataset: &'a Dataset, seed: u64) -> Result<Self> {
        let (tape, loss) = record(config, dataset)?;
        let mut trainer = Trainer::new(device, tape, loss)?;
        trainer.executor.write(Region::Data, &dataset.pixels)?;
        let params = trainer.layout.init(seed, &[]);
        trainer.start(&params)?;
        Ok(Self { config, dataset, seed, trainer })
    }

    /// One step; returns the loss.
    pub fn step(&mut self, step: usize) -> Result<f64> {
        let Pairs { tables: [whole, patch], points: [at_whole, at_patch], weights } =
            pairs(self.config, self.dataset, self.seed, step);
        let hyper = self.config.optimizer.hyper(step, self.config.steps);
        let report = self.trainer.step(&[&whole, &patch, &at_whole, &at_patch, &weights], hyper)?;
        Ok(f64::from(report.outputs[0][0]))
    }
}

/// Template features: for each level, `[landmarks, embedding]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Features(pub Vec<Vec<f32>>);

/// A match of a landmark in an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// Position in stored pixels.
    pub point: Point,
    /// Probability of the peak under the softmax over the whole map.
    pub peak: f64,
    /// Root mean square distance of that softmax from the position, stored pixels.
    pub spread: f64,
}

/// A trained matcher on a device.
pub struct Matcher {
    executor: Executor,
    features: usize,
    locate: usize,
    landmarks: usize,
    map: [usize; 2],
    levels: usize,
    embedding: usize,
}

impl Matcher {
    /// Loads trained parameters for frames of a data set.
    pub fn new(
        device: &Device,
        config: &MatchConfig,
        params: &[f32],
        dataset: &Dataset,
        landmarks: usize,
    ) -> Result<Self> {
        let mut executor = device.executor()?;
        let (mut tape, x) = view(dataset.shape())?;
        let net = UNet::declare(&mut tape, Region::Ema, &config.unet(), Extents::SHARED);
        let maps = embed(&mut tape, &net, x)?;
        let finest = tape.shape(maps[0]);
        let points = tape.input("points", [1, 1, 1, landmarks, 2]);
        for (level, &map) in maps.iter().enumerate() {
            let features = tape.sample_points(map, points, stride(level))?;
            let features = tape.l2_normalize(features)?;
            tape.output(features);
        }
        let features = executor.load(Program::new(&tape))?;

        let locate = executor.load(config.locate_program(dataset.shape(), landmarks)?)?;

        executor.write(Region::Ema, params)?;
        executor.write(Region::Data, &dataset.pixels)?;
        let (levels, embedding) = (config.levels(), config.embedding);
        Ok(Self { executor, features, locate, landmarks, map: [finest.w, finest.h], levels, embedding })
    }

    /// Changes the images for others in the same number and frame.
    pub fn show(&mut self, dataset: &Dataset) -> Result<()> {
        self.executor.write(Region::Data, &dataset.pixels)
    }

    /// The program that locates landmarks in an image.
    pub fn program(&self) -> &Program {
        self.executor.program(self.locate)
    }

    /// Features of a view (a table row) at the view's pixels `points`, one a landmark.
    pub fn features(&mut self, row: &[f32; FIELDS], points: &[Point]) -> Result<Features> {
        let points: Vec<f32> = points.iter().flatten().map(|&v| v as f32).collect();
        Ok(Features(self.executor.run(self.features, &[row, &points])?))
    }

    /// Features of the template, averaged over augmented views.
    pub fn template(&mut self, dataset: &Dataset, image: usize, points: &[Point], views: usize) -> Result<Features> {
        let (w, h) = (dataset.width, dataset.height);
        let mut sums = vec![vec![0.0f32; self.landmarks * self.embedding]; self.levels];
        let augment = Augment { scale: 1.15, rotation: 8.0, noise: 0.0, blur: 0.0, ..Augment::default() };
        for index in 0..views.max(1) {
            let mut random = Stream::new(0, &[2, index as u64]);
            let [iw, ih] = dataset.sizes[image].map(|extent| (extent as f64 - 1.0) / 2.0);
            let (view, row) = if index == 0 {
                (dataset.frame(), dataset.plain(image, dataset.frame()))
            } else {
                let view = augment.view(&mut random, w, h, [iw, ih]);
                (view, augment.row(&mut random, image, dataset.sizes[image], view))
            };
            let seen: Vec<Point> = points.iter().map(|&p| view.inverse(p)).collect();
            let features = self.features(&row.encode(), &seen)?;
            for (sums, features) in sums.iter_mut().zip(&features.0) {
                sums.iter_mut().zip(features).for_each(|(sum, &f)| *sum += f);
            }
        }
        for feature in sums.iter_mut().flat_map(|level| level.chunks_mut(self.embedding)) {
            let norm = feature.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-6);
            feature.iter_mut().for_each(|v| *v /= norm);
        }
        Ok(Features(sums))
    }

    /// Matches features into an image. With `expected` positions and a tolerance (stored pixels), a Gaussian prior around
    /// them joins the similarities.
    pub fn locate(
        &mut self,
        dataset: &Dataset,
        image: usize,
        features: &Features,
        expected: Option<(&[Point], f64)>,
    ) -> Result<Vec<Match>> {
        let [w, h] = self.map;
        let mut prior = vec![0.0f32; w * h * self.landmarks];
        let half = |v: f64| (v + 0.5) / 2.0 - 0.5;
        let double = |v: f64| (v + 0.5) * 2.0 - 0.5;
        if let Some((expected, tolerance)) = expected {
            for (pixel, prior) in prior.chunks_mut(self.landmarks).enumerate() {
                let (x, y) = ((pixel % w) as f64, (pixel / w) as f64);
                for (prior, point) in prior.iter_mut().zip(expected) {
                    let square = (x - half(point[0])).powi(2) + (y - half(point[1])).powi(2);
                    *prior = (-2.0 * square / (tolerance * tolerance)) as f32;
                }
            }
        }
        // What lies beyond the image in its frame is no place for a landmark.
        let [width, height] = dataset.sizes[image].map(|extent| extent as f64);
        for (pixel, prior) in prior.chunks_mut(self.landmarks).enumerate() {
            if double((pixel % w) as f64) > width - 0.5 || double((pixel / w) as f64) > height - 0.5 {
                prior.fill(OUTSIDE);
            }
        }
        let row = dataset.plain(image, dataset.frame()).encode();
        let inputs: Vec<&[f32]> =
            [row.as_slice(), &prior].into_iter().chain(features.0.iter().map(Vec::as_slice)).collect();
        let found = self.executor.run(self.locate, &inputs)?.swap_remove(0);
        let read = |f: &[f32]| Match {
            point: [double(f[0].into()), double(f[1].into())],
            peak: f64::from(f[2]),
            spread: 2.0 * f64::from(f[3]),
        };
        Ok(found.chunks(4).map(read).collect())
    }
}
