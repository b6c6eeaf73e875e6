//! What the planner does to a program changes no bit of its results: fusion, dropping, aliasing, serialisation; nor do threads.

mod common;

use common::bits;
use onemark::cpu::CpuExecutor;
use onemark::kernel::activation::Activation;
use onemark::kernel::adamw::{HYPER, Hyper};
use onemark::kernel::group_norm::{GroupNorm, GroupNormGradInput};
use onemark::kernel::pool::PoolKind;
use onemark::kernel::reduce::Sum;
use onemark::kernel::softmax::Target;
use onemark::kernel::{Op, Sample};
use onemark::plan::{Place, Program};
use onemark::random::Stream;
use onemark::tape::{Init, Region, Tape, Var};

const LANDMARKS: usize = 3;
const SIZE: usize = 24;
const BATCH: usize = 2;

/// What else a test records beside the training step.
#[derive(Clone, Copy, PartialEq)]
enum Extra {
    Nothing,
    /// What goes into each activation is a result, so that it cannot be fused away.
    Preactivations,
    /// An operation on each activation that nothing reads.
    DeadBranches,
}

fn convolution(tape: &mut Tape, name: &str, x: Var, co: usize, stride: usize, extra: Extra) -> Var {
    tape.scoped(name, |tape| {
        let ci = tape.shape(x).c;
        let normal = Init::Normal(0.3);
        let w = tape.parameter(Region::Params, "w", [1, co, 3, 3, ci], normal);
        let v = tape.parameter(Region::Params, "v", [LANDMARKS, 2, 1, 1, ci], normal);
        let u = tape.parameter(Region::Params, "u", [LANDMARKS, co, 1, 1, 2], normal);
        let gamma = tape.parameter(Region::Params, "gamma", [LANDMARKS, 1, 1, 1, co], Init::Ones);
        let beta = tape.parameter(Region::Params, "beta", [LANDMARKS, 1, 1, 1, co], Init::Zeros);
        let y = tape.conv2d(x, w, None, Some((v, u)), stride).unwrap();
        let y = tape.group_norm(y, gamma, beta, 2).unwrap();
        let z = tape.activate(y, Activation::Relu).unwrap();
        match extra {
            Extra::Nothing => {}
            Extra::Preactivations => tape.output(y),
            Extra::DeadBranches => {
                let dead = tape.activate(z, Activation::Sigmoid).unwrap();
                tape.sum_all(dead).unwrap();
            }
        }
        z
    })
}

/// A training step of a small U-shaped network. Inputs: images, points, hyper. Results: squared norms, losses.
fn step(extra: Extra) -> Tape {
    let mut tape = Tape::new();
    let images = tape.input("images", [LANDMARKS, BATCH, SIZE, SIZE, 1]);
    let points = tape.input("points", [LANDMARKS, BATCH, 1, 1, 2]);
    let hyper = tape.input("hyper", [1, 1, 1, 1, HYPER]);
    let fine = convolution(&mut tape, "fine", images, 6, 2, extra);
    let coarse = tape.pool(fine, PoolKind::Max).unwrap();
    let coarse = convolution(&mut tape, "coarse", coarse, 10, 1, extra);
    let coarse = tape.resize(coarse, SIZE / 2, SIZE / 2).unwrap();
    let both = tape.concat(fine, coarse).unwrap();
    let both = convolution(&mut tape, "both", both, 8, 1, extra);
    let w = tape.parameter(Region::Params, "head.w", [LANDMARKS, 1, 1, 1, 8], Init::Normal(0.3));
    let bias = tape.parameter(Region::Params, "head.bias", [LANDMARKS, 1, 1, 1, 1], Init::Zeros);
    let logits = tape.conv2d(both, w, Some(bias), None, 1).unwrap();
    let targets = tape.target_maps(points, SIZE / 2, SIZE / 2, 2.0, Target::Gaussian(1.5)).unwrap();
    let weights = tape.input("weights", [LANDMARKS, BATCH, 1, 1, 1]);
    let losses = tape.spatial_cross_entropy(logits, targets, weights).unwrap();
    let loss = tape.sum_all(losses).unwrap();
    tape.backward(loss).unwrap();
    let squares = tape.adamw(hyper).unwrap();
    tape.output(squares);
    tape.output(losses);
    tape
}

/// The bits of losses and norms of each of three steps, and of all state after them.
fn train(program: Program) -> Vec<Vec<u32>> {
    let mut executor = CpuExecutor::<f32>::new();
    let start = step(Extra::Nothing).layout(Region::Params).init(5, &[0, 1, 2]);
    let program = executor.load(program);
    executor.write(Region::Params, &start);
    executor.write(Region::Ema, &start);
    let mut results = Vec::new();
    for t in 1..=3 {
        let mut random = Stream::new(9, &[t]);
        let mut uniform = |len: usize, high| (0..len).map(|_| random.range(0.0, high) as f32).collect::<Vec<_>>();
        let images = uniform(LANDMARKS * BATCH * SIZE * SIZE, 1.0);
        let points = uniform(LANDMARKS * BATCH * 2, SIZE as f64);
        let weights = uniform(LANDMARKS * BATCH, 1.0);
        let hyper = Hyper {
            lr_shared: 1e-2,
            lr_distinct: 3e-2,
            beta1: 0.9,
            beta2: 0.99,
            weight_decay: 1e-2,
            clip_norm: 1.0,
            ema_decay: 0.9,
            step: t as u32,
        };
        let outputs = executor.run(program, &[&images, &points, &hyper.encode(), &weights]);
        results.extend(outputs[outputs.len() - 2..].iter().map(|values| bits(values)));
    }
    assert_ne!(executor.read(Region::Params), start, "nothing was trained");
    let state = [Region::Params, Region::Grads, Region::Moment1, Region::Moment2, Region::Ema];
    results.extend(state.map(|region| bits(executor.read(region))));
    assert!(results.iter().flatten().all(|&bits| f32::from_bits(bits).is_finite()));
    results
}

fn count(program: &Program, name: &str) -> usize {
    program.steps.iter().filter(|step| step.op.name() == name).count()
}

#[test]
fn fusion_changes_no_bit() {
    let (fused, plain) = (Program::new(&step(Extra::Nothing)), Program::new(&step(Extra::Preactivations)));
    assert_eq!((count(&fused, "activate"), count(&plain, "activate")), (0, 3));
    assert_eq!(train(fused), train(plain));
}

#[test]
fn what_nothing_reads_is_dropped() {
    let program = Program::new(&step(Extra::Nothing));
    assert_eq!(program, Program::new(&step(Extra::DeadBranches)));
    // The images' gradient is recorded and read by nothing: neither the first convolution's nor its adapter's is computed.
    let adapted = 3;
    assert_eq!(count(&program, "conv2d_grad_input"), 1 + 3 * (adapted - 1) + 1);
    assert_eq!((count(&program, "adamw"), count(&program, "conv2d_grad_weight")), (1, 1 + 3 * adapted));
}

#[test]
fn sharing_memory_changes_no_bit() {
    let aliased = Program::new(&step(Extra::Nothing));
    let mut apart = aliased.clone();
    apart.arena_len = 0;
    for slot in apart.slots.iter_mut().filter(|slot| slot.place == Place::Arena) {
        slot.offset = apart.arena_len;
        apart.arena_len += slot.operand.span();
    }
    assert!(aliased.arena_len * 2 < apart.arena_len, "{} and {}", aliased.arena_len, apart.arena_len);
    assert_eq!(train(aliased), train(apart));
}

#[test]
fn a_program_survives_json() {
    let program = Program::new(&step(Extra::Nothing));
    let read: Program = serde_json::from_str(&serde_json::to_string(&program).unwrap()).unwrap();
    assert_eq!(program, read);
    assert_eq!(train(program), train(read));
}

#[test]
fn threads_change_no_bit_of_any_kernel() {
    let mut cases = common::samples();
    // Beyond the samples, what is large enough to be cut into several pieces.
    let large: [(Op, Vec<[usize; 5]>); 4] = [
        (Sum { keep: [false, false, false, false, true] }.into(), vec![[2, 2, 96, 96, 3]]),
        (Sum { keep: [false, true, true, true, true] }.into(), vec![[3, 1, 64, 64, 5]]),
        (
            GroupNorm { groups: 4, activation: Activation::Relu }.into(),
            vec![[2, 1, 70, 70, 16], [1, 1, 1, 1, 16], [1, 1, 1, 1, 16]],
        ),
        (
            GroupNormGradInput { groups: 2 }.into(),
            vec![[1, 2, 70, 70, 12], [3, 1, 1, 1, 12], [1, 2, 1, 2, 2], [3, 2, 70, 70, 12]],
        ),
    ];
    for (op, shapes) in large {
        let sample = Sample::normal(op, &shapes);
        let values = common::values(cases.len(), &sample);
        cases.push((sample, values));
    }
    let [one, three] = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let outputs = |(sample, values): &(Sample<Op>, Vec<Vec<f64>>)| -> Vec<Vec<u32>> {
            common::apply::<f32>(&sample.op, &common::shapes(sample), values).iter().map(|y| bits(y)).collect()
        };
        pool.install(|| cases.iter().map(outputs).collect::<Vec<_>>())
    });
    for ((sample, _), (one, three)) in cases.iter().zip(one.iter().zip(&three)) {
        assert!(one == three, "{:?}", sample.op);
    }
}

#[test]
fn threads_change_no_bit() {
    let [one, two, five] = [1, 2, 5].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train(Program::new(&step(Extra::Nothing))))
    });
    assert!(one == two && one == five);
}
