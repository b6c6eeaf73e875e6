//! Local soft-argmax: the sub-pixel position of a heatmap's peak, its height and its spread.
//!
//! The first maximal pixel (row-major) is found; the position is the mean, weighted by the softmax, over the window of
//! `2 radius + 1` pixels around it. The peak is the maximum's probability under the softmax over the whole map; the spread
//! is the root mean square distance (pixels) of the whole softmax from the position: small where one sharp peak stands alone.

use super::{Bind, Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// `[k, n, h, w, c]` -> `[k, n, 1, c, 4]`: x, y, peak, spread. Input: logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SoftArgmax {
    /// Half the window, in pixels.
    pub radius: usize,
}

impl Kernel for SoftArgmax {
    const NAME: &'static str = "soft_argmax";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![Shape { h: 1, w: x[0].c, c: 4, ..x[0] }])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let Shape { n, h, w, c, .. } = x[0].shape();
        y[0].images().enumerate().for_each(|(i, y)| {
            let x = x[0].image(i / n, i % n);
            for (ch, y) in y.chunks_exact_mut(4).enumerate() {
                let at = |pixel: usize| x[pixel * c + ch];
                let top = (0..h * w).fold(0, |best, p| if at(p) > at(best) { p } else { best });
                // Weights exp(x - max), their first and second moments about the peak: in the window, then over the map.
                // Moments about the origin would cancel in f32.
                let (tx, ty) = (T::of((top % w) as f64), T::of((top / w) as f64));
                let moments = |ys: std::ops::Range<usize>, xs: std::ops::Range<usize>| {
                    let mut m = [T::zero(); 4];
                    for py in ys {
                        for px in xs.clone() {
                            let e = (at(py * w + px) - at(top)).exp();
                            let (fx, fy) = (T::of(px as f64) - tx, T::of(py as f64) - ty);
                            m[0] += e;
                            m[1] += e * fx;
                            m[2] += e * fy;
                            m[3] += e * (fx * fx + fy * fy);
                        }
                    }
                    m
                };
                let near = |p: usize, extent: usize| p.saturating_sub(self.radius)..(p + self.radius + 1).min(extent);
                let local = moments(near(top / w, h), near(top % w, w));
                let all = moments(0..h, 0..w);
                let (px, py) = (local[1] / local[0], local[2] / local[0]);
                let two = T::of(2.0);
                let square = all[3] / all[0] - two * (px * all[1] + py * all[2]) / all[0] + px * px + py * py;
                y.copy_from_slice(&[tx + px, ty + py, T::one() / all[0], square.max(T::zero()).sqrt()]);
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let shape = x[0].shape;
        let groups = shape.k * shape.n * shape.c;
        let params = shaders::soft_argmax::Params {
            groups: word(groups),
            n: word(shape.n),
            pixels: word(shape.pixels()),
            c: word(shape.c),
            w: word(shape.w),
            radius: word(self.radius),
            x_k: word(x[0].k_stride),
            y_k: word(y[0].k_stride),
        };
        vec![Dispatch::new("soft_argmax", params, &[Bind::In(0), Bind::Out(0)], groups)]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        10 * x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        [([1, 1, 1, 1, 1], 1), ([2, 3, 5, 4, 3], 1), ([1, 2, 33, 17, 2], 3), ([3, 1, 16, 16, 1], 5)]
            .map(|(x, radius)| Sample::normal(Self { radius }, &[x]))
            .into()
    }
}
