//! Gradients of the convolution (without its epilogue; the tape differentiates bias, adapter and activation apart).
//!
//! ```text
//! dx[k,n,y,x,i]      = sum_{oy,ox,o : y = s oy + ky - p, x = s ox + kx - p} dy[k,n,oy,ox,o] w[k,o,ky,kx,i]
//! dw[k,o,ky,kx,i]    = sum_{n,oy,ox} dy[k,n,oy,ox,o] x[k,n, s oy + ky - p, s ox + kx - p, i]
//! ```
//!
//! A weight shared by all landmarks also sums over `k`: to its gradient the landmark axis is more batch.

use super::matmul;
use super::padded::Window;
use super::tensor::expect;
use super::tile::{FORMS, Long, Product, STEP, Sizes, Tile};
use super::{Bind, Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::cpu::gemm::padded;
use crate::gpu::shaders;
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
    /// Pixels of the first phase, which has the most; the tiles that another has too many find nothing to do.
    fn phase_pixels(&self, to: Shape) -> usize {
        to.n * to.h.div_ceil(self.stride) * to.w.div_ceil(self.stride)
    }

    fn is_product(&self, w: Shape) -> bool {
        w.pixels() == 1 && self.stride == 1 && self.pad == 0
    }
}

/// Refuses a window that makes no convolution.
fn strides(x: Shape, w: Shape, stride: usize, pad: usize, name: &'static str) -> Result<()> {
    let fits = matches!(stride, 1 | 2) && x.h + 2 * pad >= w.h && x.w + 2 * pad >= w.w;
    expect(name, fits, || format!("weight {w:?} with stride {stride} and padding {pad} does not fit input {x:?}"))
}

impl Kernel for Conv2dGradInput {
    const NAME: &'static str = "conv2d_grad_input";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let (dy, w) = (x[0], x[1]);
        let k = Shape::broadcast_k(Self::NAME, x)?;
        let input = Shape { k, n: dy.n, h: self.h, w: self.w, c: w.c };
        strides(input, w, self.stride, self.pad, Self::NAME)?;
        let win = Window::new(input, w, self.stride, self.pad);
        let fits = (dy.h, dy.w, dy.c) == (win.oh, win.ow, w.n) && self.pad < w.h && w.h == w.w;
        expect(Self::NAME, fits, || format!("gradient {dy:?} does not fit weight {w:?} and input {input:?}"))?;
        Ok(vec![input])
    }

    /// The flipped weight of every landmark, as the product's right operand.
    fn scratch(&self, x: &[Shape], _: &[Shape]) -> usize {
        x[1].k * flipped_len(x[1])
    }

    fn thread_scratch(&self, x: &[Shape], _: &[Shape]) -> usize {
        Window::transposed(x[0], x[1], self.stride, self.pad, self.h, self.w).forward_scratch(0)
    }

    /// A convolution of `dy`, spread by the stride, with the weight flipped in space and transposed in channels.
    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], scratch: &mut [T]) {
        let (dy, w) = (x[0].shape(), x[1].shape());
        let len = flipped_len(w);
        scratch[..w.k * len].par_chunks_mut(len).enumerate().for_each(|(k, to)| flip(x[1].slice(k), w, to));
        let flipped: &[T] = scratch;
        // Equal borders on all sides need a square kernel with equal padding, as everywhere in this crate.
        let win = Window::transposed(dy, w, self.stride, self.pad, self.h, self.w);
        let batch = x[0].shape().n;
        y[0].chunks(win.band_rows() * win.ow * w.c).for_each(|(i, index, band)| {
            let (k, n) = (i / batch, i % batch);
            let weight = &flipped[if w.k == 1 { 0 } else { k * len }..][..len];
            win.forward(x[0].image(k, n), weight, None, None, win.band(index), band);
        });
    }

    /// By one pixel it is a plain matrix product, `dy w`.
    fn tiles(&self, x: &[Operand], y: &[Operand]) -> Vec<Tile> {
        let (w, to, s) = (x[1].shape, y[0].shape, self.stride);
        let product = Product {
            count: to.k * s * s,
            rows: self.phase_pixels(to),
            columns: to.c,
            fours: [w.c, w.n, x[0].k_stride, x[1].k_stride, y[0].k_stride].iter().all(|n| n.is_multiple_of(4)),
            // All phases have as many pixels.
            steps: w.n.is_multiple_of(STEP) && to.h.is_multiple_of(s) && to.w.is_multiple_of(s),
        };
        let mut tiles = product.variants(Self::NAME, Sizes::Tall, FORMS);
        if self.is_product(w) {
            tiles.splice(0..0, product.variants(matmul::PLAIN, Sizes::Tall, FORMS));
        }
        tiles.extend(product.direct(Self::NAME, Long::Rows));
        tiles
    }

    fn gpu_tiled(&self, tile: Tile, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let (dy, w, to) = (x[0].shape, x[1].shape, y[0].shape);
        if tile.shader.starts_with(matmul::PLAIN) {
            let a = matmul::Factor { k: x[0].k_stride, n: 0, along: [dy.c, 1] };
            let b = matmul::Factor { k: x[1].k_stride, n: 0, along: [w.c, 1] };
            let extent = [to.n * to.pixels(), to.c, dy.c];
            return vec![matmul::dispatch(tile, [to.k, 1], extent, a, b, y[0].k_stride)];
        }
        let phases = self.stride * self.stride;
        let pixels = self.phase_pixels(to);
        let [row_tiles, column_tiles] = tile.counts(pixels, to.c);
        let groups = to.k * phases * row_tiles * column_tiles;
        let params = shaders::conv2d_grad_input::Params {
            groups: word(groups),
            row_tiles: word(row_tiles),
            column_tiles: word(column_tiles),
            n: word(to.n),
            h: word(to.h),
            w: word(to.w),
            ci: word(to.c),
            oh: word(dy.h),
            ow: word(dy.w),
            co: word(dy.c),
            kh: word(w.h),
            kw: word(w.w),
            stride: word(self.stride),
            pad: word(self.pad),
            dy_k: word(x[0].k_stride),
            w_k: word(x[1].k_stride),
            dx_k: word(y[0].k_stride),
        };
        vec![Dispatch::new(tile.shader, params, &[Bind::In(0), Bind::In(1), Bind::Out(0)], groups)]
    }

    fn flops(&self, x: &[Shape], y: &[Shape]) -> u64 {
        2 * (y[0].k * x[0].slice_len()) as u64 * x[1].image_len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |(kernel, stride): (usize, usize), (h, w, ci, co): (usize, usize, usize, usize), ky, kw| {
            let pad = kernel / 2;
            let (oh, ow) = ((h + 2 * pad - kernel) / stride + 1, (w + 2 * pad - kernel) / stride + 1);
            let op = Self { stride, pad, h, w };
            Sample::normal(op, &[[ky, 2, oh, ow, co], [kw, co, kernel, kernel, ci]])
        };
        let mut samples = lattice(case);
        // In fours, with taps and without; then what all tiles cover exactly, in every phase.
        samples.push(case((3, 2), (11, 9, 12, 20), 1, 2));
        samples.push(case((1, 1), (6, 11, 20, 4), 2, 1));
        samples.push(case((3, 2), (16, 16, 64, 16), 1, 1));
        samples.push(case((1, 1), (8, 8, 64, 16), 1, 1));
        samples
    }
}

/// Elements of one landmark's flipped weight.
fn flipped_len(w: Shape) -> usize {
    w.n * w.pixels() * padded(w.c)
}

/// `[co, kh, kw, ci] -> [kh, kw, co, padded(ci)]`, both spatial axes reversed.
fn flip<T: Real>(w: &[T], shape: Shape, to: &mut [T]) {
    let (taps, width) = (shape.pixels(), padded(shape.c));
    for (i, from) in w.chunks_exact(shape.c).enumerate() {
        let (o, tap) = (i / taps, i % taps);
        let row = &mut to[((taps - 1 - tap) * shape.n + o) * width..][..width];
        row[..shape.c].copy_from_slice(from);
        row[shape.c..].fill(T::zero());
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
    /// Partial sums a weight slice: cut between bands, by shapes alone, so that the association does not depend on threads.
    /// Landmarks with weights of their own are cut alike whether they are trained together or in groups.
    fn slices(&self, x: &[Shape], win: &Window) -> usize {
        (self.images(x) * win.bands()).min(4)
    }

    /// The same on the GPU, which cuts between pixels, in whole steps: enough for [`WORKGROUPS`](Self::WORKGROUPS) tiles a
    /// landmark, but no slice of fewer than [`SLICE_PIXELS`](Self::SLICE_PIXELS). The variant has no say in it.
    fn gpu_slices(&self, x: &[Shape]) -> (usize, usize) {
        let pixels = self.images(x) * x[1].pixels();
        let tiles = self.product(x).workgroups(Sizes::Square);
        let slices = Self::WORKGROUPS.div_ceil(tiles).min(pixels / Self::SLICE_PIXELS).max(1);
        let length = pixels.div_ceil(slices).next_multiple_of(STEP);
        (pixels.div_ceil(length), length)
    }

    const WORKGROUPS: usize = 128;
    const SLICE_PIXELS: usize = 256;

    /// A landmark's slice: `co` x `kh kw ci` numbers.
    fn product(&self, x: &[Shape]) -> Product {
        let (rows, columns) = (x[1].c, self.kh * self.kw * x[0].c);
        let pixels = self.images(x) * x[1].pixels();
        let fours = rows.is_multiple_of(4) && x[0].c.is_multiple_of(4);
        Product { count: self.k, rows, columns, fours, steps: pixels.is_multiple_of(STEP) }
    }

    /// Images that a weight slice sums over.
    fn images(&self, x: &[Shape]) -> usize {
        if self.k == 1 { x[0].k.max(x[1].k) * x[0].n } else { x[0].n }
    }
}

impl Kernel for Conv2dGradWeight {
    const NAME: &'static str = "conv2d_grad_weight";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let k = Shape::broadcast_k(Self::NAME, x)?;
        let w = Shape { k: self.k, n: x[1].c, h: self.kh, w: self.kw, c: x[0].c };
        strides(x[0], w, self.stride, self.pad, Self::NAME)?;
        let win = Window::new(x[0], w, self.stride, self.pad);
        let fits = (x[1].h, x[1].w, x[1].n) == (win.oh, win.ow, x[0].n) && (self.k == 1 || self.k == k);
        expect(Self::NAME, fits, || format!("gradient {:?} does not fit input {:?} and weight {w:?}", x[1], x[0]))?;
        Ok(vec![w])
    }

    fn scratch(&self, x: &[Shape], y: &[Shape]) -> usize {
        let win = Window::new(x[0], y[0], self.stride, self.pad);
        self.slices(x, &win).max(self.gpu_slices(x).0) * y[0].len()
    }

    fn thread_scratch(&self, x: &[Shape], y: &[Shape]) -> usize {
        Window::new(x[0], y[0], self.stride, self.pad).grad_weight_scratch(x[1].c)
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], scratch: &mut [T]) {
        let w = y[0].shape();
        let win = Window::new(x[0].shape(), w, self.stride, self.pad);
        let shapes = [x[0].shape(), x[1].shape()];
        let (n, bands, slices, len) = (x[0].shape().n, win.bands(), self.slices(&shapes, &win), w.slice_len());
        // The bands that a weight slice sums over: (landmark, sample, band) in order.
        let units = self.images(&shapes) * bands;
        let scratch = &mut scratch[..slices * w.len()];
        scratch.par_chunks_mut(len).enumerate().for_each(|(i, partial)| {
            let (k, slice) = (i / slices, i % slices);
            partial.fill(T::zero());
            for unit in slice * units / slices..(slice + 1) * units / slices {
                let (image, band) = (unit / bands, unit % bands);
                let (k, n) = if self.k == 1 { (image / n, image % n) } else { (k, image) };
                win.grad_weight(x[0].image(k, n), x[1].image(k, n), win.band(band), partial);
            }
        });
        // Partial sums are [kh, kw, ci, co]: added up in order, and transposed. A sample of a weight is an output channel.
        y[0].images().enumerate().for_each(|(i, dw)| {
            let (k, o) = (i / w.n, i % w.n);
            let partials = &scratch[k * slices * len..][..slices * len];
            for (tap, dw) in dw.iter_mut().enumerate() {
                let at = tap * w.n + o;
                *dw = partials[at];
                partials[len..].iter().skip(at).step_by(len).for_each(|&v| *dw += v);
            }
        });
    }

    fn tiles(&self, x: &[Operand], y: &[Operand]) -> Vec<Tile> {
        let product = self.product(&[x[0].shape, x[1].shape]);
        let strides = [x[0].k_stride, x[1].k_stride, y[0].k_stride];
        let fours = product.fours && strides.iter().all(|stride| stride.is_multiple_of(4));
        let mut tiles = Product { fours, ..product }.variants(Self::NAME, Sizes::Square, FORMS);
        tiles.extend(product.direct(Self::NAME, Long::Columns));
        tiles
    }

    fn gpu_tiled(&self, tile: Tile, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let (input, dy, to) = (x[0].shape, x[1].shape, y[0].shape);
        let (rows, columns, pixels) = (to.n, to.image_len(), self.images(&[input, dy]) * dy.pixels());
        let (slices, slice_pixels) = self.gpu_slices(&[input, dy]);
        let [row_tiles, column_tiles] = tile.counts(rows, columns);
        let groups = to.k * slices * row_tiles * column_tiles;
        let params = shaders::conv2d_grad_weight::Params {
            groups: word(groups),
            row_tiles: word(row_tiles),
            column_tiles: word(column_tiles),
            slices: word(slices),
            slice_pixels: word(slice_pixels),
            pixels: word(pixels),
            n: word(input.n),
            h: word(input.h),
            w: word(input.w),
            ci: word(input.c),
            oh: word(dy.h),
            ow: word(dy.w),
            co: word(dy.c),
            kh: word(self.kh),
            kw: word(self.kw),
            stride: word(self.stride),
            pad: word(self.pad),
            x_k: word(x[0].k_stride),
            dy_k: word(x[1].k_stride),
            dw_k: word(if slices == 1 { y[0].k_stride } else { slices * to.slice_len() }),
        };
        let partial = if slices == 1 { Bind::Out(0) } else { Bind::Scratch };
        let mut dispatches = vec![Dispatch::new(tile.shader, params, &[Bind::In(0), Bind::In(1), partial], groups)];
        if slices > 1 {
            let params = shaders::conv2d_grad_weight_sum::Params {
                elements: word(to.len()),
                length: word(to.slice_len()),
                slices: word(slices),
                dw_k: word(y[0].k_stride),
            };
            let binds = [Bind::Scratch, Bind::Out(0)];
            dispatches.push(Dispatch::elements("conv2d_grad_weight_sum", params, &binds, to.len()));
        }
        dispatches
    }

    fn flops(&self, x: &[Shape], y: &[Shape]) -> u64 {
        let k = x[0].k.max(x[1].k);
        2 * (k * x[1].slice_len()) as u64 * y[0].image_len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |(kernel, stride): (usize, usize), (h, w, ci, co): (usize, usize, usize, usize), kx, kw: usize| {
            let pad = kernel / 2;
            let (oh, ow) = ((h + 2 * pad - kernel) / stride + 1, (w + 2 * pad - kernel) / stride + 1);
            let op = Self { stride, pad, kh: kernel, kw: kernel, k: kw.min(kx) };
            Sample::normal(op, &[[kx, 3, h, w, ci], [kx.max(kw), 3, oh, ow, co]])
        };
        let mut samples = lattice(case);
        // Several slices on the GPU, of a shared weight and of distinct ones; in fours; then what all tiles cover exactly.
        samples.push(case((3, 1), (21, 22, 3, 5), 2, 1));
        samples.push(case((3, 2), (50, 33, 8, 37), 1, 2));
        samples.push(case((3, 1), (19, 18, 5, 34), 2, 2));
        samples.push(case((3, 2), (21, 19, 8, 36), 2, 1));
        samples.push(case((1, 1), (16, 16, 64, 64), 1, 1));
        samples
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
