//! The softmax over the pixels of each channel, and target maps around points.
//!
//! ```text
//! p[i] = exp(x[i] - max) / sum_j exp(x[j] - max);      dx = p (dy - sum_j p[j] dy[j])
//! ```

use super::columns::{Columns, WIDTH};
use super::tensor::expect;
use super::{Bind, Dispatch, Domain, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::cpu::scratch::with_scratch;
use crate::gpu::shaders;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The maximum and the sum of `exp(x - maximum)` of each channel, in all columns of it.
pub(super) fn max_and_sum<T: Real>(columns: Columns, x: &[T]) -> [[T; WIDTH]; 2] {
    let max = columns.max(x);
    let [sum] = columns.sums(x, x, |j, v, _| [(v - max[j]).fast_exp()]);
    [max, sum]
}

/// `[k, n, h, w, c]`, each channel a distribution over `h, w`. Input: logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpatialSoftmax {}

impl Kernel for SpatialSoftmax {
    const NAME: &'static str = "spatial_softmax";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![x[0]])
    }

    fn grad(&self, tape: &mut Tape, _: &[Var], y: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        Ok(vec![Some(tape.push1(SpatialSoftmaxGrad {}, &[y[0], dy])?)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let Shape { n, c, .. } = x[0].shape();
        y[0].images().enumerate().for_each(|(i, y)| {
            let x = x[0].image(i / n, i % n);
            for columns in Columns::all(c) {
                let [max, sum] = max_and_sum(columns, x);
                let factor = sum.map(|sum| T::one() / sum);
                columns.map(y, x, x, |j, x, _| (x - max[j]).fast_exp() * factor[j]);
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let shape = y[0].shape;
        let groups = shape.k * shape.n * shape.c;
        let params = shaders::spatial_softmax::Params {
            groups: word(groups),
            n: word(shape.n),
            pixels: word(shape.pixels()),
            c: word(shape.c),
            x_k: word(x[0].k_stride),
            y_k: word(y[0].k_stride),
        };
        vec![Dispatch::new("spatial_softmax", params, &[Bind::In(0), Bind::Out(0)], groups)]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        5 * x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        [[1, 1, 1, 1, 1], [2, 3, 5, 4, 3], [1, 2, 33, 17, 2]].map(|x| Sample::normal(Self {}, &[x])).into()
    }
}

/// Inputs: `p, dy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpatialSoftmaxGrad {}

impl Kernel for SpatialSoftmaxGrad {
    const NAME: &'static str = "spatial_softmax_grad";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        expect(Self::NAME, x[0] == x[1], || format!("{:?} and {:?} differ", x[0], x[1]))?;
        Ok(vec![x[0]])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let Shape { n, c, .. } = x[0].shape();
        y[0].images().enumerate().for_each(|(i, dx)| {
            let (p, dy) = (x[0].image(i / n, i % n), x[1].image(i / n, i % n));
            for columns in Columns::all(c) {
                let [along] = columns.sums(p, dy, |_, p, dy| [p * dy]);
                columns.map(dx, p, dy, |j, p, dy| p * (dy - along[j]));
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let shape = y[0].shape;
        let groups = shape.k * shape.n * shape.c;
        let params = shaders::spatial_softmax_grad::Params {
            groups: word(groups),
            n: word(shape.n),
            pixels: word(shape.pixels()),
            c: word(shape.c),
            y_k: word(x[0].k_stride),
            dy_k: word(x[1].k_stride),
            dx_k: word(y[0].k_stride),
        };
        vec![Dispatch::new("spatial_softmax_grad", params, &[Bind::In(0), Bind::In(1), Bind::Out(0)], groups)]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        4 * x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |x: [usize; 5]| Sample::new(Self {}, &[(x, Domain::Range(0.0, 0.1)), (x, Domain::Normal)]);
        [[1, 1, 1, 1, 1], [2, 3, 5, 4, 3], [1, 2, 33, 17, 2]].map(case).into()
    }
}

/// The form of a target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A Gaussian with this standard deviation in pixels of the map.
    Gaussian(f32),
    /// The four pixels around the point, with the weights of bilinear interpolation.
    Tent,
}

/// Added to the sum over an axis before dividing by it: far outside the map, a target fades to zero.
pub const TARGET_EPS: f64 = 1e-6;

/// A map a point, of sum one where the point is inside: `[k, n, 1, p, 2]` -> `[k, n, h, w, p]`. Points are given in a finer
/// grid as to [`SamplePoints`](super::sample_points::SamplePoints). Input: points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetMaps {
    /// Height of the maps.
    pub h: usize,
    /// Width of the maps.
    pub w: usize,
    /// How many times the points' grid is as fine as the maps.
    pub scale: f32,
    /// The form.
    pub target: Target,
}

impl TargetMaps {
    /// The factor along one axis.
    fn axis<T: Real>(&self, point: T, axis: &mut [T]) {
        let half = T::of(0.5);
        let u = (point + half) / T::of(self.scale.into()) - half;
        for (i, v) in axis.iter_mut().enumerate() {
            let d = T::of(i as f64) - u;
            *v = match self.target {
                Target::Gaussian(sigma) => (-(d * d) / T::of(2.0 * f64::from(sigma) * f64::from(sigma))).exp(),
                Target::Tent => (T::one() - d.abs()).max(T::zero()),
            };
        }
        let sum = axis.iter().copied().sum::<T>() + T::of(TARGET_EPS);
        axis.iter_mut().for_each(|v| *v = *v / sum);
    }
}

impl Kernel for TargetMaps {
    const NAME: &'static str = "target_maps";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let fits = x[0].c == 2 && x[0].h == 1 && self.h > 0 && self.w > 0 && self.scale > 0.0;
        expect(Self::NAME, fits, || format!("{:?} are not points", x[0]))?;
        Ok(vec![Shape { h: self.h, w: self.w, c: x[0].w, ..x[0] }])
    }

    fn thread_scratch(&self, _: &[Shape], _: &[Shape]) -> usize {
        self.w + self.h
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let Shape { n, w: points, .. } = x[0].shape();
        y[0].images().enumerate().for_each(|(i, y)| {
            with_scratch(self.w + self.h, |axes: &mut [T]| {
                let (columns, rows) = axes.split_at_mut(self.w);
                for (p, point) in x[0].image(i / n, i % n).chunks_exact(2).enumerate() {
                    self.axis(point[0], columns);
                    self.axis(point[1], rows);
                    for (y, &row) in y.chunks_exact_mut(self.w * points).zip(&*rows) {
                        let pixels = y.iter_mut().skip(p).step_by(points);
                        pixels.zip(&*columns).for_each(|(y, &column)| *y = row * column);
                    }
                }
            });
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let shape = y[0].shape;
        let groups = shape.k * shape.n * shape.c;
        let params = shaders::target_maps::Params {
            groups: word(groups),
            n: word(shape.n),
            pixels: word(shape.pixels()),
            c: word(shape.c),
            h: word(self.h),
            w: word(self.w),
            scale: self.scale,
            spread: match self.target {
                Target::Gaussian(sigma) => (2.0 * f64::from(sigma) * f64::from(sigma)) as f32,
                Target::Tent => 0.0,
            },
            points_k: word(x[0].k_stride),
            y_k: word(y[0].k_stride),
        };
        vec![Dispatch::new("target_maps", params, &[Bind::In(0), Bind::Out(0)], groups)]
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |h, w, scale, target, points: [usize; 5]| {
            Sample::new(Self { h, w, scale, target }, &[(points, Domain::Range(-1.0, 12.0))])
        };
        vec![
            case(1, 1, 1.0, Target::Tent, [1, 1, 1, 1, 2]),
            case(7, 5, 2.0, Target::Tent, [2, 3, 1, 4, 2]),
            case(9, 17, 1.0, Target::Gaussian(1.5), [1, 2, 1, 3, 2]),
            case(12, 12, 1.0, Target::Gaussian(2.0), [3, 2, 1, 1, 2]),
        ]
    }
}
