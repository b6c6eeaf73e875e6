//! Which variant of a product is the fastest on a device.

use super::case::BenchCase;
use super::subject::Subject;
use super::suite::Suite;
use crate::Result;
use crate::gpu::Tuned;
use crate::plan::Program;

/// A product whose variants were measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The product.
    pub case: BenchCase,
    /// What shapes choose, and its median time, seconds.
    pub chosen: (&'static str, f64),
    /// The fastest.
    pub fastest: (&'static str, f64),
    /// Variants that gave other bits than the chosen one, and are no choice here.
    pub differing: Vec<&'static str>,
}

/// The share of its time by which a variant must beat the chosen one: less is noise.
const MARGIN: f64 = 0.03;

/// The distinct steps of programs that have more than one variant.
pub fn cases(programs: &[Program]) -> Vec<BenchCase> {
    let mut all: Vec<BenchCase> = Vec::new();
    for program in programs {
        for step in &program.steps {
            let x = program.operands(&step.inputs);
            let case = BenchCase { op: step.op.clone(), inputs: x.iter().map(|operand| operand.shape).collect() };
            if step.op.tiles(&x, &program.operands(&step.outputs)).len() > 1 && !all.contains(&case) {
                all.push(case);
            }
        }
    }
    all
}

/// Measures variants one case after another; each shader is compiled once.
pub struct Tuner {
    suite: Suite,
    subject: Subject,
}

impl Tuner {
    /// On the suite's device.
    pub fn new(suite: Suite) -> Result<Self> {
        Ok(Self { subject: suite.subject()?, suite })
    }

    /// Measures all variants of a case that have the bits of the one that shapes choose.
    pub fn tune(&mut self, case: &BenchCase) -> Result<Verdict> {
        let (mut times, mut differing, mut bits) = (Vec::new(), Vec::new(), None);
        for tile in self.suite.variants(case)? {
            let (own, median) = self.suite.trial(case, tile, &mut self.subject)?;
            if *bits.get_or_insert_with(|| own.clone()) == own {
                times.push((tile.shader, median));
            } else {
                differing.push(tile.shader);
            }
        }
        let chosen = times[0];
        let fastest = times.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("the chosen one at least");
        Ok(Verdict { case: case.clone(), chosen, fastest, differing })
    }
}

impl Verdict {
    /// How many times as fast the fastest is, where that is more than noise.
    pub fn gain(&self) -> Option<f64> {
        (self.fastest.1 < (1.0 - MARGIN) * self.chosen.1).then(|| self.chosen.1 / self.fastest.1)
    }

    /// What a tuning file says of it.
    pub fn tuned(&self) -> Option<Tuned> {
        let BenchCase { op, inputs } = self.case.clone();
        self.gain().map(|_| Tuned { op, inputs, variant: self.fastest.0.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Effort;
    use crate::bench::row::Dtype;
    use crate::device::Device;
    use crate::tape::{Init, Region, Tape};
    use std::time::Duration;

    #[test]
    fn what_has_a_choice_is_measured_and_what_is_faster_is_kept() {
        let mut tape = Tape::new();
        let mut x = tape.input("x", [1, 1, 9, 8, 4]);
        for name in ["a", "b"] {
            let w = tape.parameter(Region::Params, name, [1, 4, 3, 3, 4], Init::Ones);
            x = tape.conv2d(x, w, None, None, 1).unwrap();
        }
        tape.output(x);
        let cases = cases(&[Program::new(&tape)]);
        assert_eq!(cases.len(), 1, "{cases:?}");
        let verdict = |seconds| Verdict {
            case: cases[0].clone(),
            chosen: ("conv2d_small_vec4", 1.0),
            fastest: ("conv2d_narrow_vec4", seconds),
            differing: vec![],
        };
        assert_eq!((verdict(0.98).tuned(), verdict(0.5).gain()), (None, Some(2.0)));
        assert_eq!(verdict(0.5).tuned().unwrap().variant, "conv2d_narrow_vec4");

        let Some(adapter) = crate::gpu::tests::adapter() else { return };
        let effort = Effort { warmup: Duration::ZERO, min_time: Duration::ZERO, slope: false };
        let mut tuner = Tuner::new(Suite::new(Device::gpu(adapter), Dtype::F32, effort)).unwrap();
        let verdict = tuner.tune(&cases[0]).unwrap();
        assert!(verdict.differing.is_empty(), "{verdict:?}");
    }
}
