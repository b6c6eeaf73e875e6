//! Parity of every kernel with its CPU twin in f64, on every sample of the registry, with everything that a kernel has not
//! written poisoned with NaN.
//!
//! The bound of an element is a running error: `8 u (4 + sqrt(terms)) sum |a||b|` for sums of products, where the twin run
//! on absolute values gives the sum and u is the unit roundoff; plus what the twin itself does when its inputs move by a
//! few roundings, so that an ill-conditioned result is allowed its condition and nothing else. Kernels that only move
//! numbers are exact.
//!
//! `ONEMARK_TEST_KERNEL=conv` tests the kernels whose names contain it.

use super::{GpuExecutor, executor, values};
use crate::cpu::CpuExecutor;
use crate::gpu::shaders;
use crate::kernel::activation::Activation;
use crate::kernel::elementwise::{Binary, BinaryKind, ScaleShift};
use crate::kernel::pool::{Pool, PoolGrad, PoolKind};
use crate::kernel::{Domain, Op, Operand, Sample, Shape};
use crate::plan::Program;
use crate::random::Stream;
use crate::tape::{Init, Layout, Region, Source, Tape};
use std::collections::BTreeSet;

/// Unit roundoff of f32.
const U: f64 = 1.0 / (1u64 << 24) as f64;
/// The regions that an operation in place updates, in the order of its outputs.
const STATE: [Region; 4] = [Region::Params, Region::Moment1, Region::Moment2, Region::Ema];

/// A sample with its inputs' values, and the values of the state that it updates, if it works in place.
struct Case {
    sample: Sample<Op>,
    inputs: Vec<Vec<f32>>,
    state: Vec<Vec<f32>>,
}

impl Case {
    fn new(sample: Sample<Op>, random: &mut Stream) -> Self {
        let inputs = sample.inputs.iter().map(|&(shape, domain)| values(shape, domain, random)).collect();
        let outputs = if sample.op.in_place() { sample.op.infer(&shapes(&sample)).unwrap() } else { Vec::new() };
        let state = outputs.iter().map(|&s| values(s, Domain::Range(0.0, 1.0), random)).collect();
        Self { sample, inputs, state }
    }

    /// The operation alone, its inputs and outputs dense.
    fn program(&self) -> Program {
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
        let case = Case { sample, inputs: Vec::new(), state: Vec::new() };
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

    /// What the GPU's outputs should be, and how far each may be from that.
    fn expected(&self, random: &mut Stream) -> Vec<(Vec<f64>, Vec<f64>)> {
        let op = &self.sample.op;
        let exact = self.twin(op, &self.wide_inputs());
        if moves_numbers(op) {
            return exact.into_iter().map(|y| (vec![0.0; y.len()], y)).map(|(bound, y)| (y, bound)).collect();
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
        let mut bounds: Vec<Vec<f64>> = magnitude;
        bounds.iter_mut().flatten().for_each(|m| *m = 8.0 * U * (4.0 + terms.sqrt()) * *m + 1e-12);
        for _ in 0..3 {
            let mut inputs = self.wide_inputs();
            for (i, x) in inputs.iter_mut().enumerate() {
                for (e, v) in x.iter_mut().enumerate() {
                    // A warp table holds integers beside real numbers.
                    let integer = matches!(op, Op::WarpAugment(_)) && i == 1 && !(3..14).contains(&(e % 16));
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
        exact.into_iter().zip(bounds).collect()
    }
}

fn shapes(sample: &Sample<Op>) -> Vec<Shape> {
    sample.inputs.iter().map(|&(shape, _)| shape).collect()
}

fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |m: f64, v| m.max(v.abs()))
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| v.into()).collect()
}

/// Whether outputs are copies of inputs, or constants.
fn moves_numbers(op: &Op) -> bool {
    match op {
        Op::Concat(_) | Op::SliceChannels(_) | Op::PadChannels(_) | Op::Fill(_) => true,
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

/// Fails with the worst element, if one is out of its bound.
fn compare(what: &str, got: &[f32], (exact, bound): &(Vec<f64>, Vec<f64>)) -> Result<(), String> {
    if got.len() != exact.len() {
        return Err(format!("{what}: {} elements, not {}", got.len(), exact.len()));
    }
    let excess = |i: usize| {
        let error = (f64::from(got[i]) - exact[i]).abs();
        // A NaN is infinitely wrong.
        if error <= bound[i] {
            0.0
        } else if error.is_nan() {
            f64::INFINITY
        } else {
            error / bound[i].max(1e-30)
        }
    };
    let wrong: Vec<usize> = (0..got.len()).filter(|&i| excess(i) > 0.0).collect();
    let Some(&worst) = wrong.iter().max_by(|&&a, &&b| excess(a).total_cmp(&excess(b))) else { return Ok(()) };
    Err(format!(
        "{what}: {} of {} elements are wrong; element {worst} is {}, not {} ± {:e}",
        wrong.len(),
        got.len(),
        got[worst],
        exact[worst],
        bound[worst]
    ))
}

fn bits(outputs: &[Vec<f32>]) -> Vec<Vec<u32>> {
    outputs.iter().map(|y| y.iter().map(|v| v.to_bits()).collect()).collect()
}

/// Dense operands: parity, and the same bits from a second run and from a run cut into single workgroups.
fn check_dense(case: &Case, expected: &[(Vec<f64>, Vec<f64>)], gpu: &mut GpuExecutor) -> Result<(), String> {
    let inputs: Vec<&[f32]> = case.inputs.iter().map(Vec::as_slice).collect();
    let mut run = |budget: u64| {
        gpu.set_budget(budget);
        let index = gpu.load(case.program()).map_err(|e| e.to_string())?;
        let mut again = || {
            for (state, region) in case.state.iter().zip(STATE) {
                gpu.write(region, state).map_err(|e| e.to_string())?;
            }
            gpu.poison();
            gpu.run(index, &inputs).map_err(|e| e.to_string())
        };
        Ok::<_, String>((again()?, again()?))
    };
    let (once, twice) = run(u64::MAX)?;
    for (i, (got, expected)) in once.iter().zip(expected).enumerate() {
        compare(&format!("output {i}"), got, expected)?;
    }
    if bits(&once) != bits(&twice) {
        return Err("a second run has other bits".into());
    }
    let (cut, _) = run(1)?;
    if bits(&once) == bits(&cut) { Ok(()) } else { Err("cut into single workgroups, it has other bits".into()) }
}

/// Operands with gaps between the landmarks' slices, as parameters and gradients have.
fn check_gaps(case: &Case, expected: &[(Vec<f64>, Vec<f64>)], gpu: &mut GpuExecutor) -> Result<(), String> {
    let op = &case.sample.op;
    let outputs = op.infer(&shapes(&case.sample)).unwrap();
    let landmarks = shapes(&case.sample).iter().chain(&outputs).map(|s| s.k).max().unwrap_or(1);
    let mut tape = Tape::new();
    let x: Vec<_> =
        case.sample.inputs.iter().map(|&(s, _)| tape.parameter(Region::Params, "x", s, Init::Zeros)).collect();
    for &shape in &outputs {
        tape.parameter(Region::Params, "y", shape, Init::Zeros);
    }
    tape.parameter(Region::Params, "gap", [landmarks.max(2), 1, 1, 1, 70], Init::Zeros);
    let y = tape.push(op.clone(), &x).unwrap();
    for (i, y) in y.iter().enumerate() {
        tape.tensors[y.0 as usize].source = Source::Gradient(x.len() + i);
    }
    let layout: Layout = tape.layout(Region::Params);
    let mut params = vec![f32::NAN; layout.len()];
    case.inputs.iter().enumerate().for_each(|(i, values)| layout.insert(&mut params, i, values));
    let error = |e: crate::Error| e.to_string();
    gpu.set_budget(u64::MAX);
    let index = gpu.load(Program::new(&tape)).map_err(error)?;
    gpu.write(Region::Params, &params).map_err(error)?;
    gpu.write(Region::Grads, &vec![f32::NAN; layout.len()]).map_err(error)?;
    gpu.poison();
    gpu.run(index, &[]).map_err(error)?;
    let mut grads = gpu.read(Region::Grads).map_err(error)?;
    grads.truncate(layout.len());
    for (i, expected) in expected.iter().enumerate() {
        let index = x.len() + i;
        compare(&format!("output {i} with gaps"), &layout.extract(&grads, index), expected)?;
        layout.insert(&mut grads, index, &vec![f32::NAN; expected.0.len()]);
    }
    if grads.iter().all(|v| v.is_nan()) { Ok(()) } else { Err("it writes between its landmarks' slices".into()) }
}

#[test]
fn every_kernel_agrees_with_its_twin() {
    let Some(mut gpu) = executor() else { return };
    let filter = std::env::var("ONEMARK_TEST_KERNEL").unwrap_or_default();
    let mut failures = Vec::new();
    for (i, sample) in Op::samples().into_iter().filter(|s| s.op.name().contains(&filter)).enumerate() {
        let mut random = Stream::new(7, &[i as u64]);
        let name = format!("{:?} on {:?}", sample.op, shapes(&sample));
        let case = Case::new(sample, &mut random);
        let expected = case.expected(&mut random);
        let mut result = check_dense(&case, &expected, &mut gpu);
        if !case.sample.op.in_place() && result.is_ok() {
            result = check_gaps(&case, &expected, &mut gpu);
        }
        failures.extend(result.err().map(|error| format!("{name}: {error}")));
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Without a device: every kernel has launches, and together the samples launch every variant of the table.
#[test]
fn samples_launch_every_variant() {
    let mut launched = BTreeSet::new();
    for sample in Op::samples() {
        let dense = |shapes: &[Shape]| shapes.iter().map(|&shape| Operand::dense(shape)).collect::<Vec<_>>();
        let x = shapes(&sample);
        let dispatches = sample.op.gpu(&dense(&x), &dense(&sample.op.infer(&x).unwrap()));
        assert!(!dispatches.is_empty(), "{} has no launches", sample.op.name());
        launched.extend(dispatches.iter().map(|dispatch| dispatch.shader));
    }
    assert_eq!(launched, shaders::VARIANTS.iter().map(|variant| variant.name).collect());
}
