//! How often a program runs, and what its runs took.

use super::subject::Subject;
use crate::Result;
use crate::timing::{Clock, Span, Timing};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How much measuring is done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Runs that do not count take at least this long.
    pub warmup: Duration,
    /// Runs that count take at least this long.
    pub min_time: Duration,
    /// Measure by the slope of wall time even where the device has a clock for launches.
    pub slope: bool,
}

/// What the times of a row were read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The host's clock before and after each step.
    Host,
    /// The GPU's timestamps around each launch.
    Timestamps,
    /// The host's clock around a submission of each launch.
    Submissions,
    /// The host's clock: `(t(2 n) - t(n)) / n` for runs one after another.
    Slope,
}

impl Source {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Timestamps => "timestamps",
            Self::Submissions => "submissions",
            Self::Slope => "slope",
        }
    }
}

impl From<Clock> for Source {
    fn from(clock: Clock) -> Self {
        match clock {
            Clock::Host => Self::Host,
            Clock::Timestamps => Self::Timestamps,
            Clock::Submissions => Self::Submissions,
        }
    }
}

/// Seconds of each run, ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct Times {
    /// At least one.
    seconds: Vec<f64>,
    /// What read them.
    pub source: Source,
}

impl Times {
    /// Of runs in any order.
    pub fn new(mut seconds: Vec<f64>, source: Source) -> Self {
        assert!(!seconds.is_empty(), "something ran");
        seconds.sort_by(f64::total_cmp);
        Self { seconds, source }
    }

    /// Number of runs.
    pub fn runs(&self) -> usize {
        self.seconds.len()
    }

    /// The value below which a share of the runs lies, linear between runs.
    pub fn quantile(&self, share: f64) -> f64 {
        let at = share * (self.seconds.len() - 1) as f64;
        let (low, high) = (self.seconds[at.floor() as usize], self.seconds[at.ceil() as usize]);
        low + (high - low) * at.fract()
    }

    /// The middle.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

/// Runs that count, at least and at most.
const RUNS: std::ops::RangeInclusive<usize> = 5..=2000;
/// Slopes that count.
const SLOPES: usize = 7;

/// Measures a program whose inputs are there: some of its steps, or all.
pub(super) fn measure(
    subject: &mut Subject,
    index: usize,
    steps: Option<Range<usize>>,
    effort: &Effort,
) -> Result<Times> {
    let begin = Instant::now();
    let once = subject.repeat(index, 1)?;
    let typical = loop {
        let timing = subject.repeat(index, 1)?;
        if begin.elapsed() >= effort.warmup {
            break timing.elapsed().as_secs_f64().max(1e-7);
        }
    };
    let source = Source::from(once.clock);
    if effort.slope || (source == Source::Submissions && steps.is_none()) {
        return slope(subject, index, effort);
    }
    let batch = ((effort.min_time.as_secs_f64() / 8.0 / typical) as usize).clamp(1, 200);
    let (mut seconds, begin) = (Vec::new(), Instant::now());
    while seconds.len() < *RUNS.start() || (begin.elapsed() < effort.min_time && seconds.len() < *RUNS.end()) {
        seconds.extend(runs(&subject.repeat(index, batch)?, batch, steps.as_ref()));
    }
    Ok(Times::new(seconds, source))
}

/// Seconds of each of a number of runs, or of some of their steps.
fn runs(timing: &Timing, times: usize, steps: Option<&Range<usize>>) -> Vec<f64> {
    let counts = |span: &&Span| steps.is_none_or(|steps| steps.contains(&span.step));
    let run = |spans: &[Span]| spans.iter().filter(counts).map(|span| span.time.as_secs_f64()).sum();
    timing.spans.chunks(timing.spans.len() / times).map(run).collect()
}

fn slope(subject: &mut Subject, index: usize, effort: &Effort) -> Result<Times> {
    let share = effort.min_time / (3 * SLOPES as u32);
    let mut n = 1;
    while subject.elapse(index, n)? < share && n < 1 << 16 {
        n *= 2;
    }
    let mut slopes = Vec::new();
    for _ in 0..SLOPES {
        let (once, twice) = (subject.elapse(index, n)?, subject.elapse(index, 2 * n)?);
        // A clock that did not move measured no less than its step.
        slopes.push(twice.saturating_sub(once).as_secs_f64().max(1e-9) / n as f64);
    }
    Ok(Times::new(slopes, Source::Slope))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timing::Span;

    #[test]
    fn quantiles_lie_between_runs() {
        let times = Times::new(vec![4.0, 1.0, 3.0, 2.0, 5.0], Source::Host);
        assert_eq!((times.runs(), times.median(), times.quantile(0.0), times.quantile(1.0)), (5, 3.0, 1.0, 5.0));
        assert!((times.quantile(0.9) - 4.6).abs() < 1e-12 && (times.quantile(0.1) - 1.4).abs() < 1e-12);
        assert_eq!(Times::new(vec![2.0, 4.0], Source::Host).median(), 3.0);
    }

    #[test]
    fn what_only_clears_the_cache_does_not_count() {
        let span =
            |step, seconds| Span { step, variant: "x", start: Duration::ZERO, time: Duration::from_secs(seconds) };
        let spans = vec![span(0, 9), span(1, 1), span(1, 2), span(0, 9), span(1, 3), span(1, 4)];
        let timing = Timing { clock: Clock::Timestamps, spans };
        assert_eq!(runs(&timing, 2, Some(&(1..2))), [3.0, 7.0]);
        assert_eq!(runs(&timing, 2, None), [12.0, 16.0]);
    }
}
