//! Detection: a model and an image in, landmarks out.
//!
//! The matcher finds every landmark coarsely in the whole image; a crop model then looks closer, first to centre its crop,
//! then at several slightly turned views whose mean is the answer.

use crate::Result;
use crate::data::gray::GrayImage;
use crate::device::{Device, Executor};
use crate::learn::augment::Point;
use crate::learn::crops::{Locator, Sight};
use crate::learn::dataset::Dataset;
use crate::learn::joint::JointLocator;
use crate::learn::matching::{Match, Matcher, SHARP};
use crate::model::{Kind, Model};
use crate::plan::Program;
use crate::tape::Region;
use std::collections::BTreeMap;

/// A landmark in an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Position in pixels of the image, pixel centres at integers.
    pub point: Point,
    /// Confidence in [0, 1]: 1 where the heatmap is as sharp as its training target, all views agree, and so do the other
    /// landmarks.
    pub score: f64,
}

/// A model on a device.
pub struct Detector {
    model: Model,
    device: Device,
    matchers: BTreeMap<[usize; 2], Matcher>,
    refiners: BTreeMap<[usize; 2], Refiner>,
}

/// What looks closer, for frames of one size.
struct Refiner {
    executor: Executor,
    locator: Closer,
}

enum Closer {
    Crops(Locator),
    Whole(JointLocator),
}

impl Detector {
    /// Prepares a model; programs are planned when an image of a new size comes.
    pub fn new(model: Model, device: &Device) -> Self {
        Self { model, device: device.clone(), matchers: BTreeMap::new(), refiners: BTreeMap::new() }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Bytes of the largest arena among the programs that have run.
    pub fn arena_bytes(&self) -> u64 {
        let refiners = self.refiners.values().map(|r| r.program().arena_bytes());
        self.matchers.values().map(|m| m.program().arena_bytes()).chain(refiners).max().unwrap_or(0)
    }

    /// Finds all landmarks of the model, in its order.
    pub fn detect(&mut self, image: &GrayImage) -> Result<Vec<Detection>> {
        let config = self.model.header.config.clone();
        let global = Dataset::new([image], config.global_side);
        if self.model.header.kind == Kind::Joint {
            let refiner = self.refiner(&global)?;
            let sights = refiner.look(&global, &[], 0)?;
            return Ok(self.settle(&sights, &global, config.joint.sharp()));
        }

        let key = [global.width, global.height];
        if !self.matchers.contains_key(&key) {
            let landmarks = self.model.header.landmarks.len();
            let matcher = Matcher::new(&self.device, &config.matching, &self.model.matching, &global, landmarks)?;
            self.matchers.insert(key, matcher);
        }
        let matcher = self.matchers.get_mut(&key).expect("just inserted");
        matcher.show(&global)?;
        let (matches, _) = self.model.template.locate(matcher, &global, 0, &config.propose)?;
        let sight = |m: &Match| Sight { point: m.point, peak: m.peak, spread: m.spread, disagreement: 0.0 };
        let matches: Vec<Sight> = matches.iter().map(sight).collect();
        let coarse = self.settle(&matches, &global, SHARP);
        if self.model.header.kind == Kind::Match {
            return Ok(coarse);
        }
        let local = Dataset::new([image], config.local_side);
        let coarse: Vec<Point> = coarse.iter().map(|d| local.stored(0, d.point)).collect();
        let refiner = self.refiner(&local)?;
        let sights = refiner.look(&local, &coarse, config.views)?;
        Ok(self.settle(&sights, &local, config.crop.sharp()))
    }

    /// Sights in a data set's one image as detections, weighed against each other: a point is moved, and trusted less, as far as
    /// the others contradict it. `sharp` is the spread of a heatmap as sharp as its target.
    fn settle(&self, sights: &[Sight], dataset: &Dataset, sharp: f64) -> Vec<Detection> {
        let mut points: Vec<Point> = sights.iter().map(|sight| dataset.original(0, sight.point)).collect();
        let score = |sight: &Sight| (sharp / sight.spread.hypot(sight.disagreement).max(1e-9)).min(1.0);
        let mut scores: Vec<f64> = sights.iter().map(score).collect();
        if let Some(shape) = &self.model.shape {
            let settled = shape.settle(&points, &scores);
            points = settled.points;
            scores.iter_mut().zip(settled.trust).for_each(|(score, trust)| *score *= trust);
        }
        let [width, height] = dataset.originals[0].map(|extent| extent as f64 - 1.0);
        // A crop at the border also shows what lies beyond it; no landmark does.
        let inside = |[x, y]: Point| [x.clamp(0.0, width), y.clamp(0.0, height)];
        points.into_iter().zip(scores).map(|(point, score)| Detection { point: inside(point), score }).collect()
    }

    fn refiner(&mut self, dataset: &Dataset) -> Result<&mut Refiner> {
        let key = [dataset.width, dataset.height];
        if !self.refiners.contains_key(&key) {
            let (header, mut executor) = (&self.model.header, self.device.executor()?);
            let k = header.landmarks.len();
            let locator = if header.kind == Kind::Joint {
                Closer::Whole(JointLocator::new(&mut executor, &header.config.joint, dataset, k, 1)?)
            } else {
                let (crop, shape) = (&header.config.crop, dataset.shape());
                Closer::Crops(Locator::new(&mut executor, crop, Region::Ema, header.extents(), shape, k, 1)?)
            };
            executor.write(Region::Ema, &self.model.net)?;
            self.refiners.insert(key, Refiner { executor, locator });
        }
        Ok(self.refiners.get_mut(&key).expect("just inserted"))
    }
}

impl Refiner {
    fn program(&self) -> &Program {
        let index = match &self.locator {
            Closer::Crops(locator) => locator.program(),
            Closer::Whole(locator) => locator.program(),
        };
        self.executor.program(index)
    }

    fn look(&mut self, dataset: &Dataset, coarse: &[Point], views: usize) -> Result<Vec<Sight>> {
        self.executor.write(Region::Data, &dataset.pixels)?;
        let mut sights = match &self.locator {
            Closer::Crops(locator) => locator.find(&mut self.executor, dataset, &[0], &[coarse.to_vec()], views)?,
            Closer::Whole(locator) => locator.look(&mut self.executor, dataset, &[0], &[dataset.frame()])?,
        };
        Ok(sights.swap_remove(0))
    }
}
