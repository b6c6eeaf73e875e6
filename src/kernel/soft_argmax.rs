//! Local soft-argmax: the sub-pixel position of a heatmap's peak, its height and its spread.
//!
//! The first maximal pixel (row-major) is found; the position is the mean, weighted by the softmax, over a square of
//! `2 radius + 1` pixels a side about it, taken again about that mean, `ROUNDS` times in all (a mean shift). Pixels at the
//! square's rim count by the share of them that it covers, so the position is continuous: where two neighbours are maximal but
//! for a rounding error, either leads to the same one, up to what the rounds leave. The peak is the maximum's probability under the softmax over the whole map; the spread
//! is the root mean square distance (pixels) of the whole softmax from the position: small where one sharp peak stands alone.

use super::{Bind, Dispatch, Half, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::cpu::scratch::with_scratch;
use crate::gpu::shaders;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Means taken. Of the tied neighbours in `tests/decoding.rs` one mean leaves a seventh of the pixel between them; the test holds
/// all to 0.02 pixels.
pub(crate) const ROUNDS: usize = 4;

/// `[k, n, h, w, c]` -> `[k, n, 1, c, 4]`: x, y, peak, spread. Input: logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SoftArgmax {
    /// Half the window, in pixels.
    pub radius: usize,
}

impl SoftArgmax {
    /// The pixels of a row or column of `extent` that the square about `top + offset` covers, each with its covered share.
    fn covered<T: Real>(&self, top: T, offset: T, extent: usize) -> impl Iterator<Item = (usize, T)> {
        let reach = self.radius + 1;
        let middle = (top + offset).round().f64() as usize;
        (middle.saturating_sub(reach)..(middle + reach + 1).min(extent)).map(move |q| {
            let distance = (T::whole(q as u32) - top - offset).abs();
            (q, (T::whole(reach as u32) - distance).max(T::zero()).min(T::one()))
        })
    }
}

fn add<T: Real, const N: usize>(sums: &mut [T; N], terms: [T; N]) {
    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
}

/// Sums of `e`, `e d` and `e d^2` down the rows of a map, for each element of a row, with e = exp(x - max) and d the distance from
/// row `ty`: a function object, compiled for the widest vectors that the CPU has.
struct DownRows<'a, T> {
    x: &'a [T],
    max: &'a [T],
    ty: &'a [T],
    sums: &'a mut [T],
}

impl<T: Real> pulp::NullaryFnOnce for DownRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { x, max, ty, sums } = self;
        let len = max.len();
        sums.fill(T::zero());
        let (e_sum, rest) = sums.split_at_mut(len);
        let (first, second) = rest.split_at_mut(len);
        for (row, x) in x.chunks_exact(len).enumerate() {
            let row = T::whole(row as u32);
            let tops = x.iter().zip(max).zip(ty);
            let sums = e_sum.iter_mut().zip(&mut *first).zip(&mut *second);
            for (((e_sum, first), second), ((&x, &max), &ty)) in sums.zip(tops) {
                let (e, d) = ((x - max).fast_exp(), row - ty);
                *e_sum += e;
                *first += e * d;
                *second += e * d * d;
            }
        }
    }
}

impl Kernel for SoftArgmax {
    const NAME: &'static str = "soft_argmax";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![Shape { h: 1, w: x[0].c, c: 4, ..x[0] }])
    }

    /// Of each pixel of a row: its channel's maximum and where that is, and three sums down the rows.
    fn thread_scratch(&self, x: &[Shape], _: &[Shape]) -> usize {
        5 * x[0].w * x[0].c
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let Shape { n, h, w, c, .. } = x[0].shape();
        y[0].images().enumerate().for_each(|(i, y)| {
            let x = x[0].image(i / n, i % n);
            let at = |pixel: usize, ch: usize| x[pixel * c + ch];
            for (ch, y) in y.chunks_exact_mut(4).enumerate() {
                let top = (0..h * w).fold(0, |best, p| if at(p, ch) > at(best, ch) { p } else { best });
                (y[0], y[1], y[2]) = (T::whole((top % w) as u32), T::whole((top / w) as u32), at(top, ch));
            }
            with_scratch(5 * w * c, |down: &mut [T]| {
                // Weights exp(x - max), their first and second moments about the peak: down the rows, across them, in the window.
                // Moments about the origin would cancel in f32.
                let (tops, sums) = down.split_at_mut(2 * w * c);
                let (max, ty) = tops.split_at_mut(w * c);
                for (max, ty) in max.chunks_exact_mut(c).zip(ty.chunks_exact_mut(c)) {
                    let of_channels = max.iter_mut().zip(ty).zip(y.chunks_exact(4));
                    of_channels.for_each(|((max, ty), y)| (*max, *ty) = (y[2], y[1]));
                }
                pulp::Arch::new().dispatch(DownRows { x, max, ty, sums });
                for (ch, y) in y.chunks_exact_mut(4).enumerate() {
                    let (tx, ty, max) = (y[0], y[1], y[2]);
                    let mut all = [T::zero(); 4];
                    for px in 0..w {
                        let [e, ey, eyy] = [0, 1, 2].map(|moment| sums[(moment * w + px) * c + ch]);
                        let dx = T::whole(px as u32) - tx;
                        add(&mut all, [e, e * dx, ey, e * dx * dx + eyy]);
                    }
                    // From the peak, as the moments are.
                    let (mut px, mut py) = (T::zero(), T::zero());
                    for _ in 0..ROUNDS {
                        let mut local = [T::zero(); 3];
                        for (qy, cover_y) in self.covered(ty, py, h) {
                            for (qx, cover_x) in self.covered(tx, px, w) {
                                let e = (at(qy * w + qx, ch) - max).fast_exp() * cover_x * cover_y;
                                let (dx, dy) = (T::whole(qx as u32) - tx, T::whole(qy as u32) - ty);
                                add(&mut local, [e, e * dx, e * dy]);
                            }
                        }
                        (px, py) = (local[1] / local[0], local[2] / local[0]);
                    }
                    let two = T::of(2.0);
                    let square = all[3] / all[0] - two * (px * all[1] + py * all[2]) / all[0] + px * px + py * py;
                    y.copy_from_slice(&[tx + px, ty + py, T::one() / all[0], square.max(T::zero()).sqrt()]);
                }
            });
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

    fn half(&self) -> Option<Half> {
        Some(Half::Reads)
    }

    fn samples() -> Vec<Sample<Self>> {
        [([1, 1, 1, 1, 1], 1), ([2, 3, 5, 4, 3], 1), ([1, 2, 33, 17, 2], 3), ([3, 1, 16, 16, 1], 5)]
            .map(|(x, radius)| Sample::normal(Self { radius }, &[x]))
            .into()
    }
}
