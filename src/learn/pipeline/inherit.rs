//! Stages of another run on the same task, taken over instead of trained again.
//!
//! A stage is a function of the task and of some of the settings, and of no others. Where those are the same, its weights would
//! have the same bytes; so experiments that differ in the third stage train the first two once. A matcher depends on the images
//! alone, not on which of them is annotated and where: those of other templates are taken over too.

use super::super::checkpoint::{MAX_BYTES, RunDir, StageLog, StageTime};
use super::super::config::Config;
use super::{LABELS, Pipeline, log_file, snapshot_file, weights_file};
use crate::Result;
use crate::data::files::{read_capped, write_atomic};
use crate::model::{Kind, Model};

/// The settings with those that a stage does not depend on at their defaults. What is not named here counts.
fn that_matter(config: &Config, kind: Kind) -> Config {
    if kind == Kind::Match {
        // The matcher alone: what it proposes is made anew.
        let Config { seed, global_side, global_contrast, ref matching, .. } = *config;
        return Config { seed, global_side, global_contrast, matching: matching.clone(), ..Config::default() };
    }
    let Config { views, memory_mib, checkpoint_seconds, crop, joint, single, fuse, .. } = Config::default();
    let mut own = Config { views, memory_mib, checkpoint_seconds, ..config.clone() };
    // Not the teacher nor the labels of anything.
    if kind != Kind::Joint {
        own.joint = joint;
    }
    if kind != Kind::Fused {
        own.fuse = fuse;
    }
    if kind == Kind::Joint {
        (own.crop, own.single) = (crop, single);
    }
    own
}

/// The stage that a stage starts from.
fn needs(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::Match => None,
        Kind::Joint | Kind::Single => Some(Kind::Match),
        Kind::Fused => Some(Kind::Single),
    }
}

impl Pipeline<'_> {
    /// Takes over, of the stages that are asked for, those that this run lacks and another finished with the same settings, from
    /// the same stages before. Returns them. That the other run is on the same images is for the caller to know, and so is, for all
    /// stages but [`Kind::Match`], that it is of the same task.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) and [`Error::Input`](crate::Error::Input) for files that cannot be read or written.
    pub fn inherit(&mut self, from: &RunDir, stages: &[Kind]) -> Result<Vec<Kind>> {
        let mut taken = Vec::new();
        for kind in Kind::ALL {
            let (weights, mine) = (weights_file(kind), self.header(kind));
            if !stages.contains(&kind) || self.run.has(&weights) || !from.has(&weights) {
                continue;
            }
            let path = from.file(&weights);
            if Model::is_of_another_layout(&path)? {
                continue; // like all that another version trained
            }
            let model = Model::read(&path)?;
            let mut config = model.header.config.clone();
            if mine.config.snapshots(kind).count == 0 {
                // None are wanted; what the other kept along the way changed nothing.
                (config.joint.snapshots, config.fuse.snapshots) =
                    (mine.config.joint.snapshots, mine.config.fuse.snapshots);
            }
            let same = that_matter(&config, kind) == that_matter(&mine.config, kind);
            let same = same && model.header.onemark == mine.onemark;
            if same && self.same_origin(from, kind)? {
                self.take(from, kind, model)?;
                taken.push(kind);
            }
        }
        Ok(taken)
    }

    /// Whether the stage that this one starts from has the same parameters in both runs.
    fn same_origin(&self, from: &RunDir, kind: Kind) -> Result<bool> {
        let Some(needed) = needs(kind) else { return Ok(true) };
        let weights = weights_file(needed);
        if !self.run.has(&weights) || !from.has(&weights) {
            return Ok(false);
        }
        let (a, b) = (Model::read(&self.run.file(&weights))?, Model::read(&from.file(&weights))?);
        Ok(a.matching == b.matching && a.template == b.template && a.net == b.net)
    }

    /// The stage, and the time that it took.
    fn take(&mut self, from: &RunDir, kind: Kind, model: Model) -> Result<()> {
        if kind == Kind::Match {
            let log: StageLog = from.read_json(&log_file(kind))?;
            self.propose(model.matching, &log)?;
        } else {
            self.copy(from, kind, model)?;
        }
        match from.times()?.remove(kind.name()) {
            Some(StageTime { seconds, device }) => self.run.add_time(kind.name(), seconds, &device),
            None => Ok(()),
        }
    }

    /// Its files, the weights last: with them the stage is finished.
    fn copy(&self, from: &RunDir, kind: Kind, model: Model) -> Result<()> {
        let own = |model: Model, noise: f64| {
            let mut header = self.header(kind);
            header.config.shape.noise = noise;
            Model { header, ..model }
        };
        let labels = (kind == Kind::Single).then(|| LABELS.into());
        for name in labels.into_iter().chain([log_file(kind)]) {
            write_atomic(self.run.file(&name), &read_capped(from.file(&name), MAX_BYTES)?)?;
        }
        for (index, _) in self.config.snapshots(kind).all() {
            let name = snapshot_file(kind, index);
            if from.has(&name) {
                // They go without a shape model.
                own(Model::read(&from.file(&name))?, 0.0).write(&self.run.file(&name))?;
            }
        }
        own(model, self.config.shape.noise).write(&self.run.file(&weights_file(kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_depends_on_what_comes_before_it() {
        let changed = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            Kind::ALL.map(|kind| that_matter(&config, kind) != that_matter(&Config::default(), kind))
        };
        // Match, joint, single, fused.
        assert_eq!(changed(|c| c.seed = 2), [true; 4]);
        assert_eq!(changed(|c| c.global_side = 120), [true; 4]);
        assert_eq!(changed(|c| c.matching.steps = 1), [true; 4]);
        assert_eq!(changed(|c| c.propose.prior = 0.0), [false, true, true, true]);
        assert_eq!(changed(|c| c.shape.noise = 0.1), [false, true, true, true]);
        assert_eq!(changed(|c| c.single.rounds = vec![2.0, 1.0]), [false, false, true, true]);
        assert_eq!(changed(|c| c.crop.side = 32), [false, false, true, true]);
        assert_eq!(changed(|c| c.joint.snapshots = 0), [false, true, false, false]);
        assert_eq!(changed(|c| c.fuse.rank = 0), [false, false, false, true]);
        assert_eq!(changed(|c| c.memory_mib = 1), [false; 4]);
        assert_eq!(changed(|c| c.views = 1), [false; 4]);
    }
}
