//! Group normalisation (Wu and He 2018) with an affine that may differ by landmark, and an activation.
//!
//! ```text
//! y = act(gamma (x - mu) r + beta),   r = 1 / sqrt(var + eps),   mu and var over h, w and the channels of a group
//! ```
//!
//! With g = gamma dy and xhat = (x - mu) r, means over the group:
//!
//! ```text
//! dx = r (g - mean(g) - xhat mean(g xhat)),   dgamma = sum dy xhat,   dbeta = sum dy
//! ```
//!
//! `x: [k, n, h, w, c]`, `gamma, beta: [k, 1, 1, 1, c]`, statistics `[k, n, 1, groups, 2]` hold mu and r.

use super::activation::Activation;
use super::columns::Columns;
use super::tensor::expect;
use super::{Bind, Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Added to the variance.
pub const EPS: f64 = 1e-5;

/// See the [module](self). Inputs: `x, gamma, beta`. Outputs: `y`, statistics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupNorm {
    /// Number of groups; divides the channels.
    pub groups: usize,
    /// Epilogue.
    pub activation: Activation,
}

/// How an image's pixels and channels are cut into workgroups on the GPU (see `shaders/lib/reduce_lanes.wgsl`), and its pixels into
/// pieces of work on the CPU.
struct Lanes {
    /// Channels of a workgroup.
    block: usize,
    /// Threads of a channel.
    lanes: usize,
    /// Pixels of a workgroup.
    chunk: usize,
    /// Chunks of an image.
    chunks: usize,
    c: usize,
}

impl Lanes {
    fn new(x: Shape) -> Self {
        const THREADS: usize = 256;
        const BLOCK: usize = 64;
        const PIXELS_A_THREAD: usize = 64;
        let block = x.c.div_ceil(x.c.div_ceil(BLOCK));
        let lanes = THREADS / block;
        let chunk = lanes * PIXELS_A_THREAD;
        Self { block, lanes, chunk, chunks: x.pixels().div_ceil(chunk), c: x.c }
    }

    fn workgroups(&self, images: usize) -> usize {
        images * self.chunks * self.c.div_ceil(self.block)
    }

    /// A chunk of an image.
    fn chunk_of<'a, T>(&self, image: &'a [T], chunk: usize) -> &'a [T] {
        let len = self.chunk * self.c;
        &image[chunk * len..((chunk + 1) * len).min(image.len())]
    }

    /// Pairs of sums of this many images.
    fn sums(&self, images: usize) -> usize {
        images * self.chunks * self.c
    }
}

/// The launch that leaves, of each channel and chunk, the sums of `dy xhat` and `dy` in the scratch memory. Operands: `x`,
/// statistics, `dy`, each with its place among the inputs.
fn sums(norm_groups: usize, k: usize, operands: [(&[Operand], usize); 3]) -> Dispatch {
    let [x, statistics, dy] = operands.map(|(inputs, i)| inputs[i]);
    let lanes = Lanes::new(x.shape);
    let groups = lanes.workgroups(k * x.shape.n);
    let params = shaders::group_norm_sums::Params {
        groups: word(groups),
        n: word(x.shape.n),
        norm_groups: word(norm_groups),
        pixels: word(x.shape.pixels()),
        c: word(x.shape.c),
        block: word(lanes.block),
        lanes: word(lanes.lanes),
        chunk: word(lanes.chunk),
        chunks: word(lanes.chunks),
        x_k: word(x.k_stride),
        statistics_k: word(statistics.k_stride),
        dy_k: word(dy.k_stride),
    };
    let [x, statistics, dy] = operands.map(|(_, i)| Bind::In(i));
    Dispatch::new("group_norm_sums", params, &[x, statistics, dy, Bind::Scratch], groups)
}

/// On the CPU: of each channel, its sums of `dy xhat` and then those of `dy`, for every chunk of pixels.
fn channel_sums<T: Real>(norm_groups: usize, [x, statistics, dy]: [&In<T>; 3], lanes: &Lanes, sums: &mut [T]) {
    let (n, c) = (x.shape().n, lanes.c);
    sums.par_chunks_mut(2 * c).enumerate().for_each(|(i, sums)| {
        let (image, chunk) = (i / lanes.chunks, i % lanes.chunks);
        let (k, n) = (image / n, image % n);
        let stats = statistics.image(k, n);
        let [x, dy] = [x, dy].map(|all| lanes.chunk_of(all.image(k, n), chunk));
        let per = c / norm_groups;
        let (of_dy_xhat, of_dy) = sums.split_at_mut(c);
        for columns in Columns::all(c) {
            let mean = columns.spread(|ch| stats[ch / per * 2]);
            let r = columns.spread(|ch| stats[ch / per * 2 + 1]);
            let [a, b] = columns.sums(x, dy, |j, x, dy| [dy * (x - mean[j]) * r[j], dy]);
            of_dy_xhat[columns.channels()].copy_from_slice(&a[..columns.channels().len()]);
            of_dy[columns.channels()].copy_from_slice(&b[..columns.channels().len()]);
        }
    });
}

/// A channel's sum over chunks of `2 c` sums, from the first of those of an image on.
fn over_chunks<T: Real>(sums: &[T], c: usize, channel: usize) -> T {
    sums[channel..].iter().step_by(2 * c).copied().sum()
}

impl Kernel for GroupNorm {
    const NAME: &'static str = "group_norm";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let c = x[0].c;
        let fits = c.is_multiple_of(self.groups) && x[1].slice_len() == c && x[2].slice_len() == c && x[1].k == x[2].k;
        expect(Self::NAME, fits, || format!("affine {:?} and {} groups do not fit {:?}", x[1], self.groups, x[0]))?;
        let k = Shape::broadcast_k(Self::NAME, x)?;
        let stats = Shape { h: 1, w: self.groups, c: 2, ..x[0] };
        Ok(vec![x[0].with_k(k), stats.with_k(k)])
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], y: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        debug_assert_eq!(self.activation, Activation::Identity, "activations are fused after differentiation");
        let k = tape.shape(x[1]).k;
        let dx = tape.push1(GroupNormGradInput { groups: self.groups }, &[x[0], x[1], y[1], dy])?;
        let affine = tape.push(GroupNormGradAffine { groups: self.groups, k }, &[x[0], y[1], dy])?;
        Ok(vec![Some(dx), Some(affine[0]), Some(affine[1])])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], scratch: &mut [T]) {
        let shape = x[0].shape();
        let (c, pixels, per, lanes) = (shape.c, shape.pixels(), shape.c / self.groups, Lanes::new(shape));
        // One pass: moments about a value of each group, which is near its mean compared with its spread.
        let pivot = |image: &[T], ch: usize| image[ch / per * per];
        scratch.par_chunks_mut(2 * c).enumerate().for_each(|(i, moments)| {
            let image = x[0].image(i / lanes.chunks / shape.n, i / lanes.chunks % shape.n);
            let (chunk, (first, second)) = (lanes.chunk_of(image, i % lanes.chunks), moments.split_at_mut(c));
            for columns in Columns::all(c) {
                let pivots = columns.spread(|ch| pivot(image, ch));
                let [a, b] = columns.sums(chunk, chunk, |j, x, _| {
                    let d = x - pivots[j];
                    [d, d * d]
                });
                first[columns.channels()].copy_from_slice(&a[..columns.channels().len()]);
                second[columns.channels()].copy_from_slice(&b[..columns.channels().len()]);
            }
        });
        let moments: &[T] = scratch;
        let [y, stats] = y else { unreachable!("two outputs are inferred") };
        let count = T::of((pixels * per) as f64);
        stats.images().enumerate().for_each(|(i, stats)| {
            let image = x[0].image(i / shape.n, i % shape.n);
            // Those of an image that all landmarks share are the same.
            let first = if shape.k == 1 { i % shape.n } else { i };
            let moments = &moments[first * 2 * c * lanes.chunks..][..2 * c * lanes.chunks];
            for (group, stats) in stats.chunks_exact_mut(2).enumerate() {
                let channels = group * per..(group + 1) * per;
                let mean = channels.clone().map(|ch| over_chunks(moments, c, ch)).sum::<T>() / count;
                let square = channels.map(|ch| over_chunks(moments, c, c + ch)).sum::<T>() / count;
                stats[0] = pivot(image, group * per) + mean;
                stats[1] = T::one() / ((square - mean * mean).max(T::zero()) + T::of(EPS)).sqrt();
            }
        });
        let stats: &Out<T> = stats;
        y.chunks(lanes.chunk * c).for_each(|(i, chunk, y)| {
            let (k, n) = (i / shape.n, i % shape.n);
            let stats = stats.image(k, n);
            let (x, gamma, beta) = (lanes.chunk_of(x[0].image(k, n), chunk), x[1].slice(k), x[2].slice(k));
            for columns in Columns::all(c) {
                let scale = columns.spread(|ch| gamma[ch] * stats[ch / per * 2 + 1]);
                let shift = columns.spread(|ch| beta[ch] - gamma[ch] * stats[ch / per * 2 + 1] * stats[ch / per * 2]);
                columns.map(y, x, x, |j, x, _| x * scale[j] + shift[j]);
            }
            self.activation.apply(y);
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let (input, to) = (x[0].shape, y[0].shape);
        let lanes = Lanes::new(input);
        let Lanes { block, lanes: per_channel, chunk, chunks, .. } = lanes;
        let (n, pixels, c) = (word(input.n), word(input.pixels()), word(input.c));
        let norm_groups = word(self.groups);
        let groups = lanes.workgroups(input.k * input.n);
        let moments = shaders::group_norm_moments::Params {
            groups: word(groups),
            n,
            pixels,
            c,
            block: word(block),
            lanes: word(per_channel),
            chunk: word(chunk),
            chunks: word(chunks),
            x_k: word(x[0].k_stride),
        };
        let moments = Dispatch::new("group_norm_moments", moments, &[Bind::In(0), Bind::Scratch], groups);
        let groups = to.k * to.n * self.groups;
        let statistics = shaders::group_norm_statistics::Params {
            groups: word(groups),
            n,
            norm_groups,
            pixels,
            c,
            chunk: word(chunk),
            chunks: word(chunks),
            x_images: if input.k == 1 { 0 } else { n },
            statistics_k: word(y[1].k_stride),
        };
        let statistics = Dispatch::new("group_norm_statistics", statistics, &[Bind::Scratch, Bind::Out(1)], groups);
        let groups = lanes.workgroups(to.k * to.n);
        let norm = shaders::group_norm::Params {
            groups: word(groups),
            n,
            norm_groups,
            pixels,
            c,
            block: word(block),
            lanes: word(per_channel),
            chunk: word(chunk),
            chunks: word(chunks),
            activation: self.activation as u32,
            x_k: word(x[0].k_stride),
            gamma_k: word(x[1].k_stride),
            beta_k: word(x[2].k_stride),
            y_k: word(y[0].k_stride),
            statistics_k: word(y[1].k_stride),
        };
        let binds = [Bind::In(0), Bind::In(1), Bind::In(2), Bind::Out(0), Bind::Out(1)];
        vec![moments, statistics, Dispatch::new("group_norm", norm, &binds, groups)]
    }

    /// Two moments a channel for every chunk of pixels.
    fn scratch(&self, x: &[Shape], _: &[Shape]) -> usize {
        2 * x[0].k * Lanes::new(x[0]).sums(x[0].n)
    }

    fn flops(&self, x: &[Shape], y: &[Shape]) -> u64 {
        5 * x[0].len() as u64 + 2 * y[0].len() as u64
    }

    fn with_activation(&self, activation: Activation) -> Option<Self> {
        (self.activation == Activation::Identity).then(|| Self { activation, ..self.clone() })
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |groups, activation, x, k, c| {
            Sample::normal(Self { groups, activation }, &[x, [k, 1, 1, 1, c], [k, 1, 1, 1, c]])
        };
        vec![
            case(1, Activation::Identity, [1, 1, 2, 1, 1], 1, 1),
            case(2, Activation::Relu, [2, 3, 5, 7, 6], 2, 6),
            case(8, Activation::Identity, [1, 2, 9, 8, 24], 3, 24),
            case(4, Activation::LeakyRelu, [3, 1, 17, 3, 12], 1, 12),
            case(8, Activation::Relu, [1, 2, 33, 31, 16], 1, 16),
            case(5, Activation::Identity, [2, 1, 19, 17, 70], 2, 70),
        ]
    }
}

/// Gradient with respect to the input. Inputs: `x, gamma, statistics, dy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupNormGradInput {
    /// Number of groups.
    pub groups: usize,
}

impl Kernel for GroupNormGradInput {
    const NAME: &'static str = "group_norm_grad_input";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let fits = x[2].c == 2 && x[2].w == self.groups && x[3].with_k(1) == x[0].with_k(1);
        expect(Self::NAME, fits, || format!("{:?}, {:?} and {:?} do not fit", x[0], x[2], x[3]))?;
        Ok(vec![x[0].with_k(Shape::broadcast_k(Self::NAME, x)?)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], scratch: &mut [T]) {
        let (shape, images) = (x[0].shape(), y[0].shape().k * x[0].shape().n);
        let (c, pixels, per, lanes) = (shape.c, shape.pixels(), shape.c / self.groups, Lanes::new(shape));
        let (sums, means) = scratch.split_at_mut(2 * lanes.sums(images));
        channel_sums(self.groups, [&x[0], &x[2], &x[3]], &lanes, sums);
        let count = T::of((pixels * per) as f64);
        // The means of g and g xhat.
        means.par_chunks_mut(2 * self.groups).zip(sums.par_chunks(2 * c * lanes.chunks)).enumerate().for_each(
            |(i, (means, sums))| {
                let gamma = x[1].slice(i / shape.n);
                for (group, means) in means.chunks_exact_mut(2).enumerate() {
                    let channels = group * per..(group + 1) * per;
                    let mean =
                        |of: usize| channels.clone().map(|ch| gamma[ch] * over_chunks(sums, c, of + ch)).sum::<T>();
                    (means[0], means[1]) = (mean(c) / count, mean(0) / count);
                }
            },
        );
        let means: &[T] = means;
        y[0].chunks(lanes.chunk * c).for_each(|(i, chunk, dx)| {
            let (k, n) = (i / shape.n, i % shape.n);
            let (gamma, stats, means) = (x[1].slice(k), x[2].image(k, n), &means[2 * self.groups * i..]);
            let (x, dy) = (lanes.chunk_of(x[0].image(k, n), chunk), lanes.chunk_of(x[3].image(k, n), chunk));
            let (mu, r) = (|ch: usize| stats[ch / per * 2], |ch: usize| stats[ch / per * 2 + 1]);
            let (g, gx) = (|ch: usize| means[ch / per * 2], |ch: usize| means[ch / per * 2 + 1]);
            // dx = r gamma dy - r mean(g) - r^2 (x - mu) mean(g xhat): three coefficients a channel.
            for columns in Columns::all(c) {
                let of_dy = columns.spread(|ch| r(ch) * gamma[ch]);
                let of_x = columns.spread(|ch| -r(ch) * r(ch) * gx(ch));
                let shift = columns.spread(|ch| r(ch) * r(ch) * gx(ch) * mu(ch) - r(ch) * g(ch));
                columns.map(dx, x, dy, |j, x, dy| of_dy[j] * dy + of_x[j] * x + shift[j]);
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let (input, to) = (x[0].shape, y[0].shape);
        let lanes = Lanes::new(input);
        let groups = to.k * to.n * self.groups;
        let first_mean = to.k * lanes.sums(to.n);
        let means = shaders::group_norm_means::Params {
            groups: word(groups),
            n: word(to.n),
            norm_groups: word(self.groups),
            pixels: word(to.pixels()),
            c: word(to.c),
            chunks: word(lanes.chunks),
            means: word(first_mean),
            gamma_k: word(x[1].k_stride),
        };
        let means = Dispatch::new("group_norm_means", means, &[Bind::In(1), Bind::Scratch], groups);
        let groups = lanes.workgroups(to.k * to.n);
        let gradient = shaders::group_norm_grad_input::Params {
            groups: word(groups),
            n: word(to.n),
            norm_groups: word(self.groups),
            pixels: word(to.pixels()),
            c: word(to.c),
            block: word(lanes.block),
            lanes: word(lanes.lanes),
            chunk: word(lanes.chunk),
            chunks: word(lanes.chunks),
            means: word(first_mean),
            x_k: word(x[0].k_stride),
            gamma_k: word(x[1].k_stride),
            statistics_k: word(x[2].k_stride),
            dy_k: word(x[3].k_stride),
            dx_k: word(y[0].k_stride),
        };
        let binds = [Bind::In(0), Bind::In(1), Bind::In(2), Bind::In(3), Bind::Out(0), Bind::Scratch];
        let gradient = Dispatch::new("group_norm_grad_input", gradient, &binds, groups);
        vec![sums(self.groups, to.k, [(x, 0), (x, 2), (x, 3)]), means, gradient]
    }

    /// Two sums a channel for every chunk of pixels, then two means a group.
    fn scratch(&self, x: &[Shape], y: &[Shape]) -> usize {
        2 * y[0].k * (Lanes::new(x[0]).sums(x[0].n) + x[0].n * self.groups)
    }

    fn flops(&self, _: &[Shape], y: &[Shape]) -> u64 {
        10 * y[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |groups, k, [kx, n, h, w, c]: [usize; 5], kg| {
            let x = [kx, n, h, w, c];
            Sample::normal(Self { groups }, &[x, [kg, 1, 1, 1, c], [kx, n, 1, groups, 2], [k, n, h, w, c]])
        };
        vec![
            case(1, 1, [1, 1, 2, 1, 1], 1),
            case(2, 2, [2, 3, 5, 7, 6], 2),
            case(8, 3, [1, 2, 9, 8, 24], 3),
            case(4, 3, [3, 1, 17, 3, 12], 1),
            case(5, 2, [1, 2, 19, 17, 70], 2),
        ]
    }
}

/// Gradient with respect to the affine. Inputs: `x, statistics, dy`. Outputs: `dgamma, dbeta`, each `[k, 1, 1, 1, c]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupNormGradAffine {
    /// Number of groups.
    pub groups: usize,
    /// Landmark extent of the affine: 1 sums over landmarks.
    pub k: usize,
}

impl Kernel for GroupNormGradAffine {
    const NAME: &'static str = "group_norm_grad_affine";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let k = Shape::broadcast_k(Self::NAME, x)?;
        let fits = x[1].w == self.groups && x[2].with_k(1) == x[0].with_k(1) && (self.k == 1 || self.k == k);
        expect(Self::NAME, fits, || format!("{:?}, {:?} and {:?} do not fit", x[0], x[1], x[2]))?;
        Ok(vec![Shape { k: self.k, n: 1, h: 1, w: 1, c: x[0].c }; 2])
    }

    /// Two sums a channel for every chunk of pixels.
    fn scratch(&self, x: &[Shape], _: &[Shape]) -> usize {
        let k = x.iter().map(|s| s.k).max().unwrap_or(1);
        2 * k * Lanes::new(x[0]).sums(x[0].n)
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], scratch: &mut [T]) {
        let (c, lanes) = (x[0].shape().c, Lanes::new(x[0].shape()));
        channel_sums(self.groups, [&x[0], &x[1], &x[2]], &lanes, scratch);
        let [dgamma, dbeta] = y else { unreachable!("two outputs are inferred") };
        let of_landmark = scratch.len() / self.k;
        for (k, (dgamma, dbeta)) in dgamma.slices().zip(dbeta.slices()).enumerate() {
            let sums = &scratch[k * of_landmark..][..of_landmark];
            for ch in 0..c {
                (dgamma[ch], dbeta[ch]) = (over_chunks(sums, c, ch), over_chunks(sums, c, c + ch));
            }
        }
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let (input, to) = (x[0].shape, y[0].shape);
        let k = x.iter().map(|x| x.shape.k).max().unwrap_or(1);
        let groups = to.k * to.c;
        let affine = shaders::group_norm_grad_affine::Params {
            groups: word(groups),
            c: word(to.c),
            chunks: word(k / to.k * input.n * Lanes::new(input).chunks),
            dgamma_k: word(y[0].k_stride),
            dbeta_k: word(y[1].k_stride),
        };
        let binds = [Bind::Scratch, Bind::Out(0), Bind::Out(1)];
        let affine = Dispatch::new("group_norm_grad_affine", affine, &binds, groups);
        vec![sums(self.groups, k, [(x, 0), (x, 1), (x, 2)]), affine]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        5 * (x[0].k.max(x[2].k) * x[0].slice_len()) as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |groups, k, [kx, n, h, w, c]: [usize; 5], kdy| {
            Sample::normal(Self { groups, k }, &[[kx, n, h, w, c], [kx, n, 1, groups, 2], [kdy, n, h, w, c]])
        };
        vec![
            case(1, 1, [1, 1, 2, 1, 1], 1),
            case(2, 2, [2, 3, 5, 7, 6], 2),
            case(8, 3, [1, 2, 9, 8, 24], 3),
            case(4, 1, [3, 1, 17, 3, 12], 3),
            case(5, 1, [1, 2, 19, 17, 70], 2),
        ]
    }
}
