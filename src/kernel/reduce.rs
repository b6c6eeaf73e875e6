//! Sums over any axes, in an order fixed by shapes: the twin sums by columns and slices, the shader by threads, a tree of threads,
//! and slices.

use super::columns::Columns;
use super::{Bind, Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The sum over every axis that is not kept; a summed axis has extent 1. Input: `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sum {
    /// Which of `k, n, h, w, c` are kept.
    pub keep: [bool; 5],
}

/// Neighbours that are all kept or all summed: how many, and how far apart in input and output.
#[derive(Clone, Copy)]
struct Axis {
    extent: usize,
    x: usize,
    y: usize,
}

impl Axis {
    const ONE: Self = Self { extent: 1, x: 0, y: 0 };
}

impl Sum {
    /// The kept and the summed axes, slowest first; of five axes, no more than three remain when neighbours are merged.
    fn axes(&self, x: Operand, y: Operand) -> ([Axis; 3], [Axis; 3]) {
        let strides = |o: Operand| [o.k_stride, o.shape.image_len(), o.shape.w * o.shape.c, o.shape.c, 1];
        let (xs, ys) = (strides(x), strides(y));
        let mut axes = [Vec::<Axis>::new(), Vec::new()];
        for (i, &extent) in x.shape.dims().iter().enumerate().filter(|&(_, &extent)| extent > 1) {
            let axes = &mut axes[usize::from(!self.keep[i])];
            let axis = Axis { extent, x: xs[i], y: if self.keep[i] { ys[i] } else { 0 } };
            match axes.last_mut().filter(|last| (last.x, last.y) == (extent * axis.x, extent * axis.y)) {
                Some(last) => *last = Axis { extent: last.extent * extent, ..axis },
                None => axes.push(axis),
            }
        }
        let three =
            |axes: &[Axis]| std::array::from_fn(|i| (i + axes.len()).checked_sub(3).map_or(Axis::ONE, |i| axes[i]));
        (three(&axes[0]), three(&axes[1]))
    }

    /// Neighbouring outputs that a workgroup takes, a power of two. Like [`Sum::slices`], it does not depend on how many landmarks
    /// there are, so that a landmark's sums are the same in any group.
    fn width(&self, x: Shape) -> usize {
        let fastest = (1..5).rev().find(|&i| x.dims()[i] > 1);
        fastest.filter(|&i| self.keep[i]).map_or(1, |i| x.dims()[i].next_power_of_two().min(64))
    }

    /// Ranges that the terms are cut into: about 16 terms a thread, no more than fill a large device.
    fn slices(&self, x: Shape) -> usize {
        let product = |kept: bool| (0..5).filter(|&i| self.keep[i] == kept).map(|i| x.dims()[i]).product::<usize>();
        let outputs = product(true) / if self.keep[0] { x.k } else { 1 };
        let width = self.width(x);
        let most = (1024 / outputs.div_ceil(width)).clamp(1, 256);
        product(false).div_ceil(THREADS / width * 16).min(most)
    }
}

/// Threads of the shader's workgroup.
const THREADS: usize = 256;

fn params(kept: [Axis; 3], summed: [Axis; 3], outputs: usize, width: usize, slices: usize) -> shaders::sum::Params {
    shaders::sum::Params {
        outputs: word(outputs),
        terms: word(summed.iter().map(|axis| axis.extent).product()),
        slices: word(slices),
        width: word(width),
        y_slice: word(outputs),
        out_1: word(kept[1].extent),
        out_2: word(kept[2].extent),
        term_1: word(summed[1].extent),
        term_2: word(summed[2].extent),
        x_out_0: word(kept[0].x),
        x_out_1: word(kept[1].x),
        x_out_2: word(kept[2].x),
        y_out_0: word(kept[0].y),
        y_out_1: word(kept[1].y),
        y_out_2: word(kept[2].y),
        x_term_0: word(summed[0].x),
        x_term_1: word(summed[1].x),
        x_term_2: word(summed[2].x),
    }
}

impl Kernel for Sum {
    const NAME: &'static str = "sum";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let dims = x[0].dims();
        Ok(vec![std::array::from_fn(|i| if self.keep[i] { dims[i] } else { 1 }).into()])
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        let zeros = tape.push1(super::elementwise::Fill { shape: tape.shape(x[0]), value: 0.0 }, &[])?;
        Ok(vec![Some(tape.add(zeros, dy)?)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], scratch: &mut [T]) {
        let (images, to) = (Images::new(self, x[0].shape()), y[0].shape());
        let Images { run, rows, .. } = images;
        let slices = self.slices(x[0].shape());
        if slices == 1 {
            // Runs as long as a sample are cut, so that there is work for all threads.
            let piece = if run == to.image_len() { run.min(PIECE) } else { run };
            return y[0].chunks(piece).for_each(|(sample, index, out)| {
                let blocks = to.image_len() / run;
                let (block, first) = if piece == run { (index, 0) } else { (0, index * piece) };
                let (k, n) = (sample / to.n, sample % to.n);
                images.sum(&x[0], k, n * blocks + block, 0..rows, first, out);
            });
        }
        let blocks = to.slice_len() / run;
        scratch[..slices * to.len()].par_chunks_mut(run).enumerate().for_each(|(i, out)| {
            let (slice, k, block) = (i / (to.k * blocks), i / blocks % to.k, i % blocks);
            images.sum(&x[0], k, block, slice * rows / slices..(slice + 1) * rows / slices, 0, out);
        });
        for (k, out) in y[0].slices().enumerate() {
            for (i, out) in out.iter_mut().enumerate() {
                let partials = scratch[k * to.slice_len() + i..slices * to.len()].iter().step_by(to.len());
                *out = partials.copied().sum();
            }
        }
    }

    /// Partial sums, where the terms are cut.
    fn scratch(&self, x: &[Shape], y: &[Shape]) -> usize {
        match self.slices(x[0]) {
            1 => 0,
            slices => slices * y[0].len(),
        }
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let (x, y) = (x[0], y[0]);
        let (kept, summed) = self.axes(x, y);
        let (outputs, width, slices) = (y.shape.len(), self.width(x.shape), self.slices(x.shape));
        let groups = outputs.div_ceil(width);
        let launch = |kept, summed, slices, from, to| {
            let params = params(kept, summed, outputs, width, slices);
            Dispatch::new("sum", params, &[from, to], groups * slices)
        };
        if slices == 1 {
            return vec![launch(kept, summed, 1, Bind::In(0), Bind::Out(0))];
        }
        // Partial sums lie densely, slice after slice.
        let [_, middle, inner] = kept.map(|axis| axis.extent);
        let dense = [middle * inner, inner, 1];
        let into = std::array::from_fn(|i| Axis { y: dense[i], ..kept[i] });
        let from = std::array::from_fn(|i| Axis { x: dense[i], ..kept[i] });
        let partials = [Axis::ONE, Axis::ONE, Axis { extent: slices, x: outputs, y: 0 }];
        vec![
            launch(into, summed, slices, Bind::In(0), Bind::Scratch),
            launch(from, partials, 1, Bind::Scratch, Bind::Out(0)),
        ]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        let keeps = [
            [false, false, false, false, false],
            [true, false, false, false, true],
            [false, false, false, false, true],
            [false, true, true, true, true],
            [true, true, false, false, false],
            [true, false, true, false, true],
        ];
        let shapes = [[1, 1, 1, 1, 1], [3, 2, 5, 4, 7], [2, 3, 19, 17, 3]];
        keeps.into_iter().flat_map(|keep| shapes.map(|x| Sample::normal(Self { keep }, &[x]))).collect()
    }
}

/// What the twin sums: images `[rows, run]` that lie without gaps in a landmark's slice, each row a run of neighbours that are all
/// kept. An output block is a run; it may sum over several images.
struct Images<'a> {
    op: &'a Sum,
    x: Shape,
    run: usize,
    rows: usize,
    /// Axes from 1 to this one lie around the images.
    outer: usize,
}

/// Elements of a run that are a piece of work of their own.
const PIECE: usize = 4096;

impl<'a> Images<'a> {
    fn new(op: &'a Sum, x: Shape) -> Self {
        let dims = x.dims();
        // The first of the axes before `end` that are all kept, or all summed.
        let reach = |first: usize, end: usize, kept: bool| {
            (first..end).rev().take_while(|&i| op.keep[i] == kept || dims[i] == 1).last().unwrap_or(end)
        };
        let inner = reach(2, 5, true);
        let outer = reach(1, inner, false);
        Self { op, x, run: dims[inner..].iter().product(), rows: dims[outer..inner].iter().product(), outer }
    }

    /// Where the kept or the summed axes around the images, taken as one, have this index.
    fn offset(&self, kept: bool, mut index: usize) -> usize {
        let dims = self.x.dims();
        let mut offset = 0;
        for axis in (1..self.outer).rev().filter(|&axis| self.op.keep[axis] == kept) {
            offset += index % dims[axis] * dims[axis + 1..].iter().product::<usize>();
            index /= dims[axis];
        }
        offset
    }

    /// Sums a range of each image's rows into `out`: block `block` of landmark `k`, from its element `first` on.
    fn sum<T: Real>(&self, x: &In<T>, k: usize, block: usize, rows: Range<usize>, first: usize, out: &mut [T]) {
        let landmarks = if self.op.keep[0] { k..k + 1 } else { 0..self.x.k };
        let summed = |axis: &usize| !self.op.keep[*axis];
        let images: usize = (1..self.outer).filter(summed).map(|axis| self.x.dims()[axis]).product();
        out.fill(T::zero());
        for (k, image) in landmarks.flat_map(|k| (0..images).map(move |image| (k, image))) {
            let start = self.offset(true, block) + self.offset(false, image);
            let image = &x.slice(k)[start..][rows.start * self.run..rows.end * self.run];
            for columns in Columns::of(self.run, first..first + out.len()) {
                let [sums] = columns.sums(image, image, |_, v, _| [v]);
                let to = &mut out[columns.channels().start - first..][..columns.channels().len()];
                to.iter_mut().zip(&sums).for_each(|(to, &sum)| *to += sum);
            }
        }
    }
}
