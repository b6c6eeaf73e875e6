//! Crop models: a U-Net on crops around landmarks, whose heatmap says where in the crop the landmark is.
//!
//! Single models, the fused model and their teacher are this one network with other [`Extents`].

#[cfg(feature = "train")]
mod batch;
#[cfg(feature = "train")]
pub use batch::{Batch, Labelled};

use super::augment::{Augment, Point, View};
use super::dataset::Dataset;
use crate::Result;
use crate::data::point::distance;
use crate::device::Executor;
use crate::kernel::softmax::Target;
use crate::kernel::warp::FIELDS;
use crate::nn::{Extents, UNet, UNetConfig};
use crate::plan::Program;
use crate::tape::{Region, Tape, Var};
use serde::{Deserialize, Serialize};
use std::f64::consts::SQRT_2;

/// The network and its crops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CropConfig {
    /// Side of a crop, pixels of the local resolution.
    pub side: usize,
    /// Channels of each level, finest first.
    pub channels: Vec<usize>,
    /// Standard deviation of the Gaussian target, pixels.
    pub sigma: f64,
    /// Crop centres are drawn up to this far from the label along each axis, as a share of the side.
    pub jitter: f64,
    /// Half the window of the soft-argmax, pixels.
    pub radius: usize,
    /// Augmentation of the crops.
    pub augment: Augment,
}

impl Default for CropConfig {
    fn default() -> Self {
        Self {
            side: 64,
            channels: vec![16, 32, 64],
            sigma: 1.5,
            jitter: 0.3,
            radius: 3,
            augment: Augment { overlay: 0.6, ..Augment::default() },
        }
    }
}

impl CropConfig {
    /// The network: one heatmap at full resolution.
    pub fn unet(&self) -> UNetConfig {
        UNetConfig { channels: self.channels.clone(), heads: vec![(0, 1)] }
    }

    /// Records the model on crops `[k, n, side, side, 1]`; returns the logits, of the same shape.
    pub fn record(&self, tape: &mut Tape, region: Region, extents: Extents, crops: Var) -> Result<Var> {
        let net = UNet::declare(tape, region, &self.unet(), extents);
        Ok(net.forward(tape, crops)?[0])
    }

    /// Records the model and the position that it sees in each crop. Output: a [soft-argmax](Tape::soft_argmax).
    pub fn record_look(&self, tape: &mut Tape, region: Region, extents: Extents, crops: Var) -> Result<()> {
        let logits = self.record(tape, region, extents, crops)?;
        let found = tape.soft_argmax(logits, self.radius)?;
        tape.output(found);
        Ok(())
    }

    /// The program that looks at `batch` crops for each of `landmarks` of stored images of this shape. Input: the table of views.
    pub fn look_program(
        &self,
        images: [usize; 5],
        region: Region,
        extents: Extents,
        landmarks: usize,
        batch: usize,
    ) -> Result<Program> {
        let mut tape = Tape::new();
        let images = tape.buffer(Region::Data, images);
        let table = tape.input("table", [landmarks, batch, 1, 1, FIELDS]);
        let crops = self.crops(&mut tape, images, table)?;
        self.record_look(&mut tape, region, extents, crops)?;
        Ok(Program::new(&tape))
    }

    /// Spread of a heatmap as sharp as its target, pixels of the crop.
    pub fn sharp(&self) -> f64 {
        self.sigma * SQRT_2
    }

    /// Records the crops of a table.
    pub fn crops(&self, tape: &mut Tape, images: Var, table: Var) -> Result<Var> {
        tape.warp_augment(images, table, self.side, self.side)
    }

    /// Records the Gaussian targets around points `[k, n, 1, 1, 2]` of the crops.
    pub fn targets(&self, tape: &mut Tape, points: Var) -> Result<Var> {
        tape.target_maps(points, self.side, self.side, 1.0, Target::Gaussian(self.sigma as f32))
    }

    /// A plain view around a stored point.
    pub fn view(&self, centre: Point) -> View {
        View::similarity(self.side, self.side, centre, 1.0, 0.0)
    }
}

/// Where a crop model sees a landmark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sight {
    /// Position, stored pixels.
    pub point: Point,
    /// Probability of the heatmap's peak.
    pub peak: f64,
    /// Spread of the heatmap, pixels of the crop.
    pub spread: f64,
    /// Root mean square distance of several views' positions from their mean, stored pixels; 0 for one view.
    pub disagreement: f64,
}

/// A crop model that only looks: a program on an executor that holds parameters and images.
pub struct Locator {
    config: CropConfig,
    program: usize,
    landmarks: usize,
    batch: usize,
}

impl Locator {
    /// Loads the program that looks at `batch` images for each of `landmarks` with the parameters in a region.
    pub fn new(
        executor: &mut Executor,
        config: &CropConfig,
        region: Region,
        extents: Extents,
        dataset_shape: [usize; 5],
        landmarks: usize,
        batch: usize,
    ) -> Result<Self> {
        let program = executor.load(config.look_program(dataset_shape, region, extents, landmarks, batch)?)?;
        Ok(Self { config: config.clone(), program, landmarks, batch })
    }

    /// The number of its program.
    pub fn program(&self) -> usize {
        self.program
    }

    /// Looks at views, any number of images: `views[image][landmark]` of data-set image `images[image]`.
    pub fn look(
        &self,
        executor: &mut Executor,
        dataset: &Dataset,
        images: &[usize],
        views: &[Vec<View>],
    ) -> Result<Vec<Vec<Sight>>> {
        let mut sights = vec![Vec::with_capacity(self.landmarks); images.len()];
        for start in (0..images.len()).step_by(self.batch) {
            // The last batch is filled up with the last image.
            let at = |b: usize| (start + b).min(images.len() - 1);
            let mut table = Vec::with_capacity(self.landmarks * self.batch * FIELDS);
            for (k, b) in (0..self.landmarks).flat_map(|k| (0..self.batch).map(move |b| (k, b))) {
                table.extend(dataset.plain(images[at(b)], views[at(b)][k]).encode());
            }
            let found = executor.run(self.program, &[&table])?.swap_remove(0);
            let count = self.batch.min(images.len() - start);
            for (i, f) in found.chunks(4).enumerate() {
                let (k, b) = (i / self.batch, i % self.batch);
                if b < count {
                    let point = views[start + b][k].stored([f64::from(f[0]), f64::from(f[1])]);
                    let sight = Sight { point, peak: f64::from(f[2]), spread: f64::from(f[3]), disagreement: 0.0 };
                    sights[start + b].push(sight);
                }
            }
        }
        Ok(sights)
    }

    /// Looks around given points, plainly.
    pub fn look_at(
        &self,
        executor: &mut Executor,
        dataset: &Dataset,
        images: &[usize],
        points: &[Vec<Point>],
    ) -> Result<Vec<Vec<Sight>>> {
        let views: Vec<Vec<View>> =
            points.iter().map(|points| points.iter().map(|&p| self.config.view(p)).collect()).collect();
        self.look(executor, dataset, images, &views)
    }

    /// Finds landmarks from coarse positions: one pass to centre, then `views` slightly turned and scaled views whose mean
    /// is the position.
    pub fn find(
        &self,
        executor: &mut Executor,
        dataset: &Dataset,
        images: &[usize],
        coarse: &[Vec<Point>],
        views: usize,
    ) -> Result<Vec<Vec<Sight>>> {
        let centred = self.look_at(executor, dataset, images, coarse)?;
        let points: Vec<Vec<Point>> = centred.iter().map(|s| s.iter().map(|s| s.point).collect()).collect();
        let mut passes = Vec::new();
        for (scale, radians, dx, dy) in VIEWS.into_iter().take(views.max(1)) {
            let turned: Vec<Vec<View>> = points
                .iter()
                .map(|points| {
                    let view = |p: &Point| {
                        View::similarity(self.config.side, self.config.side, [p[0] + dx, p[1] + dy], scale, radians)
                    };
                    points.iter().map(view).collect()
                })
                .collect();
            passes.push(self.look(executor, dataset, images, &turned)?);
        }
        let combine = |i: usize, k: usize| {
            let seen: Vec<Sight> = passes.iter().map(|pass| pass[i][k]).collect();
            combine(&seen)
        };
        Ok((0..images.len()).map(|i| (0..self.landmarks).map(|k| combine(i, k)).collect()).collect())
    }
}

/// Views whose positions are averaged: scale, rotation in radians, shift in pixels. The first is plain.
pub const VIEWS: [(f64, f64, f64, f64); 5] = [
    (1.0, 0.0, 0.0, 0.0),
    (1.06, 0.10, 2.5, 1.5),
    (0.95, -0.10, -1.5, 2.5),
    (1.04, -0.06, 1.5, -2.5),
    (0.97, 0.06, -2.5, -1.5),
];

fn combine(seen: &[Sight]) -> Sight {
    let n = seen.len() as f64;
    let mean = [0, 1].map(|axis| seen.iter().map(|s| s.point[axis]).sum::<f64>() / n);
    let square = seen.iter().map(|s| distance(s.point, mean).powi(2)).sum::<f64>() / n;
    let average = |f: fn(&Sight) -> f64| seen.iter().map(f).sum::<f64>() / n;
    Sight { point: mean, peak: average(|s| s.peak), spread: average(|s| s.spread), disagreement: square.sqrt() }
}
