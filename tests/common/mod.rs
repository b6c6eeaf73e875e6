//! What the whole-program tests share: a kernel's cases with values, and one run of one operation.
#![allow(dead_code)] // each test program uses a part

use onemark::cpu::CpuExecutor;
use onemark::kernel::activation::Activation;
use onemark::kernel::{Domain, Op, Real, Sample, Shape};
use onemark::plan::Program;
use onemark::random::Stream;
use onemark::tape::{Tape, Var};

/// Values of an input that lie in its domain.
pub fn fill(shape: Shape, domain: Domain, random: &mut Stream) -> Vec<f64> {
    match domain {
        Domain::Normal => (0..shape.len()).map(|_| random.normal()).collect(),
        Domain::Range(low, high) => (0..shape.len()).map(|_| random.range(low.into(), high.into())).collect(),
        Domain::Fill(f) => f(shape, &mut || random.uniform() as f32).into_iter().map(f64::from).collect(),
    }
}

/// Values of all inputs of the case of this number.
pub fn values(number: usize, sample: &Sample<Op>) -> Vec<Vec<f64>> {
    let mut random = Stream::new(1, &[number as u64]);
    sample.inputs.iter().map(|&(shape, domain)| fill(shape, domain, &mut random)).collect()
}

/// All cases of all kernels whose outputs are their results, with the values of their inputs, exact in `f32`.
pub fn samples() -> Vec<(Sample<Op>, Vec<Vec<f64>>)> {
    let exact = |values: Vec<f64>| values.into_iter().map(|v| f64::from(v as f32)).collect();
    let all = Op::samples().into_iter().filter(|s| !s.op.in_place()).enumerate();
    all.map(|(i, s)| (s.clone(), values(i, &s).into_iter().map(exact).collect())).collect()
}

/// The shapes of a case's inputs.
pub fn shapes(sample: &Sample<Op>) -> Vec<Shape> {
    sample.inputs.iter().map(|&(shape, _)| shape).collect()
}

/// The operation without a fused activation.
pub fn without_activation(op: &Op) -> Op {
    let mut op = op.clone();
    match &mut op {
        Op::Conv2d(conv) => conv.activation = Activation::Identity,
        Op::GroupNorm(norm) => norm.activation = Activation::Identity,
        _ => {}
    }
    op
}

/// All outputs of one operation.
pub fn apply<T: Real>(op: &Op, shapes: &[Shape], values: &[Vec<f64>]) -> Vec<Vec<T>> {
    let mut tape = Tape::new();
    let inputs: Vec<Var> = shapes.iter().map(|&shape| tape.input("x", shape)).collect();
    for y in tape.push(op.clone(), &inputs).unwrap() {
        tape.output(y);
    }
    let values: Vec<Vec<T>> = values.iter().map(|v| v.iter().map(|&v| T::of(v)).collect()).collect();
    run(&tape, &values)
}

/// The outputs of a tape that keeps no state. It is run on NaN first, so that whatever a kernel leaves unwritten shows.
pub fn run<T: Real>(tape: &Tape, inputs: &[Vec<T>]) -> Vec<Vec<T>> {
    let mut executor = CpuExecutor::new();
    let program = executor.load(Program::new(tape));
    let mut run = |inputs: &[Vec<T>]| executor.run(program, &inputs.iter().map(Vec::as_slice).collect::<Vec<_>>());
    run(&inputs.iter().map(|x| vec![T::nan(); x.len()]).collect::<Vec<_>>());
    run(inputs)
}

/// The exact values, so that 0 and -0, and NaN, are told apart.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}
