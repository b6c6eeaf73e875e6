//! Convolution as matrix products without an im2col buffer (CPU).
//!
//! In a zero-padded, channels-last image the `kw` taps of a kernel row are contiguous: `kw * c_in` numbers that start at the
//! output pixel's own offset. So the image itself, read as a matrix whose rows are one pixel apart (and overlap), is the left
//! operand of the product with the weights of that kernel row, and a convolution is `kh` products that accumulate. Rows that
//! straddle the right border are computed and thrown away. With a stride, each output row is a product of its own.
//!
//! Work is cut into bands of output rows that fit the second-level cache.

use super::{Real, Shape};
use crate::cpu::gemm::{Matrix, gemm};
use crate::cpu::scratch::with_scratch;
use std::ops::Range;

/// The shape of a convolution on one image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub h: usize,
    pub w: usize,
    pub ci: usize,
    pub co: usize,
    pub kh: usize,
    pub kw: usize,
    pub stride: usize,
    pub pad: usize,
}

impl Window {
    /// The convolution of images `x` by weights `w`: `[k, co, kh, kw, ci]`.
    pub fn new(x: Shape, w: Shape, stride: usize, pad: usize) -> Self {
        Self { h: x.h, w: x.w, ci: x.c, co: w.n, kh: w.h, kw: w.w, stride, pad }
    }

    pub fn oh(&self) -> usize {
        (self.h + 2 * self.pad - self.kh) / self.stride + 1
    }

    pub fn ow(&self) -> usize {
        (self.w + 2 * self.pad - self.kw) / self.stride + 1
    }

    fn padded_width(&self) -> usize {
        self.w + 2 * self.pad
    }

    /// Row distance, in pixels, of results in a product's output.
    fn result_width(&self) -> usize {
        if self.stride == 1 { self.padded_width() } else { self.ow() }
    }

    /// Bands of output rows.
    pub fn bands(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        const ELEMENTS: usize = 1 << 15;
        let (oh, per_row) = (self.oh(), self.padded_width() * self.ci.max(self.co) * self.stride);
        let rows = (ELEMENTS / per_row.max(1)).clamp(1, oh.max(1));
        (0..oh).step_by(rows).map(move |start| start..(start + rows).min(oh))
    }

    fn input_rows(&self, rows: &Range<usize>) -> usize {
        (rows.len() - 1) * self.stride + self.kh
    }

    /// Copies the input rows under a band of output rows, with their zero border.
    fn pad_band<T: Real>(&self, x: &[T], rows: &Range<usize>, band: &mut [T]) {
        let (wp, side) = (self.padded_width(), self.pad * self.ci);
        for (i, row) in band.chunks_exact_mut(wp * self.ci).enumerate() {
            let y = (rows.start * self.stride + i).wrapping_sub(self.pad);
            if y >= self.h {
                row.fill(T::zero());
                continue;
            }
            let width = self.w * self.ci;
            row[..side].fill(T::zero());
            row[side..side + width].copy_from_slice(&x[y * width..][..width]);
            row[side + width..].fill(T::zero());
        }
    }

    /// One product for each kernel row (and output row, with a stride): calls
    /// `product(result row start in pixels, pixels, operand start, kernel row)`.
    fn products(&self, rows: usize, mut product: impl FnMut(usize, usize, usize, usize)) {
        let wp = self.padded_width();
        for ky in 0..self.kh {
            if self.stride == 1 {
                product(0, rows * wp - (self.kw - 1), ky * wp * self.ci, ky);
            } else {
                for row in 0..rows {
                    product(row * self.ow(), self.ow(), (row * self.stride + ky) * wp * self.ci, ky);
                }
            }
        }
    }

    /// Convolves a band of output rows and hands each output row `[ow, co]` to `finish(oy, row)`.
    pub fn forward<T: Real>(&self, x: &[T], weight: &[T], rows: Range<usize>, mut finish: impl FnMut(usize, &[T])) {
        let taps = self.kw * self.ci;
        let per_output = self.kh * taps;
        let wr = self.result_width();
        let direct = self.kh == 1 && self.kw == 1 && self.pad == 0 && self.stride == 1;
        let band_len = if direct { 0 } else { self.input_rows(&rows) * self.padded_width() * self.ci };
        with_scratch(band_len + rows.len() * wr * self.co, |scratch: &mut [T]| {
            let (band, result) = scratch.split_at_mut(band_len);
            let band: &[T] = if direct {
                &x[rows.start * self.w * self.ci..rows.end * self.w * self.ci]
            } else {
                self.pad_band(x, &rows, band);
                band
            };
            self.products(rows.len(), |to, pixels, from, ky| {
                gemm(
                    [pixels, self.co, taps],
                    Matrix::new(&band[from..], self.stride * self.ci, 1),
                    Matrix::new(&weight[ky * taps..], 1, per_output),
                    &mut result[to * self.co..],
                    self.co,
                    ky > 0,
                );
            });
            for (i, oy) in rows.clone().enumerate() {
                finish(oy, &result[i * wr * self.co..][..self.ow() * self.co]);
            }
        });
    }

    /// Adds one image's contribution `dy^T x` to the weight gradient `[co, kh, kw, ci]`.
    pub fn grad_weight<T: Real>(&self, x: &[T], dy: &[T], dw: &mut [T]) {
        let taps = self.kw * self.ci;
        let per_output = self.kh * taps;
        let (wr, ow) = (self.result_width(), self.ow());
        for rows in self.bands() {
            let band_len = self.input_rows(&rows) * self.padded_width() * self.ci;
            with_scratch(band_len + rows.len() * wr * self.co, |scratch: &mut [T]| {
                let (band, spread) = scratch.split_at_mut(band_len);
                self.pad_band(x, &rows, band);
                // dy on the padded row grid, zero where rows straddle the border.
                for (row, oy) in spread.chunks_exact_mut(wr * self.co).zip(rows.clone()) {
                    let (inside, border) = row.split_at_mut(ow * self.co);
                    inside.copy_from_slice(&dy[oy * ow * self.co..][..ow * self.co]);
                    border.fill(T::zero());
                }
                self.products(rows.len(), |to, pixels, from, ky| {
                    gemm(
                        [self.co, taps, pixels],
                        Matrix::new(&spread[to * self.co..], 1, self.co),
                        Matrix::new(&band[from..], self.stride * self.ci, 1),
                        &mut dw[ky * taps..],
                        per_output,
                        true,
                    );
                });
            });
        }
    }
}
