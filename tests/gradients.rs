//! Gradients of every kernel against central differences in f64: the operation stands mid-graph, its output is read twice and
//! a branch that leads nowhere hangs on it, as in a network.

mod common;

use onemark::cpu::CpuExecutor;
use onemark::kernel::{Op, Sample};
use onemark::plan::Program;
use onemark::random::Stream;
use onemark::tape::{Tape, Var};

/// Inputs through which no gradient is meant to flow: targets, weights, masks and points.
const CONSTANT: [(&str, &[usize]); 4] =
    [("sample_points", &[1]), ("spatial_cross_entropy", &[1, 2]), ("focal_bce", &[1]), ("masked_l1", &[1, 2])];

/// Kernels without a gradient, besides the gradients themselves.
const FINAL: [&str; 12] = [
    "fill",
    "convert",
    "target_maps",
    "soft_argmax",
    "warp_augment",
    "block_squares",
    "adamw",
    "fma",
    "fma_f16",
    "fma_matrix",
    "copy",
    "workgroup_reads",
];

/// Elements of an input that are checked.
const ELEMENTS: usize = 24;
const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-6;

/// What lies between a leaf and the operation's input: powers of two, which f32 holds.
const SCALE: f64 = 0.5;
const SHIFT: f64 = 0.25;

#[derive(Default)]
struct Count {
    checked: usize,
    at_kinks: usize,
}

struct Graph {
    tape: Tape,
    leaves: Vec<Var>,
    loss: Var,
    values: Vec<Vec<f64>>,
}

/// `sum(w y) + sum(w' y)` with `y = op(scale x + shift)`, and an unused branch.
fn graph(number: usize, sample: &Sample<Op>) -> Graph {
    let mut tape = Tape::new();
    let leaves: Vec<Var> = sample.inputs.iter().map(|&(shape, _)| tape.input("x", shape)).collect();
    let inputs: Vec<Var> = leaves.iter().map(|&x| tape.scale_shift(x, SCALE as f32, SHIFT as f32).unwrap()).collect();
    let y = tape.push1(common::without_activation(&sample.op), &inputs).unwrap();
    let unused = tape.scale_shift(y, 3.0, 1.0).unwrap();
    tape.sum_all(unused).unwrap();

    let mut values = common::values(number, sample);
    values.iter_mut().flatten().for_each(|v| *v = (*v - SHIFT) / SCALE);
    let mut random = Stream::new(2, &[number as u64]);
    let [one, other] = std::array::from_fn(|_| {
        let weight = tape.input("weight", tape.shape(y));
        values.push((0..tape.shape(y).len()).map(|_| random.normal()).collect());
        let weighted = tape.mul(y, weight).unwrap();
        tape.sum_all(weighted).unwrap()
    });
    let loss = tape.add(one, other).unwrap();
    Graph { tape, leaves, loss, values }
}

fn check(number: usize, sample: &Sample<Op>, count: &mut Count) {
    let name = sample.op.name();
    let Graph { mut tape, leaves, loss, mut values } = graph(number, sample);
    let constant = CONSTANT.iter().find(|(of, _)| *of == name).map_or(&[][..], |(_, inputs)| inputs);

    let mut forward = tape.clone();
    forward.output(loss);
    let gradients = tape.backward(loss).unwrap();
    let mut inputs = Vec::new();
    for (i, leaf) in leaves.iter().enumerate() {
        assert_eq!(gradients.contains_key(leaf), !constant.contains(&i), "{name}: gradient of input {i}");
        if let Some(&gradient) = gradients.get(leaf) {
            tape.output(gradient);
            inputs.push(i);
        }
    }
    let gradients = common::run(&tape, &values);

    let mut executor = CpuExecutor::<f64>::new();
    let program = executor.load(Program::new(&forward));
    let mut loss =
        |values: &[Vec<f64>]| executor.run(program, &values.iter().map(Vec::as_slice).collect::<Vec<_>>())[0][0];
    let here = loss(&values);
    let mut random = Stream::new(3, &[number as u64]);
    for (&input, gradient) in inputs.iter().zip(&gradients) {
        assert!(gradient.iter().all(|v| v.is_finite()), "{sample:?}: gradient of input {input} is not finite");
        let len = gradient.len();
        for i in 0..len.min(ELEMENTS) {
            let at = if len <= ELEMENTS { i } else { random.index(len) };
            let value = values[input][at];
            let mut moved = |by: f64| {
                values[input][at] = value + by;
                loss(&values)
            };
            let (above, below) = ((moved(STEP) - here) / STEP, (here - moved(-STEP)) / STEP);
            values[input][at] = value;
            count.checked += 1;
            if (above - below).abs() > 1e-3 * (1.0 + above.abs()) {
                count.at_kinks += 1;
                continue;
            }
            let expected = (above + below) / 2.0;
            let error = (gradient[at] - expected).abs();
            assert!(
                error <= TOLERANCE * (1.0 + expected.abs()),
                "{sample:?}: input {input}, element {at}: {} instead of {expected}",
                gradient[at]
            );
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    let mut count = Count::default();
    let differentiable = |name: &str| !name.contains("_grad") && !FINAL.contains(&name);
    for (number, sample) in Op::samples().iter().enumerate() {
        if differentiable(sample.op.name()) {
            check(number, sample, &mut count);
        }
    }
    assert!(count.checked > 2000 && count.at_kinks * 500 < count.checked, "{} of {}", count.at_kinks, count.checked);
}

#[test]
fn kernels_said_to_be_final_have_no_gradient() {
    for (number, sample) in Op::samples().iter().enumerate() {
        let name = sample.op.name();
        if sample.op.in_place() || sample.inputs.is_empty() || !(name.contains("_grad") || FINAL.contains(&name)) {
            continue;
        }
        let Graph { mut tape, leaves, loss, .. } = graph(number, sample);
        let gradients = tape.backward(loss).unwrap();
        assert!(leaves.iter().all(|leaf| !gradients.contains_key(leaf)), "{name} belongs to the checked kernels");
    }
}

#[test]
fn a_tensor_read_twice_by_one_operation_gets_both_gradients() {
    let mut tape = Tape::new();
    let x = tape.input("x", [1, 1, 1, 1, 3]);
    let square = tape.mul(x, x).unwrap();
    let cube = tape.mul(square, x).unwrap();
    let loss = tape.sum_all(cube).unwrap();
    let gradients = tape.backward(loss).unwrap();
    tape.output(gradients[&x]);
    assert_eq!(common::run(&tape, &[vec![1.0f64, -2.0, 3.0]])[0], [3.0, 12.0, 27.0]);
}
