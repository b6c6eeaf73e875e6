//! Settings of the pseudo-labels' updates.

use serde::{Deserialize, Serialize};

/// Gates of an update. Lengths are shares of a crop's side, so that they hold for any anatomy and resolution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// Largest spread between the two views of an update.
    pub spread: f64,
    /// Largest distance of a new position from where the arrangement of all landmarks expects it. A label that is farther already may
    /// stay about where it is.
    pub shape: f64,
    /// Largest step at the start of training; shrinks linearly with the steps to `step_end`.
    pub step_start: f64,
    /// Largest step at the end of training.
    pub step_end: f64,
    /// How far a label moves towards the new position.
    pub blend: f64,
    /// How much of what the model misses the template's annotation by is taken off every new position: labels must not drift from
    /// what was annotated.
    pub anchor: f64,
}

impl Default for Gates {
    fn default() -> Self {
        Self { spread: 0.06, shape: 0.5, step_start: 0.25, step_end: 0.1, blend: 0.5, anchor: 0.25 }
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
    /// How many updates precede step `step` of `steps`.
    pub fn before(&self, step: usize, steps: usize) -> usize {
        let after = (self.after * steps as f64).ceil() as usize;
        step.checked_div(self.every).map_or(0, |due| due.saturating_sub(after / self.every))
    }

    /// Whether an update follows step `step` (from 0) of `steps`.
    pub fn due(&self, step: usize, steps: usize) -> bool {
        self.every > 0 && step as f64 >= self.after * steps as f64 && (step + 1).is_multiple_of(self.every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_counted_as_they_fall_due() {
        for (every, after, steps) in
            [(15, 0.33, 300), (60, 0.33, 860), (2, 0.0, 6), (0, 0.5, 9), (7, 1.0, 70), (4, 0.5, 5)]
        {
            let update = Updates { every, after, ..Updates::default() };
            let mut due = 0;
            for step in 0..=steps {
                assert_eq!(update.before(step, steps), due, "{every} {after} {step}");
                due += usize::from(update.due(step, steps));
            }
        }
    }
}
