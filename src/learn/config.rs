//! The settings of a training run, as the configuration file holds them.

use super::crops::CropConfig;
use super::fuse::FuseConfig;
use super::joint::JointConfig;
use super::matching::MatchConfig;
use super::propose::ProposeConfig;
use super::single::SingleConfig;
use serde::{Deserialize, Serialize};

/// Where pseudo-labels start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitialLabels {
    /// Where stage 1 matches the template's landmarks.
    Matched,
    /// Anywhere in the image.
    Random,
}

/// All settings. Every length is in pixels of a working resolution or a share of one, so that one default serves all anatomies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Seed of everything random.
    pub seed: u64,
    /// Longer side of the images that are matched and that the joint baseline sees, pixels.
    pub global_side: usize,
    /// Longer side of the images that crops are cut from, pixels; never more than the images have.
    pub local_side: usize,
    /// First pseudo-labels.
    pub initial_labels: InitialLabels,
    /// Views that are averaged for a detection.
    pub views: usize,
    /// Memory that a training program may plan for, MiB; landmarks beyond it are trained in groups.
    pub memory_mib: usize,
    /// Seconds between checkpoints.
    pub checkpoint_seconds: u64,
    /// Stage 1.
    #[serde(rename = "match")]
    pub matching: MatchConfig,
    /// First pseudo-labels from matches.
    pub propose: ProposeConfig,
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
            local_side: 480,
            initial_labels: InitialLabels::Matched,
            views: 2,
            memory_mib: 8192,
            checkpoint_seconds: 60,
            matching: MatchConfig::default(),
            propose: ProposeConfig::default(),
            crop: CropConfig::default(),
            joint: JointConfig::default(),
            single: SingleConfig::default(),
            fuse: FuseConfig::default(),
        }
    }
}

impl Config {
    /// The working resolutions for images whose longest side has `native` pixels: no finer than the images are.
    pub fn fit_to(mut self, native: usize) -> Self {
        self.local_side = self.local_side.min(native);
        self.global_side = self.global_side.min((self.local_side / 2).max(32));
        self
    }
}
