//! Convolution as a matrix product without an im2col buffer (CPU).
//!
//! In a zero-padded, channels-last image the taps of a kernel row are contiguous, `kw * c_in` numbers that start at the output
//! pixel's own offset, and kernel rows lie one image row apart. So the padded image itself, read with two-level strides, is
//! the left operand of the product with the weights (`cpu::gemm`), and with rows and columns exchanged that of the weight
//! gradient. Results go straight to where they belong.
//!
//! Work is cut into bands of output rows that fit the second-level cache.

use super::{Real, Shape};
use crate::cpu::gemm::{Grid, Left, Right, Start, gemm, padded};
use crate::cpu::scratch::with_scratch;
use std::ops::Range;

/// The shape of a convolution on one image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub h: usize,
    pub w: usize,
    pub ci: usize,
    pub kh: usize,
    pub kw: usize,
    pub stride: usize,
    pub pad: usize,
    /// Distance between the input's pixels once spread; what lies between is zero.
    pub dilation: usize,
    pub oh: usize,
    pub ow: usize,
}

impl Window {
    /// The convolution of images `x` by weights `w`: `[k, co, kh, kw, ci]`.
    pub fn new(x: Shape, w: Shape, stride: usize, pad: usize) -> Self {
        let (oh, ow) = ((x.h + 2 * pad - w.h) / stride + 1, (x.w + 2 * pad - w.w) / stride + 1);
        Self { h: x.h, w: x.w, ci: x.c, kh: w.h, kw: w.w, stride, pad, dilation: 1, oh, ow }
    }

    /// Its transpose: the convolution of gradients `dy`, spread by the stride, by flipped weights, to the input of `h x w`.
    pub fn transposed(dy: Shape, w: Shape, stride: usize, pad: usize, h: usize, w_in: usize) -> Self {
        let pad = w.h - 1 - pad;
        Self { h: dy.h, w: dy.w, ci: w.n, kh: w.h, kw: w.w, stride: 1, pad, dilation: stride, oh: h, ow: w_in }
    }

    /// Columns of the left operand: numbers of a weight for one output channel.
    pub fn taps(&self) -> usize {
        self.kh * self.kw * self.ci
    }

    /// Whether the image is its own left operand.
    fn direct(&self) -> bool {
        (self.kh, self.kw, self.pad, self.stride, self.dilation) == (1, 1, 0, 1, 1)
    }

    fn padded_width(&self) -> usize {
        (self.ow - 1) * self.stride + self.kw
    }

    /// Elements of an image row under the window.
    fn line(&self) -> usize {
        self.padded_width() * self.ci
    }

    /// Output rows of a band; the last of an image may have fewer.
    pub fn band_rows(&self) -> usize {
        const ELEMENTS: usize = 1 << 15;
        let most = (ELEMENTS / (self.line() * self.stride)).clamp(1, self.oh);
        // Bands of one size: a last one of a few rows would be mostly border.
        self.oh.div_ceil(self.oh.div_ceil(most))
    }

    /// How many bands of output rows an image has.
    pub fn bands(&self) -> usize {
        self.oh.div_ceil(self.band_rows())
    }

    /// The output rows of a band.
    pub fn band(&self, index: usize) -> Range<usize> {
        let rows = self.band_rows();
        index * rows..((index + 1) * rows).min(self.oh)
    }

    fn band_len(&self, rows: &Range<usize>) -> usize {
        if self.direct() { 0 } else { ((rows.len() - 1) * self.stride + self.kh) * self.line() }
    }

    /// Elements that [`Window::forward`] works in, with an adapter of this rank.
    pub fn forward_scratch(&self, rank: usize) -> usize {
        let rows = self.band(0);
        self.band_len(&rows) + rows.len() * self.ow * padded(rank)
    }

    /// Elements that [`Window::grad_weight`] works in.
    pub fn grad_weight_scratch(&self, co: usize) -> usize {
        let rows = self.band(0);
        self.band_len(&rows) + self.packed_len(&rows, co)
    }

    /// Elements of a band's gradients as a right operand, unless they are one where they lie.
    fn packed_len(&self, rows: &Range<usize>, co: usize) -> usize {
        if padded(co) == co { 0 } else { rows.len() * self.ow * padded(co) }
    }

    /// Copies the input rows under a band of output rows, spread and with their zero border.
    fn pad_band<T: Real>(&self, x: &[T], rows: &Range<usize>, band: &mut [T]) {
        let (left, ci, d) = (self.pad * self.ci, self.ci, self.dilation);
        for (i, row) in band.chunks_exact_mut(self.line()).enumerate() {
            let y = (rows.start * self.stride + i).wrapping_sub(self.pad);
            if !y.is_multiple_of(d) || y / d >= self.h {
                row.fill(T::zero());
                continue;
            }
            let from = &x[y / d * self.w * ci..][..self.w * ci];
            if d == 1 {
                let inside = from.len().min(row.len() - left);
                row[..left].fill(T::zero());
                row[left..left + inside].copy_from_slice(&from[..inside]);
                row[left + inside..].fill(T::zero());
            } else {
                row.fill(T::zero());
                let to = row[left..].chunks_mut(ci).step_by(d);
                to.zip(from.chunks_exact(ci)).for_each(|(to, from)| to.copy_from_slice(from));
            }
        }
    }

    /// Calls `f` with the left operand of a band of output rows.
    fn with_left<T: Real>(&self, x: &[T], rows: &Range<usize>, scratch: &mut [T], f: impl FnOnce(Left<T>)) {
        let data = if self.direct() {
            &x[rows.start * self.w * self.ci..rows.end * self.w * self.ci]
        } else {
            self.pad_band(x, rows, scratch);
            &*scratch
        };
        let pixels = Grid { inner: self.ow, near: self.stride * self.ci, far: self.stride * self.line() };
        let taps = Grid { inner: self.kw * self.ci, near: 1, far: self.line() };
        f(Left { data, rows: pixels, columns: taps });
    }

    /// Convolves a band of output rows into `y: [rows, ow, co]` by packed weights `[taps, padded(co)]`.
    pub fn forward<T: Real>(
        &self,
        x: &[T],
        weight: &[T],
        bias: Option<&[T]>,
        adapter: Option<Adapter<T>>,
        rows: Range<usize>,
        y: &mut [T],
    ) {
        let pixels = rows.len() * self.ow;
        let co = y.len() / pixels;
        let band_len = self.band_len(&rows);
        // Whole vectors of t: the columns beyond the rank are zero.
        let width = padded(adapter.map_or(0, |adapter| adapter.rank));
        with_scratch(band_len + pixels * width, |scratch: &mut [T]| {
            let (band, t) = scratch.split_at_mut(band_len);
            self.with_left(x, &rows, band, |left| {
                let start = bias.map_or(Start::Zero, Start::Row);
                gemm([pixels, co, self.taps()], left, Right { data: weight, row: padded(co) }, start, y);
                let Some(Adapter { rank, v, u }) = adapter else { return };
                // t = v x at the kernel's centre, y += u t.
                let centre = &left.data[(self.kh / 2 * self.padded_width() + self.kw / 2) * self.ci..];
                let left = Left { data: centre, columns: Grid::line(self.ci, 1), ..left };
                gemm([pixels, width, self.ci], left, Right { data: v, row: width }, Start::Zero, t);
                let left = Left { data: &*t, rows: Grid::line(pixels, width), columns: Grid::line(rank, 1) };
                gemm([pixels, co, rank], left, Right { data: u, row: padded(co) }, Start::Sum, y);
            });
        });
    }

    /// Adds what a band of output rows of one image contributes, `x^T dy`, to the transposed weight gradient `[kh, kw, ci, co]`.
    pub fn grad_weight<T: Real>(&self, x: &[T], dy: &[T], rows: Range<usize>, dw: &mut [T]) {
        let co = dw.len() / self.taps();
        let width = padded(co);
        let (pixels, band_len, packed_len) = (rows.len() * self.ow, self.band_len(&rows), self.packed_len(&rows, co));
        let dy = &dy[rows.start * self.ow * co..rows.end * self.ow * co];
        with_scratch(band_len + packed_len, |scratch: &mut [T]| {
            let (band, packed) = scratch.split_at_mut(band_len);
            for (to, from) in packed.chunks_exact_mut(width).zip(dy.chunks_exact(co)) {
                to[..co].copy_from_slice(from);
                to[co..].fill(T::zero());
            }
            let right = Right { data: if packed_len == 0 { dy } else { &*packed }, row: width };
            self.with_left(x, &rows, band, |left| {
                let transposed = Left { rows: left.columns, columns: left.rows, ..left };
                gemm([self.taps(), co, pixels], transposed, right, Start::Sum, dw);
            });
        });
    }
}

/// A rank-r adapter, packed: `v: [ci, padded(rank)]`, `u: [rank, padded(co)]`.
#[derive(Clone, Copy)]
pub(crate) struct Adapter<'a, T> {
    pub rank: usize,
    pub v: &'a [T],
    pub u: &'a [T],
}
