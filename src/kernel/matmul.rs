//! A matrix product for each landmark and sample.
//!
//! A tensor `[k, n, h, w, c]` is read as one matrix a landmark and sample, its pixels the rows and its channels the columns.
//! `f q^T` is the similarity of point features `q: [k, n, 1, p, c]` against a feature map `f: [k, n, h, w, c]`; its two
//! gradients are products too, so that one kernel serves all three.

use super::tensor::expect;
use super::tile::Tile;
use super::{Bind, Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape, word};
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

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let (a, b, to) = (x[0].shape, x[1].shape, y[0].shape);
        let ((rows, length), (_, columns)) = (extent(a, self.transpose_a), extent(b, self.transpose_b));
        let tile = Tile::small(match (self.transpose_a, self.transpose_b) {
            (false, false) => "matmul",
            (false, true) => "matmul_b_transposed",
            (true, false) => "matmul_a_transposed",
            (true, true) => "matmul_both_transposed",
        });
        let [row_tiles, column_tiles] = tile.counts(rows, columns);
        let groups = to.k * to.n * row_tiles * column_tiles;
        // Elements between neighbouring rows and columns; between samples, 0 where they share one.
        let strides = |s: Shape, transposed| if transposed { [1, s.c] } else { [s.c, 1] };
        let sample = |s: Shape| if s.n == 1 { 0 } else { s.image_len() };
        let [a_row, a_inner] = strides(a, self.transpose_a);
        let [b_inner, b_column] = strides(b, self.transpose_b);
        let params = shaders::matmul::Params {
            groups: word(groups),
            row_tiles: word(row_tiles),
            column_tiles: word(column_tiles),
            n: word(to.n),
            rows: word(rows),
            columns: word(columns),
            length: word(length),
            a_k: word(x[0].k_stride),
            a_n: word(sample(a)),
            a_row: word(a_row),
            a_inner: word(a_inner),
            b_k: word(x[1].k_stride),
            b_n: word(sample(b)),
            b_inner: word(b_inner),
            b_column: word(b_column),
            y_k: word(y[0].k_stride),
        };
        vec![Dispatch::new(tile.shader, params, &[Bind::In(0), Bind::In(1), Bind::Out(0)], groups)]
    }

    fn flops(&self, x: &[Shape], y: &[Shape]) -> u64 {
        2 * (y[0].len() * extent(x[0], self.transpose_a).1) as u64
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
        ]
    }
}
