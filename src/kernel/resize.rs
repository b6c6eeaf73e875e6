//! Bilinear resize with half-pixel centres and edges clamped: output pixel `i` reads at `(i + 1/2) h / h' - 1/2`.
//!
//! The gradient gathers: every input pixel sums, in order, over the output pixels that read it, so it needs no atomics.

use super::tensor::expect;
use super::{Bind, Dispatch, Half, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// `[k, n, h, w, c] -> [k, n, h', w', c]`. Input: `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resize {
    /// Height of the result.
    pub h: usize,
    /// Width of the result.
    pub w: usize,
}

/// The two source indices of output `i` and the weight of the second, for a resize of `from` to `to` along one axis.
fn taps<T: Real>(i: usize, from: usize, to: usize) -> (usize, usize, T) {
    // In f32, as on a GPU: both executors then pick the same pixels.
    let at = (i as f32 + 0.5) * (from as f32 / to as f32) - 0.5;
    let at = at.clamp(0.0, (from - 1) as f32);
    let low = at as usize;
    (low, (low + 1).min(from - 1), T::of(f64::from(at - low as f32)))
}

impl Kernel for Resize {
    const NAME: &'static str = "resize";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        expect(Self::NAME, self.h > 0 && self.w > 0, || "the result is empty".into())?;
        Ok(vec![Shape { h: self.h, w: self.w, ..x[0] }])
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        let Shape { h, w, .. } = tape.shape(x[0]);
        Ok(vec![Some(tape.push1(ResizeGrad { h, w }, &[dy])?)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let Shape { n: batch, h, w, c, .. } = x[0].shape();
        let columns: Vec<(usize, usize, T)> = (0..self.w).map(|ox| taps(ox, w, self.w)).collect();
        y[0].images().into_par_iter().enumerate().for_each(|(i, y)| {
            let x = x[0].image(i / batch, i % batch);
            for (oy, row) in y.chunks_exact_mut(self.w * c).enumerate() {
                let (y0, y1, fy) = taps::<T>(oy, h, self.h);
                let (top, bottom) = (&x[y0 * w * c..][..w * c], &x[y1 * w * c..][..w * c]);
                for (to, &(x0, x1, fx)) in row.chunks_exact_mut(c).zip(&columns) {
                    let at = |row: &[T], x: usize, ch: usize| row[x * c + ch];
                    for (ch, to) in to.iter_mut().enumerate() {
                        let a = at(top, x0, ch) + (at(top, x1, ch) - at(top, x0, ch)) * fx;
                        let b = at(bottom, x0, ch) + (at(bottom, x1, ch) - at(bottom, x0, ch)) * fx;
                        *to = a + (b - a) * fy;
                    }
                }
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let Shape { n, h, w, c, .. } = x[0].shape;
        let params = shaders::resize::Params {
            elements: word(y[0].shape.len()),
            x_k: word(x[0].k_stride),
            y_k: word(y[0].k_stride),
            n: word(n),
            h: word(h),
            w: word(w),
            c: word(c),
            oh: word(self.h),
            ow: word(self.w),
            ratio_y: h as f32 / self.h as f32,
            ratio_x: w as f32 / self.w as f32,
        };
        vec![Dispatch::elements("resize", params, &[Bind::In(0), Bind::Out(0)], y[0].shape.len())]
    }

    fn flops(&self, _: &[Shape], y: &[Shape]) -> u64 {
        8 * y[0].len() as u64
    }

    fn half(&self) -> Option<Half> {
        Some(Half::Both)
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |h, w, x| Sample::normal(Self { h, w }, &[x]);
        vec![
            case(1, 1, [1, 1, 1, 1, 1]),
            case(4, 6, [2, 3, 2, 3, 3]),
            case(9, 5, [1, 2, 4, 2, 8]),
            case(3, 4, [1, 1, 7, 9, 2]),
            case(7, 1, [2, 1, 3, 3, 5]),
        ]
    }
}

/// Input: `dy`, of the resize's output shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResizeGrad {
    /// Height of the resize's input.
    pub h: usize,
    /// Width of the resize's input.
    pub w: usize,
}

/// For each source index of a resize along one axis, the outputs that read it and their weights, in order.
fn readers<T: Real>(from: usize, to: usize) -> Vec<Vec<(usize, T)>> {
    let mut readers = vec![Vec::new(); from];
    for i in 0..to {
        let (low, high, f) = taps::<T>(i, from, to);
        readers[low].push((i, T::one() - f));
        readers[high].push((i, f));
    }
    readers
}

impl Kernel for ResizeGrad {
    const NAME: &'static str = "resize_grad";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![Shape { h: self.h, w: self.w, ..x[0] }])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let Shape { n: batch, h: oh, w: ow, c, .. } = x[0].shape();
        let (rows, columns) = (readers::<T>(self.h, oh), readers::<T>(self.w, ow));
        y[0].images().into_par_iter().enumerate().for_each(|(i, dx)| {
            let dy = x[0].image(i / batch, i % batch);
            for (pixel, to) in dx.chunks_exact_mut(c).enumerate() {
                to.fill(T::zero());
                for &(oy, fy) in &rows[pixel / self.w] {
                    for &(ox, fx) in &columns[pixel % self.w] {
                        let weight = fy * fx;
                        let from = &dy[(oy * ow + ox) * c..][..c];
                        to.iter_mut().zip(from).for_each(|(to, &from)| *to += weight * from);
                    }
                }
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let Shape { n, h: oh, w: ow, c, .. } = x[0].shape;
        let params = shaders::resize_grad::Params {
            elements: word(y[0].shape.len()),
            dy_k: word(x[0].k_stride),
            dx_k: word(y[0].k_stride),
            n: word(n),
            h: word(self.h),
            w: word(self.w),
            c: word(c),
            oh: word(oh),
            ow: word(ow),
            ratio_y: self.h as f32 / oh as f32,
            ratio_x: self.w as f32 / ow as f32,
        };
        vec![Dispatch::elements("resize_grad", params, &[Bind::In(0), Bind::Out(0)], y[0].shape.len())]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        8 * x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |h, w, dy| Sample::normal(Self { h, w }, &[dy]);
        vec![
            case(1, 1, [1, 1, 1, 1, 1]),
            case(2, 3, [2, 3, 4, 6, 3]),
            case(4, 2, [1, 2, 9, 5, 8]),
            case(7, 9, [1, 1, 3, 4, 2]),
            case(3, 3, [2, 1, 7, 1, 5]),
        ]
    }
}
