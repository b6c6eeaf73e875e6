//! The single stage in rounds and parts: what is trained when, and what becomes of it.
//!
//! A round trains every landmark's model from its start on the labels that the round before left. Landmarks do not meet within
//! a round, so it may be trained in parts: a group at a time within the memory, or some landmarks here and others on another
//! machine. Each part leaves one file in the run's folder; a round whose parts are all there is finished the same way wherever
//! they came from, with the same bytes.

use super::checkpoint::{RunDir, StageLog};
use super::config::Config;
use super::dataset::Dataset;
use super::labels::{PseudoLabels, UpdateLog, learn_shape, settle};
use super::pipeline::{LABELS, log_file, weights_file};
use crate::model::{Header, Kind, Model};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::{Range, RangeInclusive};

/// What the training of some landmarks left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Parameters of their models, one after another.
    pub net: Vec<f32>,
    /// Their pseudo-labels.
    pub labels: Vec<PseudoLabels>,
    /// Losses and updates.
    pub log: StageLog,
}

/// The single stage of a run.
pub struct Rounds<'a> {
    run: &'a RunDir,
    config: &'a Config,
    /// Of the local resolution; its pixels are not used.
    local: &'a Dataset,
    template: usize,
    landmarks: usize,
}

/// The file of a part: of round `round`, landmarks `landmarks`.
fn part_file(round: usize, landmarks: &Range<usize>) -> String {
    format!("single-part-{round}-{:03}-{:03}.json", landmarks.start, landmarks.end)
}

/// What a finished round, but the last, leaves to the next: labels and log.
pub fn round_file(round: usize) -> String {
    format!("single-round-{round}.json")
}

/// Whether a file of a run's folder is a part of a round.
pub fn is_part_of(round: usize, name: &str) -> bool {
    parse(name).is_some_and(|part| part.0 == round)
}

/// The round and the landmarks that a part's file name says.
fn parse(name: &str) -> Option<(usize, Range<usize>)> {
    let mut words = name.strip_prefix("single-part-")?.strip_suffix(".json")?.split('-').map(|word| word.parse().ok());
    let (round, start, end) = (words.next()??, words.next()??, words.next()??);
    (words.next().is_none() && start < end).then_some((round, start..end))
}

/// The landmarks of the parts of a round among the names of files, of a run of so many landmarks, in order; else the name of one that
/// overlaps another or is of more landmarks, and the cause with its remedy.
pub fn parts_among<'a>(
    names: impl IntoIterator<Item = &'a String>,
    round: usize,
    landmarks: usize,
) -> Result<Vec<Range<usize>>, (String, String)> {
    let own = names.into_iter().filter_map(|name| parse(name)).filter(|part| part.0 == round);
    let mut parts: Vec<Range<usize>> = own.map(|part| part.1).collect();
    parts.sort_by_key(|part| (part.start, part.end));
    parts.dedup(); // named twice
    if let Some(part) = parts.iter().find(|part| part.end > landmarks) {
        return Err((part_file(round, part), format!("is of more landmarks than the run's {landmarks}; delete it")));
    }
    match parts.windows(2).find(|pair| pair[0].end > pair[1].start) {
        Some(pair) => Err((part_file(round, &pair[1]), format!("overlaps {}; delete one", part_file(round, &pair[0])))),
        None => Ok(parts),
    }
}

impl<'a> Rounds<'a> {
    /// Of a run of `landmarks` landmarks.
    pub fn new(run: &'a RunDir, config: &'a Config, local: &'a Dataset, template: usize, landmarks: usize) -> Self {
        Self { run, config, local, template, landmarks }
    }

    /// The first round that is not finished; the number of rounds if all are.
    pub fn next(&self) -> usize {
        let done = |&round: &usize| self.run.has(&round_file(round));
        match self.run.has(&weights_file(Kind::Single)) {
            true => self.config.single.rounds.len(),
            false => (0..self.config.single.rounds.len()).take_while(done).count(),
        }
    }

    /// The labels that a round starts from: those that the one before left, or the `first`.
    pub fn labels(&self, round: usize, first: impl FnOnce() -> Result<Vec<PseudoLabels>>) -> Result<Vec<PseudoLabels>> {
        match round {
            0 => first(),
            _ => Ok(self.run.read_json::<(Vec<PseudoLabels>, StageLog)>(&round_file(round - 1))?.0),
        }
    }

    /// The landmarks whose parts of a round are there, in order.
    ///
    /// # Errors
    /// [`Error::Input`] if parts overlap, or are of more landmarks than the run has.
    pub fn parts(&self, round: usize) -> Result<Vec<Range<usize>>> {
        parts_among(&self.run.names()?, round, self.landmarks)
            .map_err(|(name, cause)| Error::input(self.run.file(&name), cause))
    }

    /// The landmarks among `wanted` that no part of a round has.
    pub fn missing(&self, round: usize, wanted: Range<usize>) -> Result<Vec<Range<usize>>> {
        let mut gaps = Vec::new();
        let mut at = wanted.start;
        for part in self.parts(round)?.into_iter().chain(std::iter::once(wanted.end..wanted.end)) {
            if at < part.start.min(wanted.end) {
                gaps.push(at..part.start.min(wanted.end));
            }
            at = at.max(part.end);
        }
        Ok(gaps)
    }

    /// Keeps a part of a round.
    pub fn keep(&self, round: usize, landmarks: &Range<usize>, part: &Part) -> Result<()> {
        self.run.write_json(&part_file(round, landmarks), part)
    }

    /// Finishes a round all of whose parts are there: the arrangement of all landmarks settles the labels, and the last round
    /// leaves the stage's weights, labels and log.
    pub fn finish(&self, round: usize) -> Result<()> {
        let mut all = Part::default();
        for landmarks in self.parts(round)? {
            let name = part_file(round, &landmarks);
            let part: Part = self.run.read_json(&name)?;
            if part.labels.len() != landmarks.len() || !part.labels.iter().all(|l| l.fits(self.local.len())) {
                return Err(Error::input(self.run.file(&name), "is of other landmarks or images; delete it"));
            }
            all.net.extend(part.net);
            all.labels.extend(part.labels);
            beside(&mut all.log, part.log);
        }
        debug_assert_eq!(all.labels.len(), self.landmarks, "a round is finished when all its parts are there");
        let shape = learn_shape(&all.labels, self.local, self.template, self.config.shape.noise);
        if let Some(shape) = &shape {
            settle(&mut all.labels, self.local, self.template, shape);
        }
        if round > 0 {
            let (_, mut log): (Vec<PseudoLabels>, StageLog) = self.run.read_json(&round_file(round - 1))?;
            behind(&mut log, all.log);
            all.log = log;
        }
        if round + 1 < self.config.single.rounds.len() {
            self.run.write_json(&round_file(round), &(all.labels, all.log))?;
        } else {
            self.run.write_json(LABELS, &all.labels)?;
            self.run.write_json(&log_file(Kind::Single), &all.log)?;
            let Model { header, matching, template, .. } = Model::read(&self.run.file(&weights_file(Kind::Match)))?;
            let header = Header { kind: Kind::Single, ..header };
            let (found, needed) = (all.net.len(), header.layouts().1.len());
            if found != needed {
                let cause = format!("its parts single-part-* hold {found} parameters, not {needed}; delete them");
                return Err(Error::input(self.run.file(&weights_file(Kind::Single)), cause));
            }
            let model = Model { header, matching, template, shape, net: all.net };
            model.write(&self.run.file(&weights_file(Kind::Single)))?;
            return self.clear();
        }
        // Those of earlier rounds too, should a kill have left any.
        self.remove_parts(0..=round)
    }

    /// Removes what a finished stage needs no more.
    pub fn clear(&self) -> Result<()> {
        let rounds = self.config.single.rounds.len();
        (0..rounds).try_for_each(|round| self.run.remove(&round_file(round)))?;
        self.remove_parts(0..=rounds)
    }

    fn remove_parts(&self, rounds: RangeInclusive<usize>) -> Result<()> {
        let names = self.run.names()?;
        let of = |name: &&String| parse(name).is_some_and(|part| rounds.contains(&part.0));
        names.iter().filter(of).try_for_each(|name| self.run.remove(name))
    }
}

/// Puts the losses and updates of other landmarks beside those so far.
fn beside(log: &mut StageLog, part: StageLog) {
    if log.losses.is_empty() {
        log.losses = part.losses;
    } else {
        log.losses.iter_mut().zip(part.losses).for_each(|(all, more)| all.extend(more));
    }
    log.start.extend(part.start);
    log.updates.extend(part.updates);
    log.updates.sort_by_key(|update| (update.step, update.landmark));
}

/// Puts another round behind those so far.
fn behind(log: &mut StageLog, round: StageLog) {
    let before = log.losses.len();
    log.losses.extend(round.losses);
    log.updates.extend(round.updates.into_iter().map(|update| UpdateLog { step: before + update.step, ..update }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_round_and_landmarks() {
        assert_eq!(parse(&part_file(1, &(3..12))), Some((1, 3..12)));
        for name in ["single-part-1-003.json", "single-part-1-003-002.json", "single-part-1-1-2-3.json", "single.json"]
        {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn gaps_are_what_no_part_has() {
        let folder = std::env::temp_dir().join(format!("onemark-rounds-{}", std::process::id()));
        let run = RunDir::create(&folder).unwrap();
        let (config, local) = (Config::default(), Dataset::blank(&[[8, 8]], 8));
        let rounds = Rounds::new(&run, &config, &local, 0, 9);
        let keep = |landmarks: Range<usize>| rounds.keep(0, &landmarks, &Part::default()).unwrap();
        let missing = |round: usize, wanted: Range<usize>| -> Vec<[usize; 2]> {
            rounds.missing(round, wanted).unwrap().iter().map(|gap| [gap.start, gap.end]).collect()
        };
        assert_eq!(missing(0, 0..9), [[0, 9]]);
        keep(2..4);
        keep(6..7);
        assert_eq!(missing(0, 0..9), [[0, 2], [4, 6], [7, 9]]);
        assert_eq!(missing(0, 3..6), [[4, 6]]);
        assert_eq!(missing(1, 0..9), [[0, 9]]);
        assert!(missing(0, 2..4).is_empty());
        keep(3..5);
        assert!(rounds.parts(0).unwrap_err().to_string().contains("overlaps single-part-0-002-004.json"));
        keep(8..10);
        assert!(rounds.parts(0).unwrap_err().to_string().contains("more landmarks than the run's 9"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
