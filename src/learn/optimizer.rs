//! The optimiser's settings and schedule.

use crate::kernel::adamw::Hyper;
use serde::{Deserialize, Serialize};

/// Optimiser settings of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Optimizer {
    /// Learning rate before warm-up and the cosine that ends a stage: of long stages about the peak.
    pub lr: f64,
    /// Steps of linear warm-up.
    pub warmup: usize,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Gradient norm that each block is clipped to.
    pub clip_norm: f64,
    /// Decay of the parameters' average.
    pub ema_decay: f64,
}

impl Default for Optimizer {
    fn default() -> Self {
        Self { lr: 1e-3, warmup: 30, weight_decay: 1e-4, clip_norm: 5.0, ema_decay: 0.98 }
    }
}

impl Optimizer {
    /// The numbers of step `step` (from 0) of `steps`: a linear warm-up times half a cosine over all steps, which ends at 1 %. Where the
    /// warm-up is much of the stage, the peak is below `lr` (with 30 steps of 60, half of it).
    pub fn hyper(&self, step: usize, steps: usize) -> Hyper {
        let progress = step as f64 / steps.max(1) as f64;
        let warm = ((step + 1) as f64 / self.warmup.max(1) as f64).min(1.0);
        let lr = self.lr * warm * (0.5 * (1.0 + (std::f64::consts::PI * progress).cos()) + 0.01);
        // A young average follows quickly: it must not remember the random start.
        let ema_decay = self.ema_decay.min((step + 1) as f64 / (step + 10) as f64);
        Hyper {
            lr_shared: lr,
            lr_distinct: lr,
            beta1: 0.9,
            beta2: 0.99,
            weight_decay: self.weight_decay,
            clip_norm: self.clip_norm,
            ema_decay,
            step: step as u32 + 1,
        }
    }
}
