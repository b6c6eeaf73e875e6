//! A matrix product for each landmark and sample.
//!
//! A tensor `[k, n, h, w, c]` is read as one matrix a landmark and sample, its pixels the rows and its channels the columns.
//! `f q^T` is the similarity of point features `q: [k, n, 1, p, c]` against a feature map `f: [k, n, h, w, c]`; its two
//! gradients are products too, so that one kernel serves all three.

use super::tensor::expect;
use super::tile::{FORMS, Product, STEP, Sizes, Tile};
use super::{Bind, Dispatch, Half, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::cpu::gemm::{Grid, Left, Right, Start, gemm, pack_transposed, padded};
use crate::cpu::scratch::with_scratch;
use crate::gpu::shaders;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// `a b`, either of them transposed. The landmark and batch extents broadcast. Inputs: `a, b`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatMul {
    /// Whether `a` is transposed.
    pub transpose_a: bool,
    /// Whether `b` is transposed.
    pub transpose_b: bool,
}

/// Rows and columns of a tensor as a matrix.
fn extent(s: Shape, transposed: bool) -> (usize, usize) {
    if transposed { (s.c, s.pixels()) } else { (s.pixels(), s.c) }
}

fn left<T: Real>(data: &[T], s: Shape, transposed: bool) -> Left<'_, T> {
    let (rows, columns) = (Grid::line(s.pixels(), s.c), Grid::line(s.c, 1));
    if transposed { Left { data, rows: columns, columns: rows } } else { Left { data, rows, columns } }
}

/// Elements of the matrix as a right operand, unless it is one where it lies.
fn right_len(s: Shape, transposed: bool) -> usize {
    let (k, n) = extent(s, transposed);
    if !transposed && padded(n) == n { 0 } else { k * padded(n) }
}

/// Calls `f` with the matrix as a right operand of `n` columns, copied if it does not lie as one.
fn with_right<T: Real>(data: &[T], s: Shape, transposed: bool, f: impl FnOnce(Right<T>)) {
    let (k, n) = extent(s, transposed);
    let row = padded(n);
    with_scratch(right_len(s, transposed), |packed: &mut [T]| {
        if packed.is_empty() {
            return f(Right { data, row });
        }
        if transposed {
            pack_transposed(data, n, k, packed);
        } else {
            for (to, from) in packed.chunks_exact_mut(row).zip(data.chunks_exact(n)) {
                to[..n].copy_from_slice(from);
                to[n..].fill(T::zero());
            }
        }
        f(Right { data: packed, row });
    });
}

/// What the variants without transposition are called.
pub(super) const PLAIN: &str = "matmul";

/// Where an operand's elements are: those of neighbouring landmarks, samples (0 where they share one), rows and columns apart.
pub(super) struct Factor {
    pub k: usize,
    pub n: usize,
    pub along: [usize; 2],
}

/// The launch of `[k, n]` products of `[rows, columns, length]`.
pub(super) fn dispatch(
    tile: Tile,
    [k, n]: [usize; 2],
    [rows, columns, length]: [usize; 3],
    a: Factor,
    b: Factor,
    y_k: usize,
) -> Dispatch {
    let [row_tiles, column_tiles] = tile.counts(rows, columns);
    let groups = k * n * row_tiles * column_tiles;
    let params = shaders::matmul::Params {
        groups: word(groups),
        row_tiles: word(row_tiles),
        column_tiles: word(column_tiles),
        n: word(n),
        rows: word(rows),
        columns: word(columns),
        length: word(length),
        a_k: word(a.k),
        a_n: word(a.n),
        a_row: word(a.along[0]),
        a_inner: word(a.along[1]),
        b_k: word(b.k),
        b_n: word(b.n),
        b_inner: word(b.along[0]),
        b_column: word(b.along[1]),
        y_k: word(y_k),
    };
    Dispatch::new(tile.shader, params, &[Bind::In(0), Bind::In(1), Bind::Out(0)], groups)
}

impl Kernel for MatMul {
    const NAME: &'static str = "matmul";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let (a, b) = (x[0], x[1]);
        let ((m, inner), (rows, cols)) = (extent(a, self.transpose_a), extent(b, self.transpose_b));
        let fits = inner == rows && (a.n == b.n || a.n == 1 || b.n == 1);
        expect(Self::NAME, fits, || format!("{a:?} and {b:?} do not multiply as {self:?}"))?;
        let (h, w) = if self.transpose_a { (1, m) } else { (a.h, a.w) };
        Ok(vec![Shape { k: Shape::broadcast_k(Self::NAME, x)?, n: a.n.max(b.n), h, w, c: cols }])
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        let mut product = |a, b, transpose_a, transpose_b, like| {
            let gradient = tape.push1(Self { transpose_a, transpose_b }, &[a, b])?;
            // The product's rows lie along w; the operand's shape may spread them over h and w.
            let (from, to) = (tape.shape(gradient), tape.shape(like));
            expect(Self::NAME, (from.h, from.w) == (to.h, to.w), || format!("no gradient from {from:?} to {to:?}"))?;
            Ok(Some(gradient))
        };
        let (a, b) = (x[0], x[1]);
        Ok(match (self.transpose_a, self.transpose_b) {
            (false, false) => vec![product(dy, b, false, true, a)?, product(a, dy, true, false, b)?],
            (false, true) => vec![product(dy, b, false, false, a)?, product(dy, a, true, false, b)?],
            (true, false) => vec![product(b, dy, false, true, a)?, product(a, dy, false, false, b)?],
            (true, true) => vec![product(b, dy, true, true, a)?, product(dy, a, true, true, b)?],
        })
    }

    fn thread_scratch(&self, x: &[Shape], _: &[Shape]) -> usize {
        right_len(x[1], self.transpose_b)
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let (a, b) = (x[0].shape(), x[1].shape());
        let ((m, inner), (_, cols)) = (extent(a, self.transpose_a), extent(b, self.transpose_b));
        let batch = y[0].shape().n;
        y[0].images().enumerate().for_each(|(i, y)| {
            let (k, n) = (i / batch, i % batch);
            let left = left(x[0].image(k, n), a, self.transpose_a);
            with_right(x[1].image(k, n), b, self.transpose_b, |right| {
                gemm([m, cols, inner], left, right, Start::Zero, y);
            });
        });
    }

    fn tiles(&self, x: &[Operand], y: &[Operand]) -> Vec<Tile> {
        let (a, b, to) = (x[0].shape, x[1].shape, y[0].shape);
        let ((rows, length), (_, columns)) = (extent(a, self.transpose_a), extent(b, self.transpose_b));
        let fours = [a.c, b.c, x[0].k_stride, x[1].k_stride, y[0].k_stride].iter().all(|n| n.is_multiple_of(4));
        let product = Product { count: to.k * to.n, rows, columns, fours, steps: length.is_multiple_of(STEP) };
        let kernel = match (self.transpose_a, self.transpose_b) {
            (false, false) => PLAIN,
            (false, true) => "matmul_b_transposed",
            (true, false) => "matmul_a_transposed",
            (true, true) => "matmul_both_transposed",
        };
        // With `a` transposed it is a gradient by a few points.
        product.variants(kernel, if self.transpose_a { Sizes::Small } else { Sizes::Tall }, FORMS)
    }

    fn gpu_tiled(&self, tile: Tile, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let (a, b, to) = (x[0].shape, x[1].shape, y[0].shape);
        let ((rows, length), (_, columns)) = (extent(a, self.transpose_a), extent(b, self.transpose_b));
        let factor = |operand: &Operand, transposed: bool| {
            let s = operand.shape;
            let n = if s.n == 1 { 0 } else { s.image_len() };
            Factor { k: operand.k_stride, n, along: if transposed { [1, s.c] } else { [s.c, 1] } }
        };
        let (a, b) = (factor(&x[0], self.transpose_a), factor(&x[1], self.transpose_b));
        vec![dispatch(tile, [to.k, to.n], [rows, columns, length], a, b, y[0].k_stride)]
    }

    fn half(&self) -> Option<Half> {
        Some(Half::Reads)
    }

    fn flops(&self, x: &[Shape], y: &[Shape]) -> u64 {
        2 * y[0].len() as u64 * extent(x[0], self.transpose_a).1 as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |transpose_a, transpose_b, a, b| Sample::normal(Self { transpose_a, transpose_b }, &[a, b]);
        vec![
            case(false, true, [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]),
            case(false, true, [1, 2, 7, 5, 6], [3, 2, 1, 9, 6]),
            case(false, true, [1, 3, 9, 17, 32], [1, 1, 1, 19, 32]),
            case(false, false, [2, 3, 4, 5, 6], [1, 3, 1, 6, 7]),
            case(true, false, [2, 1, 1, 35, 4], [2, 3, 1, 35, 5]),
            case(true, true, [1, 2, 1, 6, 3], [2, 2, 1, 5, 6]),
            case(true, false, [1, 2, 1, 33, 34], [2, 1, 1, 33, 37]),
            // In fours; then what all tiles cover exactly.
            case(false, true, [1, 2, 5, 9, 36], [2, 1, 1, 19, 36]),
            case(false, false, [2, 2, 5, 9, 20], [1, 1, 1, 20, 68]),
            case(true, false, [1, 1, 1, 20, 8], [1, 1, 1, 20, 12]),
            case(true, true, [1, 1, 1, 20, 8], [1, 1, 1, 12, 20]),
            case(false, true, [1, 1, 8, 16, 32], [1, 1, 1, 64, 32]),
            case(false, false, [1, 1, 8, 16, 32], [1, 1, 1, 32, 64]),
            case(true, false, [1, 1, 1, 16, 32], [1, 1, 1, 16, 32]),
            case(true, true, [1, 1, 1, 16, 32], [1, 1, 1, 32, 16]),
        ]
    }
}
