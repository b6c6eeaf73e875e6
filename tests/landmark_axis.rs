//! The landmark axis is a loop over landmarks, bit for bit; adapters are what they say they are; and every CPU twin computes
//! in f32 what it computes in f64.

mod common;

use common::{apply, bits, shapes, without_activation};
use onemark::kernel::conv2d::Conv2d;
use onemark::kernel::{Kernel, Op, Real, Shape};

/// Landmark `k`'s slice of a tensor; all of it where it is shared.
fn slice<T>(values: &[T], shape: Shape, k: usize) -> &[T] {
    let k = if shape.k == 1 { 0 } else { k };
    &values[k * shape.slice_len()..][..shape.slice_len()]
}

/// The operation as one landmark sees it.
fn for_one_landmark(op: &Op) -> Op {
    let mut op = op.clone();
    match &mut op {
        Op::Conv2dGradWeight(grad) => grad.k = 1,
        Op::GroupNormGradAffine(grad) => grad.k = 1,
        Op::Fill(fill) => fill.shape.k = 1,
        _ => {}
    }
    op
}

#[test]
fn broadcast_over_landmarks_is_a_loop_over_landmarks() {
    let (mut looped, mut summed) = (0, 0);
    for (sample, values) in common::samples() {
        let shapes = shapes(&sample);
        let outputs = sample.op.infer(&shapes).unwrap();
        let landmarks = shapes.iter().chain(&outputs).map(|s| s.k).max().unwrap();
        if landmarks == 1 {
            continue;
        }
        let whole = apply::<f32>(&sample.op, &shapes, &values);
        let one: Vec<Shape> = shapes.iter().map(|s| s.with_k(1)).collect();
        let alone: Vec<Vec<Vec<f32>>> = (0..landmarks)
            .map(|k| {
                let values: Vec<Vec<f64>> = values.iter().zip(&shapes).map(|(v, &s)| slice(v, s, k).to_vec()).collect();
                apply(&for_one_landmark(&sample.op), &one, &values)
            })
            .collect();
        for (i, (whole, &shape)) in whole.iter().zip(&outputs).enumerate() {
            if shape.k == landmarks {
                looped += 1;
                for (k, alone) in alone.iter().enumerate() {
                    assert_eq!(bits(slice(whole, shape, k)), bits(&alone[i]), "{sample:?}, landmark {k}, output {i}");
                }
                continue;
            }
            summed += 1;
            for (e, &v) in whole.iter().enumerate() {
                let terms = || alone.iter().map(|alone| f64::from(alone[i][e]));
                let (sum, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                assert!((f64::from(v) - sum).abs() <= 1e-5 * (size + 1.0), "{sample:?}, element {e}: {v}, not {sum}");
            }
        }
    }
    assert!(looped > 40 && summed > 10, "{looped} looped, {summed} summed");
}

/// `y` of the convolution by its definition. Inputs: `x, w[, b][, v, u]`.
fn convolve(op: &Conv2d, shapes: &[Shape], values: &[Vec<f64>]) -> Vec<f64> {
    let y = op.infer(shapes).unwrap()[0];
    let (x, w) = (shapes[0], shapes[1]);
    let at = |i: usize, k| slice(&values[i], shapes[i], k);
    let mut out = Vec::new();
    for k in 0..y.k {
        for n in 0..y.n {
            for (oy, ox, o) in (0..y.h).flat_map(|oy| (0..y.w).flat_map(move |ox| (0..y.c).map(move |o| (oy, ox, o)))) {
                let pixel = |ky: usize, kx: usize, i: usize| {
                    let row = (op.stride * oy + ky).checked_sub(op.pad).filter(|&row| row < x.h);
                    let column = (op.stride * ox + kx).checked_sub(op.pad).filter(|&column| column < x.w);
                    let at = |(row, column)| at(0, k)[((n * x.h + row) * x.w + column) * x.c + i];
                    row.zip(column).map_or(0.0, at)
                };
                let mut sum = if op.bias { at(2, k)[o] } else { 0.0 };
                for ky in 0..w.h {
                    for kx in 0..w.w {
                        for i in 0..w.c {
                            sum += at(1, k)[((o * w.h + ky) * w.w + kx) * w.c + i] * pixel(ky, kx, i);
                        }
                    }
                }
                if op.adapter {
                    let (v, u) = (shapes.len() - 2, shapes.len() - 1);
                    for r in 0..shapes[v].n {
                        let t = (0..w.c).map(|i| at(v, k)[r * w.c + i] * pixel(w.h / 2, w.w / 2, i)).sum::<f64>();
                        sum += at(u, k)[o * shapes[v].n + r] * t;
                    }
                }
                out.push(sum);
            }
        }
    }
    out
}

fn convolutions() -> impl Iterator<Item = (Conv2d, Vec<Shape>, Vec<Vec<f64>>)> {
    common::samples().into_iter().filter_map(|(sample, values)| match without_activation(&sample.op) {
        Op::Conv2d(conv) => Some((conv, shapes(&sample), values)),
        _ => None,
    })
}

/// Fails where two tensors differ by more than a tolerance relative to the larger of 1 and their largest element.
fn assert_close<T: Real>(a: &[T], b: &[f64], tolerance: f64, what: impl std::fmt::Debug) {
    let size = b.iter().fold(1.0, |size: f64, b| size.max(b.abs()));
    assert_eq!(a.len(), b.len(), "{what:?}");
    for (e, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a.f64() - b).abs() <= tolerance * size, "{what:?}: {a:?} is not {b}, element {e}, size {size:e}");
    }
}

#[test]
fn conv2d_is_its_definition() {
    for (conv, shapes, values) in convolutions() {
        let expected = convolve(&conv, &shapes, &values);
        assert_close(&apply::<f64>(&conv.clone().into(), &shapes, &values)[0], &expected, 1e-13, (conv, shapes));
    }
}

#[test]
fn an_adapter_of_zero_is_the_shared_convolution() {
    for (conv, shapes, mut values) in convolutions().filter(|(conv, ..)| conv.adapter) {
        let (adapter, shared) = (shapes.len() - 2, Conv2d { adapter: false, ..conv.clone() });
        values.last_mut().unwrap().fill(0.0);
        let adapted = apply::<f32>(&conv.into(), &shapes, &values).remove(0);
        let plain = apply::<f32>(&shared.into(), &shapes[..adapter], &values[..adapter]).remove(0);
        let landmarks = adapted.len() / plain.len();
        assert_eq!(adapted, plain.repeat(landmarks));
    }
}

#[test]
fn a_folded_adapter_is_the_adapter() {
    for (conv, shapes, values) in convolutions().filter(|(conv, ..)| conv.adapter) {
        let (v, u) = (shapes.len() - 2, shapes.len() - 1);
        let (landmarks, rank) = (shapes[u].k, shapes[v].n);
        let w = shapes[1].with_k(landmarks);
        let mut folded = Vec::new();
        for k in 0..landmarks {
            let (down, up) = (slice(&values[v], shapes[v], k), slice(&values[u], shapes[u], k));
            let mut weight = slice(&values[1], shapes[1], k).to_vec();
            for o in 0..w.n {
                for i in 0..w.c {
                    let centre = ((o * w.h + w.h / 2) * w.w + w.w / 2) * w.c + i;
                    weight[centre] += (0..rank).map(|r| up[o * rank + r] * down[r * w.c + i]).sum::<f64>();
                }
            }
            folded.extend(weight);
        }
        let plain = Op::from(Conv2d { adapter: false, ..conv.clone() });
        let (mut folded_shapes, mut folded_values) = (shapes[..v].to_vec(), values[..v].to_vec());
        (folded_shapes[1], folded_values[1]) = (w, folded);
        let conv = Op::from(conv);
        let reference = apply::<f64>(&plain, &folded_shapes, &folded_values).remove(0);
        assert_close(&apply::<f64>(&conv, &shapes, &values)[0], &reference, 1e-12, (&conv, &shapes));
        let single = apply::<f32>(&plain, &folded_shapes, &folded_values).remove(0);
        let single: Vec<f64> = single.into_iter().map(f64::from).collect();
        assert_close(&apply::<f32>(&conv, &shapes, &values)[0], &single, 1e-5, (&conv, &shapes));
    }
}

/// Kernels linear in every input: the error of a sum of products is bounded by the same sum of absolute values.
fn is_multilinear(op: &Op) -> bool {
    let names = ["concat", "slice_channels", "pad_channels", "sum", "matmul", "block_squares"];
    let families = ["conv2d", "resize"];
    names.contains(&op.name()) || families.iter().any(|family| op.name().starts_with(family))
}

#[test]
fn single_precision_is_double_precision_within_rounding() {
    for (sample, values) in common::samples() {
        let (op, shapes) = (without_activation(&sample.op), shapes(&sample));
        let outputs = op.infer(&shapes).unwrap();
        let (single, double) = (apply::<f32>(&op, &shapes, &values), apply::<f64>(&op, &shapes, &values));
        let magnitude: Vec<Vec<f64>> = if is_multilinear(&op) {
            let absolute: Vec<Vec<f64>> = values.iter().map(|v| v.iter().map(|v| v.abs()).collect()).collect();
            apply(&op, &shapes, &absolute)
        } else {
            double.iter().map(|y| vec![y.iter().fold(0.0, |size: f64, v| size.max(v.abs())); y.len()]).collect()
        };
        let elements: usize = outputs.iter().map(Shape::len).sum();
        let terms = (op.cost(&shapes, &outputs).flops as f64 / elements as f64).max(1.0);
        for (i, y) in single.iter().enumerate() {
            for (e, &y) in y.iter().enumerate() {
                let error = (f64::from(y) - double[i][e]).abs();
                let bound = 4.0 * f64::from(f32::EPSILON) * terms.sqrt() * magnitude[i][e] + 1e-6;
                assert!(error <= bound, "{op:?} {shapes:?}, element {e} of {i}: {y}, error {error:e} > {bound:e}");
            }
        }
    }
}
