//! Detection: a model and an image in, landmarks out.
//!
//! The matcher finds every landmark coarsely in the whole image; a crop model then looks closer, first to centre its crop,
//! then at several slightly turned views whose mean is the answer.
//!
//! ```
//! use onemark::data::gray::GrayImage;
//! use onemark::detect::Detector;
//! use onemark::device::Device;
//!
//! let mut detector = Detector::open("weights/cephalogram.safetensors", &Device::cpu())?;
//! let (width, height) = (320, 400);
//! let pixels: Vec<u8> = (0..width * height).map(|i| (i % 251) as u8).collect(); // from a camera, a file, ...
//! let image = GrayImage::from_u8(width, height, width, &pixels)?;
//! for landmark in detector.detect(&image)? {
//!     let [x, y] = landmark.point;
//!     println!("{} ({x:.1}, {y:.1}) {:.2}", landmark.name, landmark.score);
//! }
//! # Ok::<(), onemark::Error>(())
//! ```

use crate::data::gray::GrayImage;
use crate::data::point::Point;
use crate::device::{Device, Executor};
use crate::learn::augment::View;
use crate::learn::crops::{Locator, Sight};
use crate::learn::dataset::Dataset;
use crate::learn::joint::JointLocator;
use crate::learn::matching::{Match, Matcher, SHARP};
use crate::model::{Kind, Model};
use crate::plan::Program;
use crate::tape::Region;
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// A landmark in an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Landmark {
    /// Its name, as the weights file has it.
    pub name: Arc<str>,
    /// Position in pixels of the image: x to the right and y down, pixel centres at integers. Always inside the image.
    pub point: Point,
    /// The estimated probability that the position is within [`TOLERANCE`] of where the landmark belongs: high where the heatmap
    /// is sharp, all views agree, and so do the other landmarks. It is computed without labels.
    pub score: f64,
}

/// How far a position may be off to be right in the sense of [`Landmark::score`], as a share of the image's longer side.
pub const TOLERANCE: f64 = 0.012;

/// How often the deviation of a point whose heatmap is as sharp as its target fits in the tolerance: twice as often in crops, whose
/// pixels are by default half as wide. Chosen by calibration on a training set (`docs/rejected.md`).
pub(crate) fn sharpest(kind: Kind) -> f64 {
    match kind {
        Kind::Match | Kind::Joint => 1.5,
        Kind::Single | Kind::Fused => 3.0,
    }
}

/// A model on a device.
///
/// A detector may move between threads, and works for one at a time; several detectors work side by side. On the CPU it computes
/// on the threads of the rayon pool that calls it, and the results do not depend on their number.
pub struct Detector {
    model: Model,
    names: Vec<Arc<str>>,
    device: Device,
    matchers: Recent<Matcher>,
    refiners: Recent<Refiner>,
}

/// What was planned for the frame sizes that came last, the latest at the end.
type Recent<T> = Vec<([usize; 2], T)>;

/// Frame sizes whose plans are kept: images of one source have one, and memory must not grow with what else comes.
const SIZES: usize = 4;

/// The plan for a size; made, in the place of the oldest, if there is none.
fn plan<T>(plans: &mut Recent<T>, size: [usize; 2], make: impl FnOnce() -> Result<T>) -> Result<&mut T> {
    let plan = match plans.iter().position(|plan| plan.0 == size) {
        Some(index) => plans.remove(index).1,
        None => {
            plans.drain(..(plans.len() + 1).saturating_sub(SIZES));
            make()?
        }
    };
    plans.push((size, plan));
    Ok(&mut plans.last_mut().expect("just pushed").1)
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
    /// Reads a weights file that `onemark train` wrote.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Input`] if it is not such a file. What the device lacks is told by the first
    /// [`detect`](Self::detect).
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Ok(Self::new(Model::read(path.as_ref())?, device))
    }

    /// Prepares a model; programs are planned when an image of a new size comes.
    pub fn new(model: Model, device: &Device) -> Self {
        let names = model.header.landmarks.iter().map(|name| name.as_str().into()).collect();
        Self { model, names, device: device.clone(), matchers: Vec::new(), refiners: Vec::new() }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Names of the landmarks, in the order of detections.
    pub fn landmarks(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Bytes of the largest arena among the programs of the latest frame sizes.
    pub fn arena_bytes(&self) -> u64 {
        let refiners = self.refiners.iter().map(|(_, refiner)| refiner.program().arena_bytes());
        let matchers = self.matchers.iter().flat_map(|(_, matcher)| matcher.programs()).map(Program::arena_bytes);
        matchers.chain(refiners).max().unwrap_or(0)
    }

    /// Finds all landmarks of the model, in its order.
    ///
    /// The first image of a size takes longer than those that follow: programs are planned and, on a GPU, compiled.
    ///
    /// # Errors
    /// [`Error::Usage`] if the image has no pixels or not as many as its sides say; [`Error::Verification`] if the model's numbers
    /// overflow on it. [`Error::NoDevice`], [`Error::OutOfMemory`] and [`Error::Limits`] if the device cannot do it;
    /// [`Error::DeviceLost`] and [`Error::Timeout`] if it fails: another detector must be opened then.
    pub fn detect(&mut self, image: &GrayImage) -> Result<Vec<Landmark>> {
        image.check()?;
        let config = self.model.header.config.clone();
        let global = Dataset::new([image], config.global_side, config.global_contrast);
        if self.model.header.kind == Kind::Joint {
            let refiner = self.refiner(&global)?;
            let sights = refiner.look(&global, &[], 0)?;
            return self.settle(&sights, &global, config.joint.sharp());
        }

        let matcher = plan(&mut self.matchers, [global.width, global.height], || {
            Matcher::new(&self.device, &config.matching, &self.model.matching, &global, self.names.len())
        })?;
        matcher.show(&global)?;
        let (matches, _) = self.model.template.locate(matcher, &global, 0, &config.propose)?;
        let sight = |m: &Match| Sight { point: m.point, peak: m.peak, spread: m.spread, disagreement: 0.0 };
        let matches: Vec<Sight> = matches.iter().map(sight).collect();
        let coarse = self.settle(&matches, &global, SHARP)?;
        if self.model.header.kind == Kind::Match {
            return Ok(coarse);
        }
        let local = Dataset::new([image], config.local_side, 0.0);
        self.closer(&local, &coarse)
    }

    /// Looks closer, with the crop models, at what was found coarsely in a data set's one image.
    pub(crate) fn closer(&mut self, local: &Dataset, coarse: &[Landmark]) -> Result<Vec<Landmark>> {
        let (views, sharp) = (self.model.header.config.views, self.model.header.config.crop.sharp());
        let coarse: Vec<Point> = coarse.iter().map(|landmark| local.stored(0, landmark.point)).collect();
        let sights = self.refiner(local)?.look(local, &coarse, views)?;
        self.settle(&sights, local, sharp)
    }

    /// Sights in a data set's one image as landmarks, weighed against each other: a point is moved as far as the others contradict
    /// it. `sharp` is the spread of a heatmap as sharp as its target.
    ///
    /// The score is that of a normal distribution whose variance is the geometric mean of what two witnesses say: the heatmap, that a
    /// point is off by a share of the tolerance where it is sharp ([`sharpest`]) and by more in proportion to its blur, and the other
    /// landmarks, of the point as it was seen. Scores of what was found coarsely are not read.
    fn settle(&self, sights: &[Sight], dataset: &Dataset, sharp: f64) -> Result<Vec<Landmark>> {
        let mut points: Vec<Point> = sights.iter().map(|sight| dataset.original(0, sight.point)).collect();
        let sharpness = |sight: &Sight| (sharp / sight.spread.hypot(sight.disagreement).max(1e-9)).min(1.0);
        let weights: Vec<f64> = sights.iter().map(sharpness).collect();
        // How often a deviation fits in the tolerance, squared.
        let sharpest = sharpest(self.model.header.kind);
        let mut squares: Vec<f64> = weights.iter().map(|weight| (sharpest * weight).powi(2)).collect();
        if let Some(shape) = &self.model.shape {
            let settled = shape.settle(&points, &weights);
            points = settled.points;
            // Two landmarks have no arrangement.
            if points.len() > 2 {
                let tolerance = TOLERANCE / self.model.header.config.shape.noise;
                let both = |(weight, deviation): (&f64, f64)| sharpest * weight * tolerance / deviation;
                squares = weights.iter().zip(settled.deviation).map(both).collect();
            }
        }
        let scores = squares.iter().map(|square| -(-square).exp_m1());
        let [width, height] = dataset.originals[0].map(|extent| extent as f64 - 1.0);
        // A crop at the border also shows what lies beyond it; no landmark does.
        let inside = |[x, y]: Point| [x.clamp(0.0, width), y.clamp(0.0, height)];
        let landmark = |((name, point), score): ((&Arc<str>, Point), f64)| {
            if !(point.iter().all(|v| v.is_finite()) && score.is_finite()) {
                return Err(Error::Verification(format!(
                    "landmark {name:?}: the model's numbers overflow on this image"
                )));
            }
            Ok(Landmark { name: name.clone(), point: inside(point), score })
        };
        self.names.iter().zip(points).zip(scores).map(landmark).collect()
    }

    fn refiner(&mut self, dataset: &Dataset) -> Result<&mut Refiner> {
        let header = &self.model.header;
        plan(&mut self.refiners, [dataset.width, dataset.height], || {
            let (mut executor, k) = (self.device.executor()?, header.landmarks.len());
            let locator = if header.kind == Kind::Joint {
                Closer::Whole(JointLocator::new(&mut executor, &header.config.joint, dataset, k, 1)?)
            } else {
                let (crop, shape) = (&header.config.crop, dataset.shape());
                Closer::Crops(Locator::new(&mut executor, crop, Region::Ema, header.extents(), shape, k, 1)?)
            };
            executor.write(Region::Ema, &self.model.net)?;
            Ok(Refiner { executor, locator })
        })
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
            Closer::Whole(locator) => locator.look(&mut self.executor, dataset, &[0], &[View::WHOLE])?,
        };
        Ok(sights.swap_remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Model {
        Model::from_bytes(include_bytes!("../weights/cephalogram.safetensors")).unwrap()
    }

    fn image(width: usize, height: usize) -> GrayImage {
        GrayImage::new(width, height, (0..width * height).map(|i| (i % 97) as f32 / 97.0).collect()).unwrap()
    }

    #[test]
    fn a_detector_moves_between_threads() {
        fn moves<T: Send>() {}
        moves::<Detector>();
    }

    #[test]
    fn an_image_that_is_none_is_refused() {
        let mut detector = Detector::new(shipped(), &Device::cpu());
        for image in [GrayImage::default(), GrayImage { width: 3, height: 2, pixels: vec![0.0; 5] }] {
            assert!(matches!(detector.detect(&image), Err(Error::Usage(_))));
        }
        assert_eq!(detector.detect(&image(1, 1)).unwrap().len(), 19);
    }

    #[test]
    fn numbers_that_overflow_are_an_error() {
        let mut model = shipped();
        let (_, layout) = model.header.layouts();
        let head = layout.parameters.iter().position(|parameter| parameter.name == "head0.weight").unwrap();
        layout.insert(&mut model.net, head, &vec![f32::MAX; layout.parameters[head].shape.len()]);
        let error = Detector::new(model, &Device::cpu()).detect(&image(120, 150)).unwrap_err();
        assert!(matches!(&error, Error::Verification(cause) if cause.contains("overflow")), "{error}");
    }

    #[test]
    fn plans_of_the_latest_sizes_alone_are_kept() {
        let mut plans = Recent::new();
        let made = |plans: &mut Recent<usize>, side: usize| {
            let mut made = false;
            let plan = plan(plans, [side; 2], || {
                made = true;
                Ok(side)
            });
            assert_eq!(*plan.unwrap(), side);
            made
        };
        let sides = [1, 2, 3, 4, 1, 5, 1, 2, 3];
        assert_eq!(sides.map(|side| made(&mut plans, side)), [true, true, true, true, false, true, false, true, true]);
        assert!(plan(&mut plans, [9; 2], || Err(Error::Interrupted)).is_err());
        assert_eq!(plans.iter().map(|plan| plan.1).collect::<Vec<_>>(), [5, 1, 2, 3][1..]);
    }
}
