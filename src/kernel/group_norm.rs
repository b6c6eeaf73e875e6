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
use super::columns::{Columns, WIDTH};
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

/// How the GPU cuts an image's pixels and channels into workgroups: see `shaders/lib/reduce_lanes.wgsl`.
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

/// Adds two sums of each of the columns' channels to those of its group.
fn add_to_groups<T: Real>(columns: Columns, [a, b]: &[[T; WIDTH]; 2], per: usize, groups: &mut [T]) {
    for (j, channel) in columns.channels().enumerate() {
        groups[channel / per * 2] += a[j];
        groups[channel / per * 2 + 1] += b[j];
    }
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

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let shape = x[0].shape();
        let (c, pixels, per) = (shape.c, shape.pixels(), shape.c / self.groups);
        let [y, stats] = y else { unreachable!("two outputs are inferred") };
        y.images().zip(stats.images()).enumerate().for_each(|(i, (y, stats))| {
            let (k, n) = (i / shape.n, i % shape.n);
            let x_image = x[0].image(k, n);
            // One pass: moments about a value of each group, which is near its mean compared with its spread.
            let pivot = |ch: usize| x_image[ch / per * per];
            stats.fill(T::zero());
            for columns in Columns::all(c) {
                let pivots = columns.spread(pivot);
                let moments = columns.sums(x_image, x_image, |j, x, _| {
                    let d = x - pivots[j];
                    [d, d * d]
                });
                add_to_groups(columns, &moments, per, stats);
            }
            let count = T::of((pixels * per) as f64);
            for (group, stats) in stats.chunks_exact_mut(2).enumerate() {
                let (mean, square) = (stats[0] / count, stats[1] / count);
                stats[0] = pivot(group * per) + mean;
                stats[1] = T::one() / ((square - mean * mean).max(T::zero()) + T::of(EPS)).sqrt();
            }
            let (gamma, beta) = (x[1].slice(k), x[2].slice(k));
            for columns in Columns::all(c) {
                let scale = columns.spread(|ch| gamma[ch] * stats[ch / per * 2 + 1]);
                let shift = columns.spread(|ch| beta[ch] - gamma[ch] * stats[ch / per * 2 + 1] * stats[ch / per * 2]);
                for (y, x) in columns.rows_mut(y).zip(columns.rows(x_image)) {
                    for (((y, &x), &scale), &shift) in y.iter_mut().zip(x).zip(&scale).zip(&shift) {
                        *y = x * scale + shift;
                    }
                    self.activation.apply(y);
                }
            }
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

    /// On the GPU, two moments a channel for every chunk of pixels.
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
        let shape = x[0].shape();
        let (c, pixels, per) = (shape.c, shape.pixels(), shape.c / self.groups);
        let sums = scratch.par_chunks_mut(2 * self.groups);
        y[0].images().zip(sums).enumerate().for_each(|(i, (dx, sums))| {
            let (k, n) = (i / shape.n, i % shape.n);
            let (x_image, gamma, stats, dy) = (x[0].image(k, n), x[1].slice(k), x[2].image(k, n), x[3].image(k, n));
            let (mean, r) = (|ch: usize| stats[ch / per * 2], |ch: usize| stats[ch / per * 2 + 1]);
            // Sums of g and g xhat.
            sums.fill(T::zero());
            for columns in Columns::all(c) {
                let (gammas, means, rs) = (columns.spread(|ch| gamma[ch]), columns.spread(mean), columns.spread(r));
                let of_channels = columns.sums(x_image, dy, |j, x, dy| {
                    let g = gammas[j] * dy;
                    [g, g * (x - means[j]) * rs[j]]
                });
                add_to_groups(columns, &of_channels, per, sums);
            }
            let count = T::of((pixels * per) as f64);
            sums.iter_mut().for_each(|sum| *sum = *sum / count);
            // dx = r gamma dy - r mean(g) - r^2 (x - mu) mean(g xhat): three coefficients a channel.
            for columns in Columns::all(c) {
                let of_dy = columns.spread(|ch| r(ch) * gamma[ch]);
                let of_x = columns.spread(|ch| -r(ch) * r(ch) * sums[ch / per * 2 + 1]);
                let shift =
                    columns.spread(|ch| r(ch) * r(ch) * sums[ch / per * 2 + 1] * mean(ch) - r(ch) * sums[ch / per * 2]);
                for ((dx, x), dy) in columns.rows_mut(dx).zip(columns.rows(x_image)).zip(columns.rows(dy)) {
                    for j in 0..dx.len().min(x.len()).min(dy.len()).min(WIDTH) {
                        dx[j] = of_dy[j] * dy[j] + of_x[j] * x[j] + shift[j];
                    }
                }
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

    /// Two sums a group of every sample; on the GPU, before them, two a channel for every chunk of pixels.
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

    /// Two sums a channel for every sample; on the GPU, for every chunk of its pixels.
    fn scratch(&self, x: &[Shape], _: &[Shape]) -> usize {
        let k = x.iter().map(|s| s.k).max().unwrap_or(1);
        2 * k * Lanes::new(x[0]).sums(x[0].n)
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], scratch: &mut [T]) {
        let shape = x[0].shape();
        let (c, per) = (shape.c, shape.c / self.groups);
        let landmarks = x.iter().map(|x| x.shape().k).max().unwrap_or(1);
        let scratch = &mut scratch[..2 * landmarks * shape.n * c];
        scratch.par_chunks_mut(2 * c).enumerate().for_each(|(i, partial)| {
            let (k, n) = (i / shape.n, i % shape.n);
            let (x, stats, dy) = (x[0].image(k, n), x[1].image(k, n), x[2].image(k, n));
            for columns in Columns::all(c) {
                let means = columns.spread(|ch| stats[ch / per * 2]);
                let rs = columns.spread(|ch| stats[ch / per * 2 + 1]);
                let [gamma, beta] = columns.sums(x, dy, |j, x, dy| [dy * (x - means[j]) * rs[j], dy]);
                for (j, ch) in columns.channels().enumerate() {
                    partial[ch] = gamma[j];
                    partial[c + ch] = beta[j];
                }
            }
        });
        let samples = landmarks * shape.n / self.k;
        let [dgamma, dbeta] = y else { unreachable!("two outputs are inferred") };
        for (k, (dgamma, dbeta)) in dgamma.slices().zip(dbeta.slices()).enumerate() {
            let partials = &scratch[k * samples * 2 * c..][..samples * 2 * c];
            for ch in 0..c {
                dgamma[ch] = partials.chunks(2 * c).map(|p| p[ch]).sum();
                dbeta[ch] = partials.chunks(2 * c).map(|p| p[c + ch]).sum();
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
