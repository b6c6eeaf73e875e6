//! Stage 1, match: pixel embeddings learned without labels, and the template's landmarks matched into every image.
//!
//! A pair is a mildly warped whole image and a strongly warped patch of it. At each of several strides, the features of the
//! patch at random points must find their pixel in the whole image: cross-entropy of the softmax over the whole map of
//! `15 cos` (after CC2D, arXiv 2103.04527, without its distance margin). Matching adds the log-similarities of all strides.

#[cfg(feature = "train")]
mod training;
#[cfg(feature = "train")]
pub use training::MatchTraining;

use super::augment::{Augment, Point};
use super::dataset::Dataset;
use super::optimizer::Optimizer;
use crate::Result;
use crate::device::{Device, Executor};
use crate::kernel::Shape;
use crate::kernel::warp::FIELDS;
use crate::nn::{Extents, UNet, UNetConfig};
use crate::plan::Program;
use crate::tape::{Init, Region, Tape, Var};
use serde::{Deserialize, Serialize};

/// Settings of the stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
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
            steps: 3000,
            batch: 4,
            points: 32,
            channels: vec![16, 32, 48, 64, 64],
            embedding: 32,
            sharpness: 15.0,
            optimizer: Optimizer { lr: 0.004, warmup: 50, ema_decay: 0.98, ..Optimizer::default() },
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

    /// The program that embeds a view, of the size of its frame, of stored images of this shape. Input: the view's table row. The
    /// embeddings stay in [`Region::Maps`], where [`MatchConfig::locate_program`] reads them.
    pub fn look_program(&self, images: [usize; 5]) -> Result<Program> {
        let mut tape = Tape::new();
        let [.., h, w, _] = images;
        let images = tape.buffer(Region::Data, images);
        let table = tape.input("table", [1, 1, 1, 1, FIELDS]);
        let x = tape.warp_augment(images, table, h, w)?;
        self.record_look(&mut tape, x)?;
        Ok(Program::new(&tape))
    }

    /// Records the same for a view `x: [1, 1, h, w, 1]`.
    pub fn record_look(&self, tape: &mut Tape, x: Var) -> Result<()> {
        let Shape { h, w, .. } = tape.shape(x);
        let net = UNet::declare(tape, Region::Ema, &self.unet(), Extents::SHARED);
        let embedded = embed(tape, &net, x)?;
        embedded.into_iter().zip(kept(tape, self, [w, h])).try_for_each(|(map, place)| tape.store(map, place))
    }

    /// The program that seeks `landmarks` in the view that was looked at last, in frames of this width and height. Inputs: a prior
    /// on the finest map's logits, then the landmarks' features at each level, finest first. Output: a
    /// [soft-argmax](Tape::soft_argmax) on the finest map.
    pub fn locate_program(&self, frame: [usize; 2], landmarks: usize) -> Result<Program> {
        let mut tape = Tape::new();
        let maps = kept(&mut tape, self, frame);
        let finest = tape.shape(maps[0]);
        let mut logits = tape.input("prior", [1, 1, finest.h, finest.w, landmarks]);
        for map in maps {
            let query = tape.input("query", [1, 1, 1, landmarks, self.embedding]);
            let cosine = tape.similarity(map, query)?;
            let cosine = tape.scale_shift(cosine, self.sharpness as f32, 0.0)?;
            let cosine = tape.resize(cosine, finest.h, finest.w)?;
            logits = tape.add(logits, cosine)?;
        }
        let found = tape.soft_argmax(logits, 2)?;
        tape.output(found);
        Ok(Program::new(&tape))
    }
}

/// Unit-length embeddings of `x`, finest first.
fn embed(tape: &mut Tape, net: &UNet, x: Var) -> Result<Vec<Var>> {
    let heads = net.forward(tape, x)?;
    heads.into_iter().map(|e| tape.l2_normalize(e)).collect()
}

/// Spread of a match as sharp as one can be, stored pixels.
pub(crate) const SHARP: f64 = 2.0;

/// Logarithm of the prior where no landmark can be.
pub(crate) const OUTSIDE: f32 = -1e4;

fn stride(level: usize) -> f32 {
    (2usize << level) as f32
}

/// What landmarks are told by, of the template or of matches: for each level, `[landmarks, embedding]`.
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

/// Where the embeddings of the view that was looked at last lie, for frames of a data set.
fn kept(tape: &mut Tape, config: &MatchConfig, [w, h]: [usize; 2]) -> Vec<Var> {
    let map = |level: usize| {
        let shape = [1, 1, h >> (level + 1), w >> (level + 1), config.embedding];
        tape.parameter(Region::Maps, &format!("map{level}"), shape, Init::Zeros)
    };
    (0..config.channels.len() - 1).map(map).collect()
}

/// A trained matcher on a device. It [looks](Matcher::look) at one view at a time; what it is asked then is about that view.
pub struct Matcher {
    config: MatchConfig,
    landmarks: usize,
    /// Width and height of the images' frames.
    frame: [usize; 2],
    /// Width and height of the finest map.
    map: [usize; 2],
    executor: Executor,
    look: usize,
    locate: usize,
    /// Loaded when it is first asked for: detection does without.
    features: Option<usize>,
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
        let frame = [dataset.width, dataset.height];
        // The network runs once a view, however often landmarks are sought in it.
        let look = executor.load(config.look_program(dataset.shape())?)?;
        let locate = executor.load(config.locate_program(frame, landmarks)?)?;
        executor.write(Region::Ema, params)?;
        executor.write(Region::Data, &dataset.pixels)?;
        let (config, map) = (config.clone(), frame.map(|extent| extent / 2));
        Ok(Self { config, landmarks, frame, map, executor, look, locate, features: None })
    }

    /// Changes the images for others in the same number and frame.
    pub fn show(&mut self, dataset: &Dataset) -> Result<()> {
        self.executor.write(Region::Data, &dataset.pixels)
    }

    /// The programs that a detection runs: the network, and what locates landmarks in its maps.
    pub fn programs(&self) -> [&Program; 2] {
        [self.look, self.locate].map(|index| self.executor.program(index))
    }

    /// Embeds a view: a table row.
    pub fn look(&mut self, row: &[f32; FIELDS]) -> Result<()> {
        self.executor.run(self.look, &[row]).map(drop)
    }

    /// Features at the view's pixels `points`, one a landmark.
    pub fn features(&mut self, points: &[Point]) -> Result<Features> {
        let program = match self.features {
            Some(program) => program,
            None => {
                let mut tape = Tape::new();
                let points = tape.input("points", [1, 1, 1, self.landmarks, 2]);
                for (level, map) in kept(&mut tape, &self.config, self.frame).into_iter().enumerate() {
                    let features = tape.sample_points(map, points, stride(level))?;
                    let features = tape.l2_normalize(features)?;
                    tape.output(features);
                }
                *self.features.insert(self.executor.load(Program::new(&tape))?)
            }
        };
        let points: Vec<f32> = points.iter().flatten().map(|&v| v as f32).collect();
        Ok(Features(self.executor.run(program, &[&points])?))
    }

    /// Matches features into an image, whose plain view was looked at. With `expected` positions and a tolerance (stored pixels), a
    /// Gaussian prior around them joins the similarities.
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
        let inputs: Vec<&[f32]> =
            std::iter::once(prior.as_slice()).chain(features.0.iter().map(Vec::as_slice)).collect();
        let found = self.executor.run(self.locate, &inputs)?.swap_remove(0);
        let read = |f: &[f32]| Match {
            point: [double(f[0].into()), double(f[1].into())],
            peak: f64::from(f[2]),
            spread: 2.0 * f64::from(f[3]),
        };
        Ok(found.chunks(4).map(read).collect())
    }
}
