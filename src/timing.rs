//! How long each step of a run took. Executors time a run when they are asked to; a run that nobody watches has no clock in it.

use crate::plan::{Program, Step};
use crate::units::{rate, si, time};
use serde::Serialize;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What times were read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The host's clock before and after each step: the CPU executor's.
    Host,
    /// The GPU's own timestamps, at the beginning and the end of a compute pass around each launch.
    Timestamps,
    /// The host's clock around a submission of each launch: where the GPU has no timestamps. Includes the submission.
    Submissions,
}

/// One launch on a GPU, or one step on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The program's step.
    pub step: usize,
    /// The shader variant, or the kernel's name on the CPU.
    pub variant: &'static str,
    /// Since the beginning of the first.
    pub start: Duration,
    /// How long it took.
    pub time: Duration,
}

/// The spans of one or more runs of a program, in order; they do not overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// What read them.
    pub clock: Clock,
    /// Every launch or step.
    pub spans: Vec<Span>,
}

/// What the host needs to get a program going on a GPU, from the call of a run until all is submitted: inputs handed over, launches
/// encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Launches of a run.
    pub launches: usize,
    /// What each of several runs took, ascending.
    pub times: Vec<Duration>,
}

impl Encoding {
    /// The middle of the times; of at least one run.
    pub fn median(&self) -> Duration {
        self.times[self.times.len() / 2]
    }
}

impl Timing {
    /// From the beginning of the first span to the end of the last.
    pub fn elapsed(&self) -> Duration {
        self.spans.last().map_or(Duration::ZERO, |last| last.start + last.time)
    }

    /// The spans of each step in turn; launches that follow each other in one step belong together.
    pub fn steps(&self) -> impl Iterator<Item = &[Span]> {
        self.spans.chunk_by(|a, b| a.step == b.step)
    }
}

/// One run as an [`Observer`] is told of it.
pub struct Run<'a> {
    /// What ran.
    pub program: &'a Program,
    /// Its steps; the first began when the inputs were there.
    pub timing: &'a Timing,
    /// When the run was asked for.
    pub began: Instant,
    /// When the first step could begin, as far as the host knows.
    pub launched: Instant,
}

/// Who is told of every run of a device's executors.
pub type Observer = Arc<dyn Fn(&Run) + Send + Sync>;

/// Time of all spans.
pub fn total(spans: &[Span]) -> Duration {
    spans.iter().map(|span| span.time).sum()
}

/// The shapes of a step, as `[1, 2, ..] .. -> [..]`.
pub fn shapes(program: &Program, step: &Step) -> String {
    let list = |slots: &[usize]| {
        let shapes: Vec<String> =
            slots.iter().map(|&slot| format!("{:?}", program.slots[slot].operand.shape).replace(", ", ",")).collect();
        shapes.join(" ")
    };
    format!("{} -> {}", list(&step.inputs), list(&step.outputs))
}

/// A line for each step of a run: kernel, place in the network, shapes, cost, time and rates. Several launches of one step
/// are summed, and listed behind.
pub fn lines(run: &Run) -> Vec<String> {
    run.timing.steps().map(|spans| line(run.program, spans)).collect()
}

fn line(program: &Program, spans: &[Span]) -> String {
    let step = &program.steps[spans[0].step];
    let (flops, bytes, took) = (step.cost.flops as f64, step.cost.bytes as f64, total(spans));
    let mut line = format!(
        "{:<26} {:<34} {}  {}  {}  {}  {}  {}",
        if let [only] = spans { only.variant } else { step.op.name() },
        step.label,
        shapes(program, step),
        si(flops, "FLOP"),
        si(bytes, "B"),
        time(took),
        si(rate(flops, took), "FLOP/s"),
        si(rate(bytes, took), "B/s"),
    );
    if spans.len() > 1 {
        let parts: Vec<String> = spans.iter().map(|span| format!("{} {}", span.variant, time(span.time))).collect();
        write!(line, "  ({})", parts.join(", ")).expect("a string");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Tape;

    #[test]
    fn launches_of_a_step_are_one_line() {
        let mut tape = Tape::new();
        let x = tape.input("x", [1, 1, 2, 5, 100]);
        let y = tape.scale_shift(x, 2.0, 1.0).unwrap();
        let z = tape.scoped("head", |tape| tape.sum_all(y)).unwrap();
        tape.output(z);
        let program = Program::new(&tape);
        let span = |step, variant, start, time| {
            let [start, time] = [start, time].map(Duration::from_micros);
            Span { step, variant, start, time }
        };
        let spans = vec![span(0, "scale_shift", 0, 4), span(1, "partial", 5, 2), span(1, "sum", 7, 1)];
        let timing = Timing { clock: Clock::Timestamps, spans };
        assert_eq!(timing.elapsed(), Duration::from_micros(8));
        let now = Instant::now();
        let lines = lines(&Run { program: &program, timing: &timing, began: now, launched: now });
        let squeezed: Vec<String> =
            lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            squeezed[0],
            "scale_shift scale_shift [1,1,2,5,100] -> [1,1,2,5,100] 2.00 kFLOP 8.00 kB 4.00 us 500 MFLOP/s 2.00 GB/s"
        );
        assert!(squeezed[1].starts_with("sum head.sum [1,1,2,5,100] -> [1,1,1,1,1]"), "{}", squeezed[1]);
        assert!(squeezed[1].ends_with("(partial 2.00 us, sum 1.00 us)"), "{}", squeezed[1]);
    }
}
