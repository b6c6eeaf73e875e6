//! Gradients of parameters in their buffer, and AdamW on it: its formula, its finite check, and landmarks that do not touch
//! each other.

mod common;

use common::bits;
use onemark::cpu::CpuExecutor;
use onemark::kernel::Real;
use onemark::kernel::adamw::{EPS, HYPER, Hyper};
use onemark::plan::Program;
use onemark::random::Stream;
use onemark::tape::{Init, Region, Tape};

const WIDTH: usize = 70; // not a multiple of the parameters' alignment

fn hyper(step: u32) -> Hyper {
    Hyper {
        lr_shared: 0.01,
        lr_distinct: 0.03,
        beta1: 0.9,
        beta2: 0.99,
        weight_decay: 0.1,
        clip_norm: 3.0,
        ema_decay: 0.8,
        step,
    }
}

/// One step on `loss = sum(w (b + b c))`, so that each landmark's gradient is linear in its slice of the input `w`, which is
/// `[landmarks, 1, 1, 1, WIDTH]`; with `shared`, a shared parameter `a` is added to `b`. Returns the gradients.
fn step(landmarks: usize, shared: bool) -> Tape {
    let mut tape = Tape::new();
    let shape = [landmarks, 1, 1, 1, WIDTH];
    let w = tape.input("w", shape);
    let hyper = tape.input("hyper", [1, 1, 1, 1, HYPER]);
    let b = tape.parameter(Region::Params, "b", shape, Init::Normal(1.0));
    let c = tape.parameter(Region::Params, "c", shape, Init::Normal(1.0));
    let product = tape.mul(b, c).unwrap();
    let mut sum = tape.add(b, product).unwrap();
    let mut parameters = vec![b, c];
    if shared {
        let a = tape.parameter(Region::Params, "a", [1, 1, 1, 1, WIDTH], Init::Normal(1.0));
        sum = tape.add(a, sum).unwrap();
        parameters.push(a);
    }
    let weighted = tape.mul(sum, w).unwrap();
    let loss = tape.sum_all(weighted).unwrap();
    let gradients = tape.backward(loss).unwrap();
    parameters.iter().for_each(|parameter| tape.output(gradients[parameter]));
    tape.adamw(hyper).unwrap();
    tape
}

fn weights(landmarks: &[usize], step: u32) -> Vec<f32> {
    let draw = |&k: &usize| {
        let mut random = Stream::new(4, &[k as u64, step.into()]);
        (0..WIDTH).map(move |_| random.normal() as f32)
    };
    landmarks.iter().flat_map(draw).collect()
}

/// An executor with the parameters at their start and one program.
fn start<T: Real>(tape: &Tape, landmarks: &[usize]) -> (CpuExecutor<T>, usize) {
    let mut executor = CpuExecutor::new();
    let init: Vec<T> = tape.layout(Region::Params).init(3, landmarks).iter().map(|&v| T::of(v.into())).collect();
    let program = executor.load(Program::new(tape));
    executor.write(Region::Params, &init);
    executor.write(Region::Ema, &init);
    (executor, program)
}

#[test]
fn gradients_lie_as_their_parameters_and_are_returned_without_gaps() {
    let tape = step(3, true);
    let layout = tape.layout(Region::Params);
    let (mut executor, program) = start::<f32>(&tape, &[0, 1, 2]);
    let parameters = executor.read(Region::Params).to_vec();
    let w = weights(&[0, 1, 2], 1);
    let gradients = executor.run(program, &[&w, &hyper(1).encode()]);
    for (index, gradient) in gradients.iter().enumerate() {
        assert_eq!(&layout.extract(executor.read(Region::Grads), index), gradient);
    }
    let [b, c] = [0, 1].map(|index| layout.extract(&parameters, index));
    for i in 0..3 * WIDTH {
        assert_eq!((gradients[0][i], gradients[1][i]), (w[i] + w[i] * c[i], w[i] * b[i]));
    }
    let summed = |i: usize| w[i] + w[WIDTH + i] + w[2 * WIDTH + i];
    assert!((0..WIDTH).all(|i| (gradients[2][i] - summed(i)).abs() < 1e-6));
}

#[test]
fn adamw_follows_its_formula() {
    let tape = step(2, true);
    let layout = tape.layout(Region::Params);
    let (mut executor, program) = start::<f64>(&tape, &[0, 1]);
    let mut p = executor.read(Region::Params).to_vec();
    let (mut m, mut v, mut ema) = (vec![0.0; p.len()], vec![0.0; p.len()], p.clone());
    for t in 1..=3 {
        let w: Vec<f64> = weights(&[0, 1], t).into_iter().map(f64::from).collect();
        let encoded = hyper(t).encode().map(f64::from);
        executor.run(program, &[&w, &encoded]);
        let [lr_shared, lr_distinct, b1, b2, decay, clip, d, c1, c2] = encoded;
        let g = executor.read(Region::Grads);
        for (block, range) in layout.blocks().into_iter().enumerate() {
            let norm = g[range.clone()].iter().map(|g| g * g).sum::<f64>().sqrt();
            assert!(norm > clip, "the case does not clip");
            let lr = if block == 0 { lr_shared } else { lr_distinct };
            for i in range {
                let g = g[i] * clip / norm;
                m[i] = b1 * m[i] + (1.0 - b1) * g;
                v[i] = b2 * v[i] + (1.0 - b2) * g * g;
                p[i] -= lr * (m[i] / c1 / ((v[i] / c2).sqrt() + EPS) + decay * p[i]);
                ema[i] = d * ema[i] + (1.0 - d) * p[i];
            }
        }
        let expected = [(Region::Params, &p), (Region::Moment1, &m), (Region::Moment2, &v), (Region::Ema, &ema)];
        for (region, expected) in expected {
            let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-7 * (1e-2 + b.abs());
            assert!(executor.read(region).iter().zip(expected).all(close), "{region:?} at step {t}");
        }
    }
}

#[test]
fn a_landmark_whose_gradient_is_not_finite_stands_still_alone() {
    let tape = step(3, false);
    let layout = tape.layout(Region::Params);
    let (mut executor, program) = start::<f32>(&tape, &[0, 1, 2]);
    let before = executor.read(Region::Params).to_vec();
    let mut w = weights(&[0, 1, 2], 1);
    w[WIDTH + 7] = f32::NAN;
    executor.run(program, &[&w, &hyper(1).encode()]);
    let moved = |region: Region, before: &[f32]| {
        layout
            .blocks()
            .into_iter()
            .map(|block| executor.read(region)[block.clone()] != before[block])
            .collect::<Vec<_>>()
    };
    let zeros = vec![0.0; before.len()];
    assert_eq!(moved(Region::Params, &before), [true, false, true]);
    assert_eq!(moved(Region::Moment2, &zeros), [true, false, true]);
    assert_eq!(moved(Region::Ema, &before), [true, false, true]);
}

#[test]
fn landmarks_in_lockstep_are_landmarks_in_groups() {
    let train = |landmarks: &[usize]| {
        let tape = step(landmarks.len(), false);
        let (mut executor, program) = start::<f32>(&tape, landmarks);
        for t in 1..=3 {
            executor.run(program, &[&weights(landmarks, t), &hyper(t).encode()]);
        }
        let layout = tape.layout(Region::Params);
        let blocks = layout.blocks().into_iter();
        blocks.map(|block| bits(&executor.read(Region::Ema)[block])).collect::<Vec<_>>()
    };
    let all = train(&[0, 1, 2, 3]);
    assert_eq!(all, [train(&[0, 1]), train(&[2, 3])].concat());
    assert_eq!(all[1..], train(&[1, 2, 3]));
}
