//! Stage 2, single: "landmarks are distinct". One crop model a landmark, all in lockstep, trained on freshly augmented crops
//! of the template and on crops around pseudo-labels that are updated while training runs.

#[cfg(feature = "train")]
mod training;
#[cfg(feature = "train")]
pub use training::SingleTraining;

use super::optimizer::Optimizer;
use super::updates::Updates;
use serde::{Deserialize, Serialize};

/// Settings of the stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SingleConfig {
    /// Rounds: in each the models are trained from their start, on the labels that the last left, and a pixel of their crops
    /// is so many pixels of the local resolution wide. Coarse models see more of an image and tell what looks alike apart; those
    /// of the last round, 1, detect.
    pub rounds: Vec<f64>,
    /// Training steps of a round.
    pub steps: usize,
    /// Crops a landmark and step.
    pub batch: usize,
    /// How many of them show the template.
    pub template: usize,
    /// Updates of the pseudo-labels; their lengths are shares of a crop's side.
    pub update: Updates,
    /// Optimiser.
    pub optimizer: Optimizer,
}

impl Default for SingleConfig {
    fn default() -> Self {
        Self {
            rounds: vec![1.0; 3],
            steps: 300,
            batch: 16,
            template: 4,
            update: Updates::default(),
            optimizer: Optimizer::default(),
        }
    }
}
