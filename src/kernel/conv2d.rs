//! Convolution with bias, parallel rank-r adapter and activation in one kernel.
//!
//! ```text
//! y[k,n,oy,ox,o] = act( b[k,o] + sum_{ky,kx,i} w[k,o,ky,kx,i] x[k,n, s oy + ky - p, s ox + kx - p, i]
//!                       + sum_r u[k,o,r] sum_i v[k,r,i] x[k,n, s oy + kh/2 - p, s ox + kw/2 - p, i] )
//! ```
//!
//! `x: [k, n, h, w, ci]`, `w: [k, co, kh, kw, ci]`, `b: [k, 1, 1, 1, co]`, `v: [k, r, 1, 1, ci]`, `u: [k, co, 1, 1, r]`; any of
//! them may be shared. The adapter (residual adapters in parallel, Rebuffi et al. 2018) acts on the kernel's centre tap, so
//! that it folds into the weight: `w' = w + centre(u v)`. With `u = 0` the result is exactly the shared convolution's.

use super::activation::Activation;
use super::conv2d_grad::{Conv2dGradInput, Conv2dGradWeight};
use super::padded::{Adapter, Window};
use super::tensor::expect;
use super::tile::{FORMS, Long, POINTWISE, Product, STEP, Sizes, Tile};
use super::{Bind, Dispatch, Half, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::cpu::gemm::{pack_transposed, padded};
use crate::gpu::shaders;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// See the [module](self). Inputs: `x, w[, b][, v, u]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Stride, 1 or 2.
    pub stride: usize,
    /// Zero padding on every side.
    pub pad: usize,
    /// Whether a bias follows the weight.
    pub bias: bool,
    /// Whether an adapter's `v` and `u` follow.
    pub adapter: bool,
    /// Epilogue.
    pub activation: Activation,
}

impl Conv2d {
    fn without_epilogue(stride: usize, pad: usize) -> Self {
        Self { stride, pad, bias: false, adapter: false, activation: Activation::Identity }
    }

    /// The inputs that are packed on the CPU.
    fn packed(&self) -> impl Iterator<Item = usize> {
        let adapter = self.extras().1.map(|(v, u)| [v, u]);
        std::iter::once(1).chain(adapter.into_iter().flatten())
    }

    /// Pixels by weights.
    fn product(&self, x: &[Operand], y: &[Operand]) -> Product {
        let (w, to) = (x[1].shape, y[0].shape);
        let (_, adapter) = self.extras();
        let strides = [Some(0), Some(1), adapter.map(|(v, _)| v)].into_iter().flatten().map(|i| x[i].k_stride);
        Product {
            count: to.k,
            rows: to.n * to.pixels(),
            columns: w.n,
            fours: strides.chain([w.c, w.n, y[0].k_stride]).all(|n| n.is_multiple_of(4)),
            steps: w.c.is_multiple_of(STEP),
        }
    }

    /// The positions of bias, `v` and `u` among the inputs.
    pub(crate) fn extras(&self) -> (Option<usize>, Option<(usize, usize)>) {
        let next = 2 + usize::from(self.bias);
        (self.bias.then_some(2), self.adapter.then_some((next, next + 1)))
    }
}

/// Elements of one landmark's packed weight.
fn packed_len(w: Shape) -> usize {
    w.image_len() * padded(w.n)
}

impl Kernel for Conv2d {
    const NAME: &'static str = "conv2d";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let (bias, adapter) = self.extras();
        let (input, w) = (x[0], x[1]);
        let fits = w.c == input.c && input.h + 2 * self.pad >= w.h && input.w + 2 * self.pad >= w.w;
        expect(Self::NAME, fits, || format!("weight {w:?} does not fit input {input:?} with padding {}", self.pad))?;
        expect(Self::NAME, matches!(self.stride, 1 | 2), || format!("stride {} is not 1 or 2", self.stride))?;
        if let Some(b) = bias {
            expect(Self::NAME, x[b].slice_len() == w.n, || format!("bias {:?} does not fit weight {w:?}", x[b]))?;
        }
        if let Some((v, u)) = adapter {
            let (v, u) = (x[v], x[u]);
            // The centre tap must lie inside the image for every output, or the adapter would need a border of its own.
            let centred = w.h == 2 * self.pad + 1 && w.w == 2 * self.pad + 1;
            let fits = v.c == w.c && u.n == w.n && u.c == v.n && v.pixels() == 1 && u.pixels() == 1;
            expect(Self::NAME, fits && centred, || format!("adapter {v:?}, {u:?} does not fit weight {w:?}"))?;
        }
        let k = Shape::broadcast_k(Self::NAME, x)?;
        let win = Window::new(input, w, self.stride, self.pad);
        Ok(vec![Shape { k, n: input.n, h: win.oh, w: win.ow, c: w.n }])
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], y: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        debug_assert_eq!(self.activation, Activation::Identity, "activations are fused after differentiation");
        let (bias, adapter) = self.extras();
        let (input, w) = (tape.shape(x[0]), tape.shape(x[1]));
        let (stride, pad) = (self.stride, self.pad);
        let grad_input = |h, w, pad| Conv2dGradInput { stride, pad, h, w };
        let grad_weight = |pad, kh, kw, k| Conv2dGradWeight { stride, pad, kh, kw, k };
        let mut dx = tape.push1(grad_input(input.h, input.w, pad), &[dy, x[1]])?;
        let dw = tape.push1(grad_weight(pad, w.h, w.w, w.k), &[x[0], dy])?;
        let mut gradients = vec![None, Some(dw)];
        if let Some(b) = bias {
            let to = tape.shape(x[b]);
            gradients.push(Some(tape.sum_to(dy, to)?));
        }
        if let Some((v, u)) = adapter {
            // y += u t with t = v x at the centre: two 1x1 convolutions, the first with the stride.
            let t = tape.push1(Conv2d::without_epilogue(stride, 0), &[x[0], x[v]])?;
            let (oh, ow) = (tape.shape(y[0]).h, tape.shape(y[0]).w);
            let dt = tape.push1(Conv2dGradInput { stride: 1, pad: 0, h: oh, w: ow }, &[dy, x[u]])?;
            let du =
                tape.push1(Conv2dGradWeight { stride: 1, pad: 0, kh: 1, kw: 1, k: tape.shape(x[u]).k }, &[t, dy])?;
            let dv = tape.push1(grad_weight(0, 1, 1, tape.shape(x[v]).k), &[x[0], dt])?;
            let through = tape.push1(grad_input(input.h, input.w, 0), &[dt, x[v]])?;
            dx = tape.add(dx, through)?;
            gradients.extend([Some(dv), Some(du)]);
        }
        gradients[0] = Some(dx);
        Ok(gradients)
    }

    /// Weight and adapter of every landmark, packed as the products' right operands.
    fn scratch(&self, x: &[Shape], _: &[Shape]) -> usize {
        self.packed().map(|i| x[i].k * packed_len(x[i])).sum()
    }

    fn thread_scratch(&self, x: &[Shape], _: &[Shape]) -> usize {
        Window::new(x[0], x[1], self.stride, self.pad).forward_scratch(self.extras().1.map_or(0, |(v, _)| x[v].n))
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], scratch: &mut [T]) {
        let win = Window::new(x[0].shape(), x[1].shape(), self.stride, self.pad);
        let (bias, adapter) = self.extras();
        let mut rest = scratch;
        // All landmarks' of an input, and the length of one's.
        let mut packs: [(&[T], usize); 3] = [(&[], 0); 3];
        for (pack, i) in packs.iter_mut().zip(self.packed()) {
            let (shape, len) = (x[i].shape(), packed_len(x[i].shape()));
            let (to, after) = rest.split_at_mut(shape.k * len);
            rest = after;
            let pack_slice =
                |(k, to): (usize, &mut [T])| pack_transposed(x[i].slice(k), shape.n, shape.image_len(), to);
            to.par_chunks_mut(len).enumerate().for_each(pack_slice);
            *pack = (to, len);
        }
        let packed = |i: usize, k: usize| {
            let (pack, len) = packs[i];
            &pack[if pack.len() == len { 0 } else { k * len }..][..len]
        };
        let (batch, co) = (x[0].shape().n, y[0].shape().c);
        y[0].chunks(win.band_rows() * win.ow * co).for_each(|(i, index, band)| {
            let (k, n) = (i / batch, i % batch);
            let adapter = adapter.map(|(v, _)| Adapter { rank: x[v].shape().n, v: packed(1, k), u: packed(2, k) });
            let bias = bias.map(|b| x[b].slice(k));
            win.forward(x[0].image(k, n), packed(0, k), bias, adapter, win.band(index), band);
            self.activation.apply(band);
        });
    }

    fn tiles(&self, x: &[Operand], y: &[Operand]) -> Vec<Tile> {
        let pointwise = x[1].shape.pixels() == 1 && self.stride == 1 && self.pad == 0;
        let product = self.product(x, y);
        let mut tiles = product.variants(Self::NAME, Sizes::Tall, if pointwise { POINTWISE } else { FORMS });
        // The direct form would write a sigmoid out for each of its numbers.
        if self.activation != Activation::Sigmoid {
            tiles.extend(product.direct(Self::NAME, Long::Rows));
        }
        tiles
    }

    fn matrix_tile(&self, x: &[Operand], y: &[Operand], side: usize) -> Option<Tile> {
        let (_, adapter) = self.extras();
        let fits = self.product(x, y).fours && adapter.is_none_or(|(v, _)| x[v].shape.n <= side);
        let shader = if side == 16 { "conv2d_matrix16" } else { "conv2d_matrix8" };
        fits.then_some(Tile { shader, rows: 4 * side, columns: 4 * side })
    }

    fn gpu_tiled(&self, tile: Tile, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let (input, w, to) = (x[0].shape, x[1].shape, y[0].shape);
        let (bias, adapter) = self.extras();
        let pixels = to.n * to.pixels();
        let [row_tiles, column_tiles] = tile.counts(pixels, w.n);
        let groups = to.k * row_tiles * column_tiles;
        let (v, u) = adapter.unzip();
        let stride = |i: Option<usize>| i.map_or(0, |i| word(x[i].k_stride));
        let bind = |i: Option<usize>| i.map_or(Bind::Unused, Bind::In);
        let params = shaders::conv2d::Params {
            groups: word(groups),
            row_tiles: word(row_tiles),
            column_tiles: word(column_tiles),
            pixels: word(pixels),
            h: word(input.h),
            w: word(input.w),
            ci: word(input.c),
            oh: word(to.h),
            ow: word(to.w),
            co: word(to.c),
            kh: word(w.h),
            kw: word(w.w),
            stride: word(self.stride),
            pad: word(self.pad),
            bias: u32::from(self.bias),
            rank: v.map_or(0, |v| word(x[v].shape.n)),
            activation: self.activation as u32,
            x_k: word(x[0].k_stride),
            w_k: word(x[1].k_stride),
            b_k: stride(bias),
            v_k: stride(v),
            u_k: stride(u),
            y_k: word(y[0].k_stride),
        };
        let binds = [Bind::In(0), Bind::In(1), bind(bias), bind(v), bind(u), Bind::Out(0)];
        vec![Dispatch::new(tile.shader, params, &binds, groups)]
    }

    fn half(&self) -> Option<Half> {
        Some(Half::Both)
    }

    fn flops(&self, x: &[Shape], y: &[Shape]) -> u64 {
        let adapter = self.extras().1.map_or(0, |(v, _)| x[v].n * (x[0].c + x[1].n));
        2 * (y[0].len() / x[1].n) as u64 * (x[1].image_len() * x[1].n + adapter) as u64
    }

    fn with_activation(&self, activation: Activation) -> Option<Self> {
        (self.activation == Activation::Identity).then(|| Self { activation, ..self.clone() })
    }

    fn samples() -> Vec<Sample<Self>> {
        let mut samples = Vec::new();
        let sizes = [(1, 1, 1, 1), (3, 2, 2, 3), (5, 7, 3, 1), (9, 8, 5, 17), (17, 5, 16, 8), (8, 16, 8, 33)];
        for (kernel, stride) in [(1, 1), (3, 1), (5, 1), (1, 2), (3, 2), (5, 2)] {
            for (i, &(h, w, ci, co)) in sizes.iter().enumerate() {
                let (bias, adapter) = (i % 2 == 0, i >= 2);
                let (kx, kw) = [(1, 1), (1, 3), (2, 2), (3, 1)][i % 4];
                let k = kx.max(kw);
                let rank = 1 + i % 4;
                let mut shapes = vec![[kx, 2, h, w, ci], [kw, co, kernel, kernel, ci]];
                if bias {
                    shapes.push([kw, 1, 1, 1, co]);
                }
                if adapter {
                    shapes.extend([[k, rank, 1, 1, ci], [k, co, 1, 1, rank]]);
                }
                let activation = [Activation::Identity, Activation::Relu, Activation::LeakyRelu][i % 3];
                let op = Self { stride, pad: kernel / 2, bias, adapter, activation };
                samples.push(Sample::normal(op, &shapes));
            }
        }
        samples.push(Sample::normal(Self::without_epilogue(1, 0), &[[1, 1, 6, 7, 2], [1, 3, 3, 3, 2]]));
        // More ranks than an inner step has; in fours, and then what all tiles cover exactly.
        for (kernel, ci, co, rank) in [(3, 20, 35, 21), (3, 12, 20, 3), (1, 20, 36, 18), (3, 16, 64, 4), (1, 32, 64, 5)]
        {
            let pad = kernel / 2;
            let op = Self { stride: 1, pad, bias: true, adapter: true, activation: Activation::Relu };
            let (w, b, v, u) =
                ([1, co, kernel, kernel, ci], [1, 1, 1, 1, co], [2, rank, 1, 1, ci], [2, co, 1, 1, rank]);
            samples.push(Sample::normal(op, &[[1, 1, 16, 8, ci], w, b, v, u]));
        }
        samples
    }
}
