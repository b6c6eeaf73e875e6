//! Settings of the pseudo-labels' updates.

use serde::{Deserialize, Serialize};

/// Gates of an update. Lengths are shares of a crop's side, so that they hold for any anatomy and resolution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// Largest spread between the two views of an update.
    pub spread: f64,
    /// Largest distance from where the arrangement of all landmarks expects this one.
    pub shape: f64,
    /// Largest step at the start of training; shrinks linearly with the steps to `step_end`.
    pub step_start: f64,
    /// Largest step at the end of training.
    pub step_end: f64,
    /// How far a label moves towards the new position.
    pub blend: f64,
}

impl Default for Gates {
    fn default() -> Self {
        Self { spread: 0.06, shape: 0.5, step_start: 0.25, step_end: 0.1, blend: 0.5 }
    }
}

/// When pseudo-labels are updated, and through which gates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Updates {
    /// Steps between updates; 0 freezes the labels.
    pub every: usize,
    /// Share of the steps before the first.
    pub after: f64,
    /// What a new position must pass.
    pub gates: Gates,
}

impl Default for Updates {
    fn default() -> Self {
        Self { every: 15, after: 0.33, gates: Gates::default() }
    }
}

impl Updates {
    /// Whether an update follows step `step` (from 0) of `steps`.
    pub fn due(&self, step: usize, steps: usize) -> bool {
        self.every > 0 && step as f64 >= self.after * steps as f64 && (step + 1).is_multiple_of(self.every)
    }
}
