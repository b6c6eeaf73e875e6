//! Whole programs on a device: a training step, state that outlives runs, and what is not granted.

use super::executor;
use crate::Error;
use crate::cpu::CpuExecutor;
use crate::kernel::activation::Activation;
use crate::kernel::adamw::{HYPER, Hyper};
use crate::kernel::elementwise::Fill;
use crate::kernel::pool::{PoolGrad, PoolKind};
use crate::kernel::softmax::Target;
use crate::plan::Program;
use crate::random::Stream;
use crate::tape::{Init, Region, Tape};
use crate::timing::Clock;

const STATE: [Region; 5] = [Region::Params, Region::Grads, Region::Moment1, Region::Moment2, Region::Ema];

/// A training step of a small U-Net with shared weights, adapters and distinct heads. Inputs: images, points, hyper.
fn step(landmarks: usize, shared: bool) -> Tape {
    let mut tape = Tape::new();
    let all = if shared { 1 } else { landmarks };
    let images = tape.input("images", [1, 2, 16, 16, 1]);
    let points = tape.input("points", [landmarks, 2, 1, 1, 2]);
    let hyper = tape.input("hyper", [1, 1, 1, 1, HYPER]);
    let parameter =
        |tape: &mut Tape, name: &str, shape: [usize; 5], init| tape.parameter(Region::Params, name, shape, init);
    let block = |tape: &mut Tape, name: &str, x, ci: usize, co: usize, stride| {
        tape.scoped(name, |tape| {
            let w = parameter(tape, "w", [all, co, 3, 3, ci], Init::Normal(0.3));
            let bias = parameter(tape, "bias", [landmarks, 1, 1, 1, co], Init::Zeros);
            let v = parameter(tape, "v", [landmarks, 2, 1, 1, ci], Init::Normal(0.3));
            let u = parameter(tape, "u", [landmarks, co, 1, 1, 2], Init::Normal(0.3));
            let gamma = parameter(tape, "gamma", [landmarks, 1, 1, 1, co], Init::Ones);
            let beta = parameter(tape, "beta", [landmarks, 1, 1, 1, co], Init::Zeros);
            let y = tape.conv2d(x, w, Some(bias), Some((v, u)), stride).unwrap();
            let y = tape.group_norm(y, gamma, beta, 2).unwrap();
            tape.activate(y, Activation::LeakyRelu).unwrap()
        })
    };
    let fine = block(&mut tape, "fine", images, 1, 6, 1);
    let pooled = tape.pool(fine, PoolKind::Max).unwrap();
    let coarse = block(&mut tape, "coarse", pooled, 6, 8, 2);
    let up = tape.resize(coarse, 16, 16).unwrap();
    let joined = tape.concat(up, fine).unwrap();
    let head = parameter(&mut tape, "head", [landmarks, 1, 1, 1, 14], Init::Normal(0.3));
    // No bias: the loss does not depend on it, and AdamW would make steps of its rounding errors.
    let logits = tape.conv2d(joined, head, None, None, 1).unwrap();
    let targets = tape.target_maps(points, 16, 16, 1.0, Target::Gaussian(1.5)).unwrap();
    let weights = tape.push1(Fill { shape: [landmarks, 2, 1, 1, 1].into(), value: 0.5 }, &[]).unwrap();
    let losses = tape.spatial_cross_entropy(logits, targets, weights).unwrap();
    let loss = tape.sum_all(losses).unwrap();
    tape.output(losses);
    tape.backward(loss).unwrap();
    let squares = tape.adamw(hyper).unwrap();
    tape.output(squares);
    tape
}

fn inputs(landmarks: &[usize], step: u32) -> [Vec<f32>; 3] {
    let mut random = Stream::new(3, &[u64::from(step)]);
    let images = (0..512).map(|_| random.normal() as f32).collect();
    let point = |&landmark: &usize| {
        let mut random = Stream::new(4, &[landmark as u64, u64::from(step)]);
        (0..4).map(move |_| random.range(2.0, 13.0) as f32)
    };
    let hyper = Hyper {
        lr_shared: 1e-3,
        lr_distinct: 1e-3,
        beta1: 0.9,
        beta2: 0.99,
        weight_decay: 0.01,
        clip_norm: 1.0,
        ema_decay: 0.9,
        step,
    };
    [images, landmarks.iter().flat_map(point).collect(), hyper.encode().into()]
}

fn slices(inputs: &[Vec<f32>]) -> Vec<&[f32]> {
    inputs.iter().map(Vec::as_slice).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn training_agrees_with_the_cpu() {
    let Some(mut gpu) = executor() else { return };
    let tape = step(3, true);
    let layout = tape.layout(Region::Params);
    let mut cpu = CpuExecutor::<f64>::new();
    let (on_gpu, on_cpu) = (gpu.load(Program::new(&tape)).unwrap(), cpu.load(Program::new(&tape)));
    let start = layout.init(1, &[0, 1, 2]);
    for region in [Region::Params, Region::Ema] {
        gpu.write(region, &start).unwrap();
        cpu.write(region, &start.iter().map(|&v| v.into()).collect::<Vec<f64>>());
    }
    for number in 1..=3 {
        let inputs = inputs(&[0, 1, 2], number);
        let wide: Vec<Vec<f64>> = inputs.iter().map(|x| x.iter().map(|&v| v.into()).collect()).collect();
        gpu.poison();
        let got = gpu.run(on_gpu, &slices(&inputs)).unwrap();
        let exact = cpu.run(on_cpu, &wide.iter().map(Vec::as_slice).collect::<Vec<_>>());
        for (got, exact) in got.iter().flatten().zip(exact.iter().flatten()) {
            assert!((f64::from(*got) - exact).abs() <= 1e-4 * (1.0 + exact.abs()), "step {number}: {got}, not {exact}");
        }
    }
    for region in STATE {
        let (got, exact) = (gpu.read(region).unwrap(), cpu.read(region));
        let scale = exact.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        for (i, (got, exact)) in got.iter().zip(exact).enumerate() {
            assert!((f64::from(*got) - exact).abs() <= 1e-3 * scale, "{region:?}[{i}] is {got}, not {exact}");
        }
    }
}

#[test]
fn landmarks_in_lockstep_are_landmarks_in_groups() {
    let Some(mut gpu) = executor() else { return };
    let mut train = |landmarks: &[usize]| {
        let tape = step(landmarks.len(), false);
        let layout = tape.layout(Region::Params);
        let program = gpu.load(Program::new(&tape)).unwrap();
        let start = layout.init(1, landmarks);
        for region in STATE {
            let zeros = vec![0.0; start.len()];
            gpu.write(region, if region == Region::Params { &start } else { &zeros }).unwrap();
        }
        for number in 1..=2 {
            gpu.run(program, &slices(&inputs(landmarks, number))).unwrap();
        }
        let trained = gpu.read(Region::Params).unwrap();
        layout.blocks().into_iter().map(|block| bits(&trained[block])).collect::<Vec<_>>()
    };
    let all = train(&[0, 1, 2, 3, 4]);
    assert_eq!(train(&[3, 4]), all[3..]);
    assert_eq!(train(&[0, 1, 2]), all[..3]);
}

#[test]
fn a_block_whose_norm_is_not_finite_stands_still_alone() {
    let Some(mut gpu) = executor() else { return };
    let mut tape = Tape::new();
    let x = tape.input("x", [2, 1, 1, 1, 70]);
    let hyper = tape.input("hyper", [1, 1, 1, 1, HYPER]);
    let p = tape.parameter(Region::Params, "p", [2, 1, 1, 1, 70], Init::Ones);
    let product = tape.mul(x, p).unwrap();
    let loss = tape.sum_all(product).unwrap();
    tape.backward(loss).unwrap();
    let squares = tape.adamw(hyper).unwrap();
    tape.output(squares);
    let layout = tape.layout(Region::Params);
    let program = gpu.load(Program::new(&tape)).unwrap();
    let start = layout.init(1, &[0, 1]);
    for broken in [f32::NAN, f32::INFINITY, 1e30] {
        gpu.write(Region::Params, &start).unwrap();
        let mut x = vec![1.0; 140];
        x[3] = broken;
        let [_, _, hyper] = inputs(&[0, 1], 1);
        let squares = gpu.run(program, &[&x, &hyper]).unwrap().remove(0);
        assert!(!squares[1].is_finite() && squares[2] == 70.0, "{squares:?}");
        let trained = gpu.read(Region::Params).unwrap();
        assert_eq!(layout.extract(&trained, 0)[..70], layout.extract(&start, 0)[..70]);
        assert!(layout.extract(&trained, 0)[70..].iter().all(|&v| v < 1.0));
    }
}

#[test]
fn the_first_of_equal_elements_wins() {
    let Some(mut gpu) = executor() else { return };
    let mut tape = Tape::new();
    let (x, dy) = (tape.input("x", [1, 1, 8, 9, 2]), tape.input("dy", [1, 1, 4, 4, 2]));
    let dx = tape.push1(PoolGrad { kind: PoolKind::Max }, &[x, dy]).unwrap();
    tape.output(dx);
    let mut random = Stream::new(5, &[]);
    let inputs = [144, 32].map(|len| (0..len).map(|_| random.index(3) as f32).collect::<Vec<f32>>());
    let mut cpu = CpuExecutor::<f32>::new();
    let (on_gpu, on_cpu) = (gpu.load(Program::new(&tape)).unwrap(), cpu.load(Program::new(&tape)));
    assert_eq!(gpu.run(on_gpu, &slices(&inputs)).unwrap(), cpu.run(on_cpu, &slices(&inputs)));
}

#[test]
fn programs_share_buffers_that_grow() {
    let Some(mut gpu) = executor() else { return };
    let program = |len: usize, region| {
        let mut tape = Tape::new();
        let stored = tape.buffer(region, [1, 1, 1, 1, len]);
        let y = tape.scale_shift(stored, 2.0, 1.0).unwrap();
        tape.output(y);
        Program::new(&tape)
    };
    assert_eq!(gpu.read(Region::Data).unwrap(), Vec::<f32>::new());
    let small = gpu.load(program(3, Region::Data)).unwrap();
    gpu.write(Region::Data, &[1.0, 2.0, 3.0]).unwrap();
    assert_eq!(gpu.run(small, &[]).unwrap(), [[3.0, 5.0, 7.0]]);
    let large = gpu.load(program(1000, Region::Data)).unwrap();
    assert_eq!(gpu.run(large, &[]).unwrap()[0][..5], [3.0, 5.0, 7.0, 1.0, 1.0]);
    gpu.write(Region::Data, &[4.0]).unwrap();
    assert_eq!(gpu.run(small, &[]).unwrap(), [[9.0, 5.0, 7.0]]);
    assert_eq!(gpu.read(Region::Data).unwrap()[..4], [4.0, 2.0, 3.0, 0.0]);
}

#[test]
fn every_launch_is_timed_with_timestamps_and_without() {
    let Some(mut gpu) = executor() else { return };
    let mut tape = Tape::new();
    let x = tape.input("x", [1, 1, 1, 1, 3]);
    let y = tape.scale_shift(x, 2.0, 1.0).unwrap();
    let z = tape.add(y, y).unwrap();
    tape.output(z);
    let index = gpu.load(Program::new(&tape)).unwrap();
    for stamped in [None, Some(false)] {
        gpu.stamped = stamped;
        gpu.upload(index, &[&[1.0, 2.0, 3.0]]).unwrap();
        let timing = gpu.repeat(index, 1).unwrap();
        assert_eq!(gpu.outputs(index).unwrap(), [[6.0, 10.0, 14.0]]);
        let seen: Vec<_> = timing.spans.iter().map(|span| (span.step, span.variant)).collect();
        assert_eq!(seen, [(0, "scale_shift"), (1, "binary")]);
        assert!(timing.clock == Clock::Submissions || stamped.is_none());
        let three = gpu.repeat(index, 3).unwrap();
        assert_eq!(three.spans.len(), 6);
        assert!(three.spans.windows(2).all(|pair| pair[0].start + pair[0].time <= pair[1].start));
    }
    assert!(gpu.elapse(index, 3).unwrap() > std::time::Duration::ZERO);
}

#[test]
fn what_does_not_fit_is_an_error_with_the_plans_estimate() {
    let Some(mut gpu) = executor() else { return };
    let mut tape = Tape::new();
    let x = tape.push1(Fill { shape: [1, 1 << 10, 1 << 10, 1 << 10, 1 << 10].into(), value: 1.0 }, &[]).unwrap();
    tape.output(x);
    let error = gpu.load(Program::new(&tape)).unwrap_err();
    let Error::OutOfMemory { needed, ref largest, .. } = error else { panic!("{error}") };
    assert_eq!(needed, 4 << 40);
    assert!(largest.starts_with("fill [1, 1024, 1024, 1024, 1024]"), "{error}");
    // The executor is as it was.
    let mut tape = Tape::new();
    let x = tape.push1(Fill { shape: [1, 1, 1, 1, 2].into(), value: 1.0 }, &[]).unwrap();
    tape.output(x);
    let program = gpu.load(Program::new(&tape)).unwrap();
    assert_eq!(gpu.run(program, &[]).unwrap(), [[1.0, 1.0]]);
}

#[test]
fn a_lost_device_is_an_error_in_every_call() {
    let Some(mut gpu) = executor() else { return };
    let mut tape = Tape::new();
    let x = tape.input("x", [1, 1, 1, 1, 3]);
    let y = tape.scale_shift(x, 2.0, 1.0).unwrap();
    tape.output(y);
    let program = gpu.load(Program::new(&tape)).unwrap();
    gpu.write(Region::Data, &[1.0; 5]).unwrap();
    assert_eq!(gpu.run(program, &[&[1.0, 2.0, 3.0]]).unwrap(), [[3.0, 5.0, 7.0]]);
    gpu.lose();
    let lost = |error: Error| assert!(matches!(error, Error::DeviceLost(_)), "{error}");
    lost(gpu.run(program, &[&[1.0, 2.0, 3.0]]).unwrap_err());
    lost(gpu.write(Region::Data, &[2.0; 9]).unwrap_err());
    lost(gpu.read(Region::Data).unwrap_err());
    lost(gpu.load(Program::new(&tape)).unwrap_err());
}
