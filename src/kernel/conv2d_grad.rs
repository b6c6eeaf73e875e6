//! Gradients of the convolution (without its epilogue; the tape differentiates bias, adapter and activation apart).
//!
//! ```text
//! dx[k,n,y,x,i]      = sum_{oy,ox,o : y = s oy + ky - p, x = s ox + kx - p} dy[k,n,oy,ox,o] w[k,o,ky,kx,i]
//! dw[k,o,ky,kx,i]    = sum_{n,oy,ox} dy[k,n,oy,ox,o] x[k,n, s oy + ky - p, s ox + kx - p, i]
//! ```
//!
//! A weight shared by all landmarks also sums over `k`: to its gradient the landmark axis is more batch.

use super::padded::Window;
use super::tensor::expect;
use super::{Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape};
use crate::Result;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Gradient with respect to the input. Inputs: `dy: [k, n, oh, ow, co]`, `w: [k, co, kh, kw, ci]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv2dGradInput {
    /// Stride of the convolution.
    pub stride: usize,
    /// Padding of the convolution.
    pub pad: usize,
    /// Height of its input.
    pub h: usize,
    /// Width of its input.
    pub w: usize,
}

impl Conv2dGradInput {
    /// Rows and columns of `dy` once spread to stride 1, with the rest that no output reads.
    fn spread(&self, w: Shape) -> (usize, usize) {
        (self.h + 2 * self.pad + 1 - w.h, self.w + 2 * self.pad + 1 - w.w)
    }
}

impl Kernel for Conv2dGradInput {
    const NAME: &'static str = "conv2d_grad_input";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let (dy, w) = (x[0], x[1]);
        let k = Shape::broadcast_k(Self::NAME, x)?;
        let input = Shape { k, n: dy.n, h: self.h, w: self.w, c: w.c };
        let win = Window::new(input, w, self.stride, self.pad);
        let fits = (dy.h, dy.w, dy.c) == (win.oh(), win.ow(), w.n) && self.pad < w.h && w.h == w.w;
        expect(Self::NAME, fits, || format!("gradient {dy:?} does not fit weight {w:?} and input {input:?}"))?;
        Ok(vec![input])
    }

    /// The transposed, flipped weight of every landmark.
    fn scratch(&self, x: &[Shape], _: &[Shape]) -> usize {
        x[1].len()
    }

    /// A convolution of `dy`, spread to stride 1, with the weight flipped in space and transposed in channels.
    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], scratch: &mut [T]) {
        let (dy, w) = (x[0].shape(), x[1].shape());
        scratch.chunks_mut(w.slice_len()).enumerate().for_each(|(k, to)| flip(x[1].slice(k), w, to));
        let (flipped, len): (&[T], usize) = (scratch, w.slice_len());
        let (sh, sw) = self.spread(w);
        // Equal borders on all sides need a square kernel with equal padding, as everywhere in this crate.
        let win = Window { h: sh, w: sw, ci: w.n, co: w.c, kh: w.h, kw: w.w, stride: 1, pad: w.h - 1 - self.pad };
        let (batch, row_len) = (dy.n, self.w * w.c);
        y[0].images().into_par_iter().enumerate().for_each(|(i, image)| {
            let (k, n) = (i / batch, i % batch);
            let weight = &flipped[if w.k == 1 { 0 } else { k * len }..][..len];
            let mut convolve = |dy: &[T]| {
                for rows in win.bands() {
                    win.forward(dy, weight, rows, |oy, row| image[oy * row_len..][..row_len].copy_from_slice(row));
                }
            };
            if self.stride == 1 {
                return convolve(x[0].image(k, n));
            }
            let mut spread = vec![T::zero(); sh * sw * dy.c];
            for (pixel, from) in x[0].image(k, n).chunks_exact(dy.c).enumerate() {
                let (oy, ox) = (pixel / dy.w, pixel % dy.w);
                spread[(oy * sw + ox) * self.stride * dy.c..][..dy.c].copy_from_slice(from);
            }
            convolve(&spread);
        });
    }

    fn gpu(&self, _: &[Operand], _: &[Operand]) -> Vec<Dispatch> {
        Vec::new()
    }

    fn flops(&self, x: &[Shape], y: &[Shape]) -> u64 {
        2 * (y[0].k * x[0].slice_len() * x[1].image_len()) as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |(kernel, stride): (usize, usize), (h, w, ci, co): (usize, usize, usize, usize), ky, kw| {
            let pad = kernel / 2;
            let (oh, ow) = ((h + 2 * pad - kernel) / stride + 1, (w + 2 * pad - kernel) / stride + 1);
            let op = Self { stride, pad, h, w };
            Sample::normal(op, &[[ky, 2, oh, ow, co], [kw, co, kernel, kernel, ci]])
        };
        lattice(case)
    }
}

/// `[co, kh, kw, ci] -> [ci, kh, kw, co]`, both spatial axes reversed.
fn flip<T: Real>(w: &[T], shape: Shape, to: &mut [T]) {
    let taps = shape.pixels();
    for o in 0..shape.n {
        for tap in 0..taps {
            for i in 0..shape.c {
                to[(i * taps + taps - 1 - tap) * shape.n + o] = w[(o * taps + tap) * shape.c + i];
            }
        }
    }
}

/// Gradient with respect to the weight. Inputs: `x: [k, n, h, w, ci]`, `dy: [k, n, oh, ow, co]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv2dGradWeight {
    /// Stride of the convolution.
    pub stride: usize,
    /// Padding of the convolution.
    pub pad: usize,
    /// Height of the kernel.
    pub kh: usize,
    /// Width of the kernel.
    pub kw: usize,
    /// Landmark extent of the weight: 1 sums over landmarks.
    pub k: usize,
}

impl Conv2dGradWeight {
    /// Partial sums a weight slice: cut by shapes alone, so that the association does not depend on threads. Landmarks
    /// with weights of their own are cut alike whether they are trained together or in groups.
    pub(crate) fn slices(&self, x: &[Shape]) -> usize {
        let images = if self.k == 1 { x[0].k.max(x[1].k) * x[0].n } else { x[0].n };
        images.min(4)
    }
}

impl Kernel for Conv2dGradWeight {
    const NAME: &'static str = "conv2d_grad_weight";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let k = Shape::broadcast_k(Self::NAME, x)?;
        let w = Shape { k: self.k, n: x[1].c, h: self.kh, w: self.kw, c: x[0].c };
        let win = Window::new(x[0], w, self.stride, self.pad);
        let fits = (x[1].h, x[1].w, x[1].n) == (win.oh(), win.ow(), x[0].n) && (self.k == 1 || self.k == k);
        expect(Self::NAME, fits, || format!("gradient {:?} does not fit input {:?} and weight {w:?}", x[1], x[0]))?;
        Ok(vec![w])
    }

    fn scratch(&self, x: &[Shape], y: &[Shape]) -> usize {
        self.slices(x) * y[0].len()
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], scratch: &mut [T]) {
        let w = y[0].shape();
        let win = Window::new(x[0].shape(), w, self.stride, self.pad);
        let (n, slices, len) = (x[0].shape().n, self.slices(&[x[0].shape(), x[1].shape()]), w.slice_len());
        // The images that a weight slice sums over: (landmark, sample) in order.
        let images = if self.k == 1 { x[0].shape().k.max(x[1].shape().k) * n } else { n };
        scratch.par_chunks_mut(len).enumerate().for_each(|(i, partial)| {
            let (k, slice) = (i / slices, i % slices);
            partial.fill(T::zero());
            for image in slice * images / slices..(slice + 1) * images / slices {
                let (k, n) = if self.k == 1 { (image / n, image % n) } else { (k, image) };
                win.grad_weight(x[0].image(k, n), x[1].image(k, n), partial);
            }
        });
        for (dw, partials) in y[0].slices().zip(scratch.chunks(slices * len)) {
            dw.copy_from_slice(&partials[..len]);
            for partial in partials[len..].chunks(len) {
                dw.iter_mut().zip(partial).for_each(|(sum, &v)| *sum += v);
            }
        }
    }

    fn gpu(&self, _: &[Operand], _: &[Operand]) -> Vec<Dispatch> {
        Vec::new()
    }

    fn flops(&self, x: &[Shape], y: &[Shape]) -> u64 {
        let k = x[0].k.max(x[1].k);
        2 * (k * x[1].slice_len() * y[0].image_len()) as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |(kernel, stride): (usize, usize), (h, w, ci, co): (usize, usize, usize, usize), kx, kw: usize| {
            let pad = kernel / 2;
            let (oh, ow) = ((h + 2 * pad - kernel) / stride + 1, (w + 2 * pad - kernel) / stride + 1);
            let op = Self { stride, pad, kh: kernel, kw: kernel, k: kw.min(kx) };
            Sample::normal(op, &[[kx, 3, h, w, ci], [kx.max(kw), 3, oh, ow, co]])
        };
        lattice(case)
    }
}

/// Awkward sizes for both gradients: all kernels and strides, shared and distinct operands.
fn lattice<K>(
    case: impl Fn((usize, usize), (usize, usize, usize, usize), usize, usize) -> Sample<K>,
) -> Vec<Sample<K>> {
    let sizes = [(1, 1, 1, 1), (3, 2, 2, 3), (5, 7, 3, 2), (9, 8, 5, 17), (17, 5, 16, 8), (8, 6, 7, 33)];
    let mut samples = Vec::new();
    for kernel in [(1, 1), (3, 1), (5, 1), (1, 2), (3, 2), (5, 2)] {
        for (i, &size) in sizes.iter().enumerate() {
            let (a, b) = [(1, 1), (3, 1), (2, 2), (1, 3)][i % 4];
            samples.push(case(kernel, size, a, b));
        }
    }
    samples
}
