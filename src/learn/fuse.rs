//! Stage 3, fuse: "landmarks are alike". One crop model with shared convolutions, and adapters, norms and heads of each
//! landmark's own, distilled from the single models.
//!
//! Shared and private parameters train together; then the shared ones are frozen, at their average, and each landmark's own train
//! on, where by construction no landmark can disturb another.

#[cfg(feature = "train")]
mod training;
#[cfg(feature = "train")]
pub use training::FuseTraining;

use super::optimizer::Optimizer;
pub use crate::nn::unet::Position;
use serde::{Deserialize, Serialize};

/// Settings of the stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct FuseConfig {
    /// Training steps.
    pub steps: usize,
    /// Crops a landmark and step.
    pub batch: usize,
    /// How many of them show the template.
    pub template: usize,
    /// Rank of the adapters.
    pub rank: usize,
    /// Which layers have adapters.
    pub position: Position,
    /// Share of the target that is the single model's heatmap; the rest is the pseudo-label's Gaussian.
    pub distill: f64,
    /// Share of the steps after which the shared parameters are frozen.
    pub freeze_after: f64,
    /// Parameters kept along the way, for the seesaw plot.
    pub snapshots: usize,
    /// Optimiser.
    pub optimizer: Optimizer,
}

impl FuseConfig {
    /// Whether the shared parameters are frozen at a step. With one landmark nothing is shared: there is no disturbance to guard
    /// against.
    pub fn is_frozen(&self, step: usize, landmarks: usize) -> bool {
        landmarks > 1 && step as f64 >= self.freeze_after * self.steps as f64
    }
}

impl Default for FuseConfig {
    fn default() -> Self {
        Self {
            steps: 400,
            batch: 12,
            template: 2,
            rank: 4,
            position: Position::All,
            distill: 0.7,
            freeze_after: 0.75,
            snapshots: 12,
            optimizer: Optimizer { lr: 2e-3, ..Optimizer::default() },
        }
    }
}
