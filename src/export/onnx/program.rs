//! Recorded programs as ONNX nodes: one translation an operation, so that networks are described nowhere but on the tape.
//!
//! A tensor `[k, n, h, w, c]` becomes `[k n, c, h, w]`, so that the landmark axis lies along ONNX's batch: an operation that all
//! landmarks share is a plain one on a batch, and one that is each landmark's own a grouped one on `[1, k c, h, w]`, which is the
//! same memory. Heights and widths are told by ratios alone: a program recorded for one frame serves frames of any size.

use super::graph::{Attribute, Graph, Type, Value};
use crate::kernel::activation::Activation;
use crate::kernel::elementwise::BinaryKind;
use crate::kernel::pool::PoolKind;
use crate::kernel::tensor::expect;
use crate::kernel::{Op, Shape, group_norm, l2_normalize, soft_argmax};
use crate::plan::{Place, Program, Slot};
use crate::tape::Region;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// A value and the shape that was recorded for it.
#[derive(Clone, Copy)]
struct Tensor<'g> {
    value: Value<'g>,
    shape: Shape,
}

/// What programs leave to others in [`Region::Maps`], by its place there.
pub type Maps<'g> = BTreeMap<usize, Value<'g>>;

/// Adds a program to a graph; returns its outputs. `inputs` are the program's in order, `parameters` the one region that it reads
/// besides `maps`.
///
/// # Errors
/// [`Error::Shape`] for an operation that has no translation, which is one of training.
pub fn translate<'g>(
    graph: &'g Graph,
    program: &Program,
    parameters: &[f32],
    maps: &mut Maps<'g>,
    inputs: &[Value<'g>],
) -> Result<Vec<Value<'g>>> {
    let there = |slot: &Slot| match slot.place {
        Place::Arena => None,
        Place::Region(Region::Maps) => maps.get(&slot.offset).copied(),
        Place::Region(_) => Some(parameter(graph, slot, parameters)),
    };
    let mut values: Vec<Option<Value<'g>>> = program.slots.iter().map(there).collect();
    for (&slot, &value) in program.inputs.iter().zip(inputs) {
        values[slot] = Some(value);
    }
    for step in &program.steps {
        graph.label(&step.label);
        let tensor = |&slot: &usize| Tensor {
            value: values[slot].expect("steps follow what they read"),
            shape: program.slots[slot].operand.shape,
        };
        let inputs: Vec<Tensor> = step.inputs.iter().map(tensor).collect();
        let value = operation(graph, &step.op, &inputs)?;
        values[step.outputs[0]] = Some(value);
        let slot = &program.slots[step.outputs[0]];
        if slot.place == Place::Region(Region::Maps) {
            maps.insert(slot.offset, value);
        }
    }
    Ok(program.outputs.iter().map(|&slot| values[slot].expect("outputs are computed")).collect())
}

/// A parameter's values, channels first.
fn parameter<'g>(graph: &'g Graph, slot: &Slot, parameters: &[f32]) -> Value<'g> {
    let Shape { k, n, h, w, c } = slot.operand.shape;
    graph.label(&slot.name);
    let (len, pixels) = (slot.operand.shape.slice_len(), h * w);
    let mut values = Vec::with_capacity(k * len);
    for slice in (0..k).map(|k| &parameters[slot.offset + k * slot.operand.k_stride..][..len]) {
        for image in slice.chunks_exact(pixels * c) {
            values.extend((0..c).flat_map(|channel| image[channel..].iter().step_by(c)));
        }
    }
    graph.floats(&[k * n, c, h, w], &values)
}

fn operation<'g>(graph: &'g Graph, op: &Op, x: &[Tensor<'g>]) -> Result<Value<'g>> {
    let (op_name, value) = (op.name(), |i: usize| x[i].value);
    Ok(match op {
        Op::Conv2d(op) => {
            let mut y = convolution(x[0], x[1], op.stride, op.pad)?;
            let (bias, adapter) = op.extras();
            if let Some((v, u)) = adapter {
                let t = convolution(x[0], x[v], op.stride, 0)?;
                let shape = Shape { k: x[0].shape.k.max(x[v].shape.k), c: x[v].shape.n, ..x[0].shape };
                y = y + convolution(Tensor { value: t, shape }, x[u], 1, 0)?;
            }
            if let Some(bias) = bias {
                alike(op_name, x[0].shape, x[bias].shape)?;
                y = y + value(bias);
            }
            activate(y, op.activation)
        }
        Op::GroupNorm(op) => {
            alike(op_name, x[0].shape, x[1].shape)?;
            // The channels of a group are one channel; the width stays an axis, so that the height can be told again.
            let grouped = value(0).reshape(&[0, op.groups as i64, -1, 0]);
            let [one, zero] = [1.0, 0.0].map(|v| graph.floats(&[op.groups], &vec![v; op.groups]));
            let epsilon = [("epsilon", Attribute::Float(group_norm::EPS as f32))];
            let normal = graph.node("InstanceNormalization", &[grouped, one, zero], &epsilon);
            let normal = normal.reshape(&[0, x[0].shape.c as i64, -1, 0]);
            activate(normal * value(1) + value(2), op.activation)
        }
        Op::Activate(op) => activate(value(0), op.activation),
        Op::Pool(op) => {
            let name = match op.kind {
                PoolKind::Max => "MaxPool",
                PoolKind::Mean => "AveragePool",
            };
            let two = || Attribute::Ints(&[2, 2]);
            graph.node(name, &[value(0)], &[("kernel_shape", two()), ("strides", two())])
        }
        Op::Resize(op) => {
            let from = x[0].shape;
            let whole = op.h % from.h == 0 && op.w % from.w == 0;
            expect(op_name, whole, || format!("{}x{} is no multiple of {from:?}, as ONNX needs", op.h, op.w))?;
            let scales = graph.floats(&[4], &[1.0, 1.0, (op.h / from.h) as f32, (op.w / from.w) as f32]);
            let mode = [
                ("mode", Attribute::Text("linear")),
                ("coordinate_transformation_mode", Attribute::Text("half_pixel")),
            ];
            graph.node("Resize", &[value(0), graph.absent(), scales], &mode)
        }
        Op::Concat(_) => {
            let same = x[0].shape.k == x[1].shape.k;
            expect(op_name, same, || format!("{:?} and {:?} differ in landmarks", x[0].shape, x[1].shape))?;
            graph.concat(&[value(0), value(1)], 1)
        }
        Op::Binary(op) => {
            alike(op_name, x[0].shape, x[1].shape)?;
            match op.kind {
                BinaryKind::Add => value(0) + value(1),
                BinaryKind::Sub => value(0) - value(1),
                BinaryKind::Mul => value(0) * value(1),
            }
        }
        Op::ScaleShift(op) => value(0) * op.scale + op.shift,
        Op::L2Normalize(_) => value(0) / (value(0).square().sum(&[1]) + l2_normalize::EPS as f32).apply("Sqrt"),
        Op::MatMul(op) => {
            let similarity = !op.transpose_a && op.transpose_b && x[1].shape.n == 1;
            expect(op_name, similarity, || "only the similarity of points is translated to ONNX".into())?;
            // Points as the weights of a 1x1 convolution.
            let Shape { k, w: points, c, .. } = x[1].shape;
            let weights = value(1).transpose(&[0, 3, 1, 2]).reshape(&[-1, c as i64, 1, 1]);
            convolution(x[0], Tensor { value: weights, shape: Shape { k, n: points, h: 1, w: 1, c } }, 1, 0)?
        }
        Op::SoftArgmax(op) => soft_argmax(x[0], op.radius),
        _ => return Err(Error::Shape { op: op_name, cause: "has no translation to ONNX".into() }),
    })
}

/// Refuses operands whose landmarks and samples, one axis in ONNX, do not broadcast as they do on the tape.
fn alike(op: &'static str, a: Shape, b: Shape) -> Result<()> {
    let fits = (a.k, a.n) == (b.k, b.n) || a.k * a.n == 1 || b.k * b.n == 1;
    expect(op, fits, || format!("{a:?} and {b:?} do not broadcast in ONNX"))
}

fn activate(x: Value, activation: Activation) -> Value {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.apply("Relu"),
        Activation::LeakyRelu => x.max(x * Activation::SLOPE as f32),
        Activation::Sigmoid => x.apply("Sigmoid"),
    }
}

fn convolution<'g>(x: Tensor<'g>, w: Tensor<'g>, stride: usize, pad: usize) -> Result<Value<'g>> {
    let ints = |value: usize| [value as i64; 4];
    let (pads, strides) = (ints(pad), ints(stride));
    let attributes = [("pads", Attribute::Ints(&pads)), ("strides", Attribute::Ints(&strides[..2]))];
    let graph = x.value.graph();
    if w.shape.k == 1 {
        return Ok(graph.node("Conv", &[x.value, w.value], &attributes));
    }
    expect("conv2d", x.shape.n == 1, || format!("{:?} is more than one image, as ONNX's groups need", x.shape))?;
    let [channels, k, c_out] = [x.shape.k * x.shape.c, w.shape.k, w.shape.n].map(|extent| extent as i64);
    let [pads, strides] = attributes;
    let groups = ("group", Attribute::Int(x.shape.k as i64));
    let y = graph.node("Conv", &[x.value.reshape(&[1, channels, 0, 0]), w.value], &[pads, strides, groups]);
    Ok(y.reshape(&[k, c_out, 0, 0]))
}

/// See [`crate::kernel::soft_argmax`]: `[k n, c, h, w] -> [k n, 4, 1, c]`.
fn soft_argmax<'g>(x: Tensor<'g>, radius: usize) -> Value<'g> {
    let (graph, one) = (x.value.graph(), |v: Value<'g>| v.reshape(&[0, 0, 1, 1]));
    let maps = x.value.reshape(&[0, 0, -1]);
    let axis = [("axis", Attribute::Int(2)), ("keepdims", Attribute::Int(1))];
    let top = one(graph.node("ArgMax", &[maps], &axis));
    let e = (x.value - one(maps.greatest(2))).apply("Exp");
    let (h, w) = (x.value.extents(&[2]), x.value.extents(&[3]));
    let (tx, ty) = (top.with("Mod", w), top / w);
    // From the peak, so that moments do not cancel in f32: a row and a column of pixels.
    let dy = (graph.range(h).reshape(&[1, 1, 1, -1]) - ty).cast(Type::Float);
    let dx = (graph.range(w).reshape(&[1, 1, -1, 1]) - tx).cast(Type::Float);
    // Sums over a map of e r c, for each r of two rows' weights and each c of two columns'.
    let moments = |rows: [Value<'g>; 2], columns: [Value<'g>; 2]| {
        let sums = graph.concat(&rows, 2).with("MatMul", e).with("MatMul", graph.concat(&columns, 3));
        move |row: i64, column: i64| sums.slices(2, &[row]).slices(3, &[column])
    };
    let reach = graph.floats(&[1], &[radius as f32 + 1.0]);
    let (mut px, mut py) = [0.0; 2].map(|v| graph.floats(&[1], &[v])).into();
    for _ in 0..soft_argmax::ROUNDS {
        let covered = |d: Value<'g>, p: Value<'g>| (reach - (d - p).apply("Abs")).max(0.0).min(1.0);
        let (rows, columns) = (covered(dy, py), covered(dx, px));
        let moment = moments([rows, rows * dy], [columns, columns * dx]);
        (px, py) = (moment(0, 1) / moment(0, 0), moment(1, 0) / moment(0, 0));
    }
    let beside = |d: Value<'g>, p: Value<'g>| [d * 0.0 + 1.0, (d - p).square()];
    let moment = moments(beside(dy, py), beside(dx, px));
    let all = moment(0, 0);
    let spread = ((moment(0, 1) + moment(1, 0)) / all).apply("Sqrt");
    let (x, y) = (tx.cast(Type::Float) + px, ty.cast(Type::Float) + py);
    graph.concat(&[x, y, graph.floats(&[1], &[1.0]) / all, spread], 2).transpose(&[0, 2, 3, 1])
}
