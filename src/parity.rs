//! What a kernel's results are held to: its CPU twin in f64, within a bound on the rounding of each element.
//!
//! The bound of an element is a running error: `8 u (4 + sqrt(terms)) sum |a||b|` for sums of products, where the twin run
//! on absolute values gives the sum and u is the unit roundoff; plus what the twin itself does when its inputs move by a
//! few roundings, so that an ill-conditioned result is allowed its condition and nothing else. Kernels that only move
//! numbers are exact. Where results are stored in f16, each may be off by one rounding to f16 more.

use crate::cpu::CpuExecutor;
use crate::kernel::activation::Activation;
use crate::kernel::elementwise::{Binary, BinaryKind, ScaleShift};
use crate::kernel::pool::{Pool, PoolGrad, PoolKind};
use crate::kernel::{Domain, Element, Half, Op, Sample, Shape, warp};
use crate::plan::Program;
use crate::random::Stream;
use crate::tape::{Region, Tape};
use half::f16;

/// Unit roundoff of f32.
const U: f64 = 1.0 / (1u64 << 24) as f64;
/// Unit roundoff of f16, and half its least step.
const U16: [f64; 2] = [1.0 / (1u64 << 11) as f64, 1.0 / (1u64 << 25) as f64];
/// The regions that an operation in place updates, in the order of its outputs.
pub const STATE: [Region; 4] = [Region::Params, Region::Moment1, Region::Moment2, Region::Ema];

/// A sample with its inputs' values, and the values of the state that it updates, if it works in place.
#[derive(Clone, Debug)]
pub struct Case {
    /// The operation and the shapes of its inputs.
    pub sample: Sample<Op>,
    /// Values of the inputs.
    pub inputs: Vec<Vec<f32>>,
    /// Values of the buffers of [`STATE`].
    pub state: Vec<Vec<f32>>,
    /// How the operation's operands are stored.
    pub storage: Element,
}

/// What an output should be.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The twin's values.
    pub exact: Vec<f64>,
    /// How far each element may be from them.
    pub bounds: Vec<f64>,
    /// For sums of products the sum of their absolute values, else the size of the largest element.
    pub magnitudes: Vec<f64>,
}

impl Case {
    /// A sample on random values.
    pub fn new(sample: Sample<Op>, random: &mut Stream) -> Self {
        let inputs = sample.inputs.iter().map(|&(shape, domain)| values(shape, domain, random)).collect();
        let outputs = if sample.op.in_place() { sample.op.infer(&shapes(&sample)).unwrap() } else { Vec::new() };
        let state = outputs.iter().map(|&s| values(s, Domain::Range(0.0, 1.0), random)).collect();
        Self { sample, inputs, state, storage: Element::F32 }
    }

    /// The same for storage in f16, with inputs that f16 holds exactly; none if the operation has no f16 variants.
    pub fn half(self) -> Option<Self> {
        let half = self.sample.op.half()?;
        let round = |x: &Vec<f32>| x.iter().map(|&v| f16::from_f32(v).to_f32()).collect();
        let inputs = if half == Half::Writes { self.inputs } else { self.inputs.iter().map(round).collect() };
        Some(Self { inputs, storage: Element::F16, ..self })
    }

    /// The operation alone, its inputs and outputs dense.
    pub fn program(&self) -> Program {
        let mut tape = Tape::new();
        let x: Vec<_> = self.sample.inputs.iter().map(|&(shape, _)| tape.input("x", shape)).collect();
        if self.sample.op.in_place() {
            let shapes = self.sample.op.infer(&shapes(&self.sample)).unwrap();
            let state: Vec<_> = STATE.iter().zip(shapes).map(|(&region, s)| tape.buffer(region, s)).collect();
            tape.push_in_place(self.sample.op.clone(), &x, &state);
            state.into_iter().for_each(|v| tape.output(v));
        } else {
            let y = tape.push(self.sample.op.clone(), &x).unwrap();
            y.into_iter().for_each(|v| tape.output(v));
        }
        Program::new(&tape)
    }

    /// The twin's outputs in f64, for some values of the inputs.
    fn twin(&self, op: &Op, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let sample = Sample { op: op.clone(), inputs: self.sample.inputs.clone() };
        let case = Case { sample, inputs: Vec::new(), state: Vec::new(), storage: Element::F32 };
        let mut executor = CpuExecutor::<f64>::new();
        let index = executor.load(case.program());
        self.state.iter().zip(STATE).for_each(|(state, region)| executor.write(region, &wide(state)));
        executor.run(index, &inputs.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn wide_inputs(&self) -> Vec<Vec<f64>> {
        self.inputs.iter().map(|x| wide(x)).collect()
    }

    /// Whether input `i` holds positions, not factors.
    fn is_position(&self, i: usize) -> bool {
        matches!((&self.sample.op, i), (Op::SamplePoints(_), 1) | (Op::SamplePointsGrad(_), 0))
    }

    /// The size of the terms of a difference that may all but cancel, for every input of this domain.
    fn cancelling(&self) -> f64 {
        match self.sample.op {
            // r (dy - ..), with the pixel of the smallest norm.
            Op::L2NormalizeGrad(_) => {
                let squares = self.inputs[0].chunks(self.sample.inputs[0].0.c).map(|x| x.iter().map(|v| v * v).sum());
                let norm = squares.fold(f32::INFINITY, f32::min).sqrt();
                largest(&wide(&self.inputs[1])) / f64::from(norm)
            }
            _ => 0.0,
        }
    }

    /// What the outputs should be as they are stored: in f16 the first is rounded once more, if the operation writes f16.
    pub fn expected(&self, random: &mut Stream) -> Vec<Expected> {
        let mut expected = self.expected_f32(random);
        if self.storage == Element::F16 && self.sample.op.half() != Some(Half::Reads) && !moves_numbers(&self.sample.op)
        {
            let Expected { exact, bounds, .. } = &mut expected[0];
            let [unit, least] = U16;
            bounds.iter_mut().zip(exact).for_each(|(bound, y)| *bound += unit * (y.abs() + *bound) + least);
        }
        expected
    }

    fn expected_f32(&self, random: &mut Stream) -> Vec<Expected> {
        let op = &self.sample.op;
        let exact = self.twin(op, &self.wide_inputs());
        if moves_numbers(op) {
            let zeros = |y: &Vec<f64>| vec![0.0; y.len()];
            return exact
                .into_iter()
                .map(|y| Expected { bounds: zeros(&y), magnitudes: zeros(&y), exact: y })
                .collect();
        }
        let magnitude: Vec<Vec<f64>> = match absolute(op) {
            Some(op) => {
                let mut inputs = self.wide_inputs();
                let factors = inputs.iter_mut().enumerate().filter(|&(i, _)| !self.is_position(i));
                factors.flat_map(|(_, x)| x).for_each(|v| *v = v.abs());
                self.twin(&op, &inputs)
            }
            None => exact.iter().map(|y| vec![largest(y).max(self.cancelling()); y.len()]).collect(),
        };
        let outputs: usize = exact.iter().map(Vec::len).sum();
        let flops = op.cost(&shapes(&self.sample), &op.infer(&shapes(&self.sample)).unwrap()).flops;
        let terms = flops as f64 / outputs as f64;
        let mut bounds: Vec<Vec<f64>> = magnitude.clone();
        bounds.iter_mut().flatten().for_each(|m| *m = 8.0 * U * (4.0 + terms.sqrt()) * *m + 1e-12);
        for _ in 0..3 {
            let mut inputs = self.wide_inputs();
            for (i, x) in inputs.iter_mut().enumerate() {
                for (e, v) in x.iter_mut().enumerate() {
                    // A warp table holds integers beside real numbers.
                    let whole = [0, 1, 2, 14, 16, 17, 18].contains(&(e % warp::FIELDS));
                    let integer = matches!(op, Op::WarpAugment(_)) && i == 1 && whole;
                    let sign = if random.uniform() < 0.5 { -1.0 } else { 1.0 };
                    *v *= if integer { 1.0 } else { 1.0 + sign * 4.0 * U };
                }
            }
            for ((bound, moved), exact) in bounds.iter_mut().zip(self.twin(op, &inputs)).zip(&exact) {
                for ((bound, moved), exact) in bound.iter_mut().zip(moved).zip(exact) {
                    *bound += 4.0 * (moved - exact).abs();
                }
            }
        }
        let outputs = exact.into_iter().zip(bounds).zip(magnitude);
        outputs.map(|((exact, bounds), magnitudes)| Expected { exact, bounds, magnitudes }).collect()
    }
}

impl Expected {
    /// The same for sums on matrix units, which round in a way of their own and take an adapter's inner numbers in f16.
    pub fn on_matrix_units(mut self) -> Self {
        self.bounds.iter_mut().zip(&self.magnitudes).for_each(|(bound, magnitude)| *bound += U16[0] * magnitude);
        self
    }

    /// Holds an output to it; returns its largest error relative to the largest exact value.
    ///
    /// # Errors
    /// The worst element, if one is out of its bound.
    pub fn check(&self, got: &[f64]) -> Result<f64, String> {
        let Self { exact, bounds, .. } = self;
        if got.len() != exact.len() {
            return Err(format!("{} elements, not {}", got.len(), exact.len()));
        }
        let error = |i: usize| (got[i] - exact[i]).abs();
        // A NaN is infinitely wrong.
        let excess = |i: usize| match error(i) {
            e if e <= bounds[i] => 0.0,
            e if e.is_nan() => f64::INFINITY,
            e => e / bounds[i].max(1e-30),
        };
        let wrong: Vec<usize> = (0..got.len()).filter(|&i| excess(i) > 0.0).collect();
        let Some(&worst) = wrong.iter().max_by(|&&a, &&b| excess(a).total_cmp(&excess(b))) else {
            return Ok((0..got.len()).map(error).fold(0.0, f64::max) / largest(exact).max(f64::MIN_POSITIVE));
        };
        Err(format!(
            "{} of {} elements are wrong; element {worst} is {}, not {} ± {:e}",
            wrong.len(),
            got.len(),
            got[worst],
            exact[worst],
            bounds[worst]
        ))
    }
}

/// The same numbers in f64.
pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| v.into()).collect()
}

/// The shapes of a sample's inputs.
pub fn shapes(sample: &Sample<Op>) -> Vec<Shape> {
    sample.inputs.iter().map(|&(shape, _)| shape).collect()
}

fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |m: f64, v| m.max(v.abs()))
}

/// Whether outputs are copies of inputs, or constants.
fn moves_numbers(op: &Op) -> bool {
    match op {
        Op::Concat(_) | Op::SliceChannels(_) | Op::PadChannels(_) | Op::Fill(_) | Op::Copy(_) | Op::Convert(_) => true,
        Op::Pool(Pool { kind }) | Op::PoolGrad(PoolGrad { kind }) => *kind == PoolKind::Max,
        _ => false,
    }
}

/// For a sum of products, the operation that sums their absolute values when it is given absolute values.
fn absolute(op: &Op) -> Option<Op> {
    match op {
        Op::Conv2d(conv) if conv.activation != Activation::Sigmoid => Some(op.clone()),
        Op::Binary(_) => match op {
            Op::Binary(Binary { kind: BinaryKind::Sub }) => Some(Binary { kind: BinaryKind::Add }.into()),
            _ => Some(op.clone()),
        },
        Op::ScaleShift(ScaleShift { scale, shift }) => {
            Some(ScaleShift { scale: scale.abs(), shift: shift.abs() }.into())
        }
        Op::Conv2dGradInput(_) | Op::Conv2dGradWeight(_) | Op::MatMul(_) | Op::Sum(_) | Op::BlockSquares(_) => {
            Some(op.clone())
        }
        Op::Pool(_) | Op::PoolGrad(_) | Op::Resize(_) | Op::ResizeGrad(_) => Some(op.clone()),
        Op::SamplePoints(_) | Op::SamplePointsGrad(_) => Some(op.clone()),
        _ => None,
    }
}

fn values(shape: Shape, domain: Domain, random: &mut Stream) -> Vec<f32> {
    match domain {
        Domain::Normal => (0..shape.len()).map(|_| random.normal() as f32).collect(),
        Domain::Range(low, high) => (0..shape.len()).map(|_| random.range(low.into(), high.into()) as f32).collect(),
        Domain::Fill(fill) => fill(shape, &mut || random.uniform() as f32),
    }
}
