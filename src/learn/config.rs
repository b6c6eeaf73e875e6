//! The settings of a training run, as the configuration file holds them.

use super::augment::Augment;
use super::crops::{CropConfig, VIEWS};
use super::dataset::{Dataset, best_side};
use super::fuse::FuseConfig;
use super::joint::JointConfig;
use super::matching::MatchConfig;
use super::optimizer::Optimizer;
use super::propose::ProposeConfig;
use super::shape_model::ShapeConfig;
use super::single::SingleConfig;
use super::updates::Gates;
use crate::model::Kind;
use crate::nn::unet::GROUPS;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Where pseudo-labels start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum InitialLabels {
    /// Where stage 1 matches the template's landmarks.
    Matched,
    /// Anywhere in the image.
    Random,
}

/// All settings. Every length is in pixels of a working resolution or a share of one, so that one default serves all anatomies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Seed of everything random.
    pub seed: u64,
    /// Longer side of the images that are matched and that the joint baseline sees, pixels; at most half of the largest image's, and
    /// up to 5 % less where frames are then less padded.
    pub global_side: usize,
    /// Half the side of the surroundings over which local contrasts are taken of the images that are matched and that the joint
    /// baseline sees, as a share of the longer side; 0 for grey values as they are.
    pub global_contrast: f64,
    /// Longer side of the images that crops are cut from, pixels; never more than the largest image has, and up to 5 % less where
    /// frames are then less padded.
    pub local_side: usize,
    /// First pseudo-labels.
    pub initial_labels: InitialLabels,
    /// Views that are averaged for a detection, at most 5.
    pub views: usize,
    /// Memory that the training of single models may plan for, MiB; landmarks beyond it are trained in groups. On a CPU groups
    /// are smaller: they fit its cache.
    pub memory_mib: usize,
    /// Seconds between checkpoints.
    pub checkpoint_seconds: u64,
    /// Stage 1.
    #[serde(rename = "match")]
    pub matching: MatchConfig,
    /// First pseudo-labels from matches; lengths are shares of the image's longer side.
    pub propose: ProposeConfig,
    /// What all landmarks of an image say of each.
    pub shape: ShapeConfig,
    /// The crop models.
    pub crop: CropConfig,
    /// The joint baseline.
    pub joint: JointConfig,
    /// Stage 2.
    pub single: SingleConfig,
    /// Stage 3.
    pub fuse: FuseConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            global_side: 240,
            global_contrast: 0.05,
            local_side: 480,
            initial_labels: InitialLabels::Matched,
            views: 2,
            memory_mib: 8192,
            checkpoint_seconds: 60,
            matching: MatchConfig::default(),
            propose: ProposeConfig::default(),
            shape: ShapeConfig::default(),
            crop: CropConfig::default(),
            joint: JointConfig::default(),
            single: SingleConfig::default(),
            fuse: FuseConfig::default(),
        }
    }
}

impl Config {
    /// With the working resolutions for images of these sizes: no finer than the largest image is, and so that frames are
    /// little padded. A model keeps them: detection works at the scale of training.
    pub fn fit_to(mut self, sizes: &[[usize; 2]]) -> Self {
        let native = sizes.iter().flatten().copied().max().unwrap_or(self.local_side);
        let local = self.local_side.min(native);
        self.local_side = best_side(sizes, local);
        // A side that is a little less than asked for is no less than what is legal.
        self.global_side = best_side(sizes, self.global_side.min((native / 2).max(LEAST_SIDE))).max(LEAST_SIDE);
        self
    }
}

/// Parameters that a stage keeps along the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshots {
    /// Steps of the stage.
    pub steps: usize,
    /// How many.
    pub count: usize,
}

impl Snapshots {
    /// The number, from 1, of the snapshot that is taken after a step.
    pub fn after(&self, step: usize) -> Option<usize> {
        let taken = |steps: usize| steps * self.count / self.steps;
        (taken(step + 1) > taken(step)).then(|| taken(step + 1))
    }

    /// The number of each snapshot, and the steps done by then.
    pub fn all(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.steps).filter_map(move |step| Some((self.after(step)?, step + 1)))
    }
}

impl Config {
    /// What a stage keeps along the way.
    pub fn snapshots(&self, kind: Kind) -> Snapshots {
        let (steps, count) = match kind {
            Kind::Match => (self.matching.steps, 0),
            Kind::Joint => (self.joint.steps, self.joint.snapshots),
            Kind::Single => (self.single.steps, 0),
            Kind::Fused => (self.fuse.steps, self.fuse.snapshots),
        };
        Snapshots { steps, count }
    }
}

/// The first value of a [`Config`] that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its dotted key, such as `single.steps`.
    pub key: String,
    /// What it is and what it must be.
    pub cause: String,
}

impl Config {
    /// Refuses values that no training can use.
    ///
    /// # Errors
    /// [`Error::Input`] that names the key, the value and the values that are possible.
    pub fn validate(&self) -> Result<()> {
        self.faults().map_err(|Fault { key, cause }| Error::input_at("config", key, cause))
    }

    /// As [`Config::validate`], with the key apart.
    pub fn faults(&self) -> Result<(), Fault> {
        let Self { matching, propose, crop, joint, single, fuse, .. } = self;
        whole("seed", self.seed, 0..=i64::MAX as u64)?;
        whole("global_side", self.global_side, LEAST_SIDE..=4096)?;
        real("global_contrast", self.global_contrast, 0.0..=1.0)?;
        whole("local_side", self.local_side, 1..=8192)?;
        whole("views", self.views, 1..=VIEWS.len())?;
        whole("memory_mib", self.memory_mib, 1..=1 << 24)?;

        whole("match.steps", matching.steps, STEPS)?;
        whole("match.batch", matching.batch, BATCH)?;
        whole("match.points", matching.points, BATCH)?;
        channels("match.channels", &matching.channels, 2)?;
        whole("match.embedding", matching.embedding, 1..=1024)?;
        real("match.sharpness", matching.sharpness, 1e-3..=1e3)?;
        optimizer("match", &matching.optimizer)?;
        augment("match", &matching.augment)?;

        whole("propose.views", propose.views, 1..=1000)?;
        real("propose.outlier", propose.outlier, 1e-6..=10.0)?;
        real("propose.prior", propose.prior, 0.0..=10.0)?;
        real("propose.cycle", propose.cycle, 1e-6..=10.0)?;

        real("shape.noise", self.shape.noise, 0.0..=1.0)?;

        whole("crop.side", crop.side, 16..=1024)?;
        channels("crop.channels", &crop.channels, 1)?;
        let multiple = 1 << (crop.channels.len() - 1);
        if crop.side % multiple != 0 {
            let levels = crop.channels.len();
            let cause = format!("{} is not a multiple of {multiple}, as {levels} levels need", crop.side);
            return Err(Fault { key: "crop.side".into(), cause });
        }
        real("crop.sigma", crop.sigma, 0.1..=100.0)?;
        real("crop.jitter", crop.jitter, 0.0..=1.0)?;
        whole("crop.radius", crop.radius, 1..=64)?;
        augment("crop", &crop.augment)?;

        whole("joint.steps", joint.steps, STEPS)?;
        whole("joint.batch", joint.batch, BATCH)?;
        channels("joint.channels", &joint.channels, 1)?;
        real("joint.sigma", joint.sigma, 0.1..=100.0)?;
        whole("joint.radius", joint.radius, 1..=64)?;
        real("joint.update.after", joint.update.after, 0.0..=1.0)?;
        gates("joint", &joint.update.gates)?;
        whole("joint.snapshots", joint.snapshots, 0..=99)?;
        optimizer("joint", &joint.optimizer)?;
        augment("joint", &joint.augment)?;

        single.rounds.iter().try_for_each(|&pixel| real("single.rounds", pixel, 0.1..=10.0))?;
        if single.rounds.len() > 100 || single.rounds.last() != Some(&1.0) {
            let cause = "from 1 to 100 rounds are needed, the last of them 1";
            return Err(Fault { key: "single.rounds".into(), cause: cause.into() });
        }
        whole("single.steps", single.steps, STEPS)?;
        whole("single.batch", single.batch, BATCH)?;
        whole("single.template", single.template, 0..=single.batch)?;
        real("single.update.after", single.update.after, 0.0..=1.0)?;
        gates("single", &single.update.gates)?;
        optimizer("single", &single.optimizer)?;

        whole("fuse.steps", fuse.steps, STEPS)?;
        whole("fuse.batch", fuse.batch, BATCH)?;
        whole("fuse.template", fuse.template, 0..=fuse.batch)?;
        whole("fuse.rank", fuse.rank, 0..=256)?;
        real("fuse.distill", fuse.distill, 0.0..=1.0)?;
        real("fuse.freeze_after", fuse.freeze_after, 0.0..=1.0)?;
        whole("fuse.snapshots", fuse.snapshots, 0..=99)?;
        optimizer("fuse", &fuse.optimizer)
    }
}

// Far beyond what is useful: what keeps a slip of the pen, or a hostile weights file, from exhausting memory.
const STEPS: RangeInclusive<usize> = 1..=10_000_000;
const BATCH: RangeInclusive<usize> = 1..=4096;
/// The least `global_side`, pixels.
const LEAST_SIDE: usize = 32;
const CHANNELS: RangeInclusive<usize> = GROUPS..=1024;
/// Frames can be halved this often.
const LEVELS: usize = Dataset::MULTIPLE.ilog2() as usize + 1;

fn whole<T: PartialOrd + std::fmt::Display>(key: &str, value: T, range: RangeInclusive<T>) -> Result<(), Fault> {
    let cause = || format!("{value} is not between {} and {}", range.start(), range.end());
    if range.contains(&value) { Ok(()) } else { Err(Fault { key: key.into(), cause: cause() }) }
}

/// NaN is in no range.
fn real(key: &str, value: f64, range: RangeInclusive<f64>) -> Result<(), Fault> {
    whole(key, value, range)
}

fn channels(key: &str, channels: &[usize], least: usize) -> Result<(), Fault> {
    let fault = |cause: String| Err(Fault { key: key.into(), cause });
    if !(least..=LEVELS).contains(&channels.len()) {
        return fault(format!("{} levels are not between {least} and {LEVELS}", channels.len()));
    }
    match channels.iter().find(|&c| !CHANNELS.contains(c) || c % GROUPS != 0) {
        Some(c) => fault(format!("{c} is not a multiple of {GROUPS} up to {}", CHANNELS.end())),
        None => Ok(()),
    }
}

fn optimizer(stage: &str, optimizer: &Optimizer) -> Result<(), Fault> {
    let key = |name: &str| format!("{stage}.optimizer.{name}");
    real(&key("lr"), optimizer.lr, 0.0..=10.0)?;
    real(&key("weight_decay"), optimizer.weight_decay, 0.0..=10.0)?;
    real(&key("clip_norm"), optimizer.clip_norm, 1e-6..=1e9)?;
    real(&key("ema_decay"), optimizer.ema_decay, 0.0..=0.999_999)
}

fn augment(stage: &str, augment: &Augment) -> Result<(), Fault> {
    let key = |name: &str| format!("{stage}.augment.{name}");
    real(&key("scale"), augment.scale, 1.0..=10.0)?;
    real(&key("rotation"), augment.rotation, 0.0..=180.0)?;
    real(&key("gamma"), augment.gamma, 0.0..=10.0)?;
    real(&key("contrast"), augment.contrast, 0.0..=10.0)?;
    real(&key("brightness"), augment.brightness, 0.0..=10.0)?;
    real(&key("noise"), augment.noise, 0.0..=10.0)?;
    real(&key("blur"), augment.blur, 0.0..=100.0)?;
    real(&key("overlay"), augment.overlay, 0.0..=1.0)
}

fn gates(stage: &str, gates: &Gates) -> Result<(), Fault> {
    let key = |name: &str| format!("{stage}.update.gates.{name}");
    real(&key("spread"), gates.spread, 0.0..=100.0)?;
    real(&key("shape"), gates.shape, 0.0..=100.0)?;
    real(&key("step_start"), gates.step_start, 0.0..=100.0)?;
    real(&key("step_end"), gates.step_end, 0.0..=100.0)?;
    real(&key("blend"), gates.blend, 0.0..=1.0)?;
    real(&key("anchor"), gates.anchor, 0.0..=1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_fit_images_are_legal() {
        for [w, h] in [[8, 8], [64, 34], [34, 64], [48, 25], [1920, 1000]] {
            for global_side in [32, 240] {
                let config = Config { global_side, ..Config::default() }.fit_to(&[[w, h]]);
                assert_eq!(config.faults(), Ok(()), "{w}x{h}, {global_side}");
            }
        }
    }

    #[test]
    fn faults_name_the_key() {
        assert_eq!(Config::default().faults(), Ok(()));
        let fault = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        let message = fault(|c| c.single.template = 17);
        assert_eq!(message, "config: single.template: 17 is not between 0 and 16");
        assert!(fault(|c| c.crop.side = 66).contains("crop.side: 66 is not a multiple of 4, as 3 levels need"));
        assert!(fault(|c| c.matching.channels = vec![16]).contains("match.channels: 1 levels"));
        assert!(fault(|c| c.single.rounds.clear()).contains("single.rounds: from 1 to 100 rounds are needed"));
        assert!(fault(|c| c.single.rounds.push(2.0)).contains("the last of them 1"));
        assert!(fault(|c| c.crop.channels.clear()).contains("crop.channels: 0 levels"));
        assert!(fault(|c| c.joint.channels[1] = 6).contains("joint.channels: 6 is not a multiple of 4"));
        assert!(fault(|c| c.fuse.optimizer.lr = f64::NAN).contains("fuse.optimizer.lr: NaN is not"));
        assert!(fault(|c| c.matching.augment.scale = 0.5).contains("match.augment.scale"));
    }
}
