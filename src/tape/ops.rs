//! The operations by name: what networks are written in.

use super::{Tape, Var};
use crate::Result;
use crate::kernel::activation::{Activate, Activation};
use crate::kernel::concat::Concat;
use crate::kernel::conv2d::Conv2d;
use crate::kernel::cross_entropy::SpatialCrossEntropy;
use crate::kernel::elementwise::{Binary, BinaryKind, ScaleShift};
use crate::kernel::group_norm::GroupNorm;
use crate::kernel::l2_normalize::L2Normalize;
use crate::kernel::matmul::MatMul;
use crate::kernel::pool::{Pool, PoolKind};
use crate::kernel::reduce::Sum;
use crate::kernel::resize::Resize;
use crate::kernel::sample_points::SamplePoints;
use crate::kernel::soft_argmax::SoftArgmax;
use crate::kernel::softmax::{SpatialSoftmax, Target, TargetMaps};
use crate::kernel::warp::WarpAugment;

impl Tape {
    /// Convolution `[k, n, h, w, c_in] -> [k, n, h', w', c_out]` with "same" padding for odd kernels; `adapter` is the pair
    /// (`v`: `[k, r, 1, 1, c_in]`, `u`: `[k, c_out, 1, 1, r]`) of the parallel rank-r adapter `u v x`.
    pub fn conv2d(
        &mut self,
        x: Var,
        w: Var,
        bias: Option<Var>,
        adapter: Option<(Var, Var)>,
        stride: usize,
    ) -> Result<Var> {
        let pad = self.shape(w).h / 2;
        let op =
            Conv2d { stride, pad, bias: bias.is_some(), adapter: adapter.is_some(), activation: Activation::Identity };
        let inputs: Vec<Var> =
            [x, w].into_iter().chain(bias).chain(adapter.into_iter().flat_map(|(v, u)| [v, u])).collect();
        self.push1(op, &inputs)
    }

    /// Group normalisation with affine `gamma`, `beta`: `[k, 1, 1, 1, c]`.
    pub fn group_norm(&mut self, x: Var, gamma: Var, beta: Var, groups: usize) -> Result<Var> {
        self.push1(GroupNorm { groups, activation: Activation::Identity }, &[x, gamma, beta])
    }

    /// An activation.
    pub fn activate(&mut self, x: Var, activation: Activation) -> Result<Var> {
        self.push1(Activate { activation }, &[x])
    }

    /// 2x2 pooling with stride 2; an odd last row or column is left out.
    pub fn pool(&mut self, x: Var, kind: PoolKind) -> Result<Var> {
        self.push1(Pool { kind }, &[x])
    }

    /// Bilinear resize to `h` x `w`, half-pixel centres.
    pub fn resize(&mut self, x: Var, h: usize, w: usize) -> Result<Var> {
        let shape = self.shape(x);
        if (shape.h, shape.w) == (h, w) { Ok(x) } else { self.push1(Resize { h, w }, &[x]) }
    }

    /// Concatenation along the channels.
    pub fn concat(&mut self, a: Var, b: Var) -> Result<Var> {
        self.push1(Concat {}, &[a, b])
    }

    /// `a + b`, broadcasting every axis.
    pub fn add(&mut self, a: Var, b: Var) -> Result<Var> {
        self.push1(Binary { kind: BinaryKind::Add }, &[a, b])
    }

    /// `a - b`, broadcasting every axis.
    pub fn sub(&mut self, a: Var, b: Var) -> Result<Var> {
        self.push1(Binary { kind: BinaryKind::Sub }, &[a, b])
    }

    /// `a b` element by element, broadcasting every axis.
    pub fn mul(&mut self, a: Var, b: Var) -> Result<Var> {
        self.push1(Binary { kind: BinaryKind::Mul }, &[a, b])
    }

    /// `scale x + shift`.
    pub fn scale_shift(&mut self, x: Var, scale: f32, shift: f32) -> Result<Var> {
        self.push1(ScaleShift { scale, shift }, &[x])
    }

    /// The sum of all elements, a scalar.
    pub fn sum_all(&mut self, x: Var) -> Result<Var> {
        self.push1(Sum { keep: [false; 5] }, &[x])
    }

    /// `x / sqrt(sum_c x^2 + eps)` at each pixel.
    pub fn l2_normalize(&mut self, x: Var) -> Result<Var> {
        self.push1(L2Normalize {}, &[x])
    }

    /// Features `[k, n, 1, p, c]` of a map at points `[k, n, 1, p, 2]`, which are in pixels of a grid `scale` times as fine.
    pub fn sample_points(&mut self, map: Var, points: Var, scale: f32) -> Result<Var> {
        self.push1(SamplePoints { scale }, &[map, points])
    }

    /// The similarity `[k, n, h, w, p]` of a map `[k, n, h, w, c]` with point features `[k, n, 1, p, c]`: inner products.
    pub fn similarity(&mut self, map: Var, features: Var) -> Result<Var> {
        self.push1(MatMul { transpose_a: false, transpose_b: true }, &[map, features])
    }

    /// Softmax over the pixels of each channel.
    pub fn spatial_softmax(&mut self, logits: Var) -> Result<Var> {
        self.push1(SpatialSoftmax {}, &[logits])
    }

    /// Target maps `[k, n, h, w, p]`, each of sum one, around points `[k, n, 1, p, 2]` given as to [`Tape::sample_points`].
    pub fn target_maps(&mut self, points: Var, h: usize, w: usize, scale: f32, target: Target) -> Result<Var> {
        self.push1(TargetMaps { h, w, scale, target }, &[points])
    }

    /// Cross-entropy `[k, n, 1, 1, c]` between target maps and the spatial softmax of logits, times a weight a map.
    pub fn spatial_cross_entropy(&mut self, logits: Var, targets: Var, weights: Var) -> Result<Var> {
        self.push1(SpatialCrossEntropy {}, &[logits, targets, weights])
    }

    /// `[k, n, 1, c, 4]`: x, y (pixels of the map), peak probability and spread (pixels) of each channel.
    pub fn soft_argmax(&mut self, logits: Var, radius: usize) -> Result<Var> {
        self.push1(SoftArgmax { radius }, &[logits])
    }

    /// Crops `[k, n, h, w, 1]` of stored images by a [table](crate::kernel::warp) of samples.
    pub fn warp_augment(&mut self, images: Var, table: Var, h: usize, w: usize) -> Result<Var> {
        self.push1(WarpAugment { h, w }, &[images, table])
    }
}
