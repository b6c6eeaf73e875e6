//! Bilinear resize with half-pixel centres and edges clamped: output pixel `i` reads at `(i + 1/2) h / h' - 1/2`.
//!
//! The gradient of an image belongs to one thread, which adds up in order, so it needs no atomics; the GPU's gathers: every input
//! pixel sums over the output pixels that read it.

use super::tensor::expect;
use super::{Band, Bind, Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::cpu::scratch::with_scratch;
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

    fn thread_scratch(&self, x: &[Shape], _: &[Shape]) -> usize {
        x[0].w * x[0].c
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        let Shape { h, w, .. } = tape.shape(x[0]);
        Ok(vec![Some(tape.push1(ResizeGrad { h, w }, &[dy])?)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let Shape { h, w, c, .. } = x[0].shape();
        y[0].bands().for_each(|(Band { k, n, rows }, y)| {
            let x = x[0].image(k, n);
            // Each row is interpolated between rows, then along itself.
            with_scratch(w * c, |between: &mut [T]| {
                for (oy, to) in rows.zip(y.chunks_exact_mut(self.w * c)) {
                    let (y0, y1, fy) = taps::<T>(oy, h, self.h);
                    let (top, bottom) = (&x[y0 * w * c..][..w * c], &x[y1 * w * c..][..w * c]);
                    for ((v, &a), &b) in between.iter_mut().zip(top).zip(bottom) {
                        *v = a + (b - a) * fy;
                    }
                    for (ox, to) in to.chunks_exact_mut(c).enumerate() {
                        let (x0, x1, fx) = taps::<T>(ox, w, self.w);
                        let (left, right) = (&between[x0 * c..][..c], &between[x1 * c..][..c]);
                        for ((to, &a), &b) in to.iter_mut().zip(left).zip(right) {
                            *to = a + (b - a) * fx;
                        }
                    }
                }
            });
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

/// `to += factor from`.
fn add<T: Real>(to: &mut [T], factor: T, from: &[T]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to += factor * from);
}

impl Kernel for ResizeGrad {
    const NAME: &'static str = "resize_grad";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![Shape { h: self.h, w: self.w, ..x[0] }])
    }

    fn thread_scratch(&self, x: &[Shape], _: &[Shape]) -> usize {
        self.w * x[0].c
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let Shape { n: batch, h: oh, w: ow, c, .. } = x[0].shape();
        y[0].images().enumerate().for_each(|(i, dx)| {
            let dy = x[0].image(i / batch, i % batch);
            dx.fill(T::zero());
            // The transpose of the resize: each row is summed along itself, then into the two rows that it was made of.
            with_scratch(self.w * c, |along: &mut [T]| {
                for (oy, from) in dy.chunks_exact(ow * c).enumerate() {
                    along.fill(T::zero());
                    for (ox, from) in from.chunks_exact(c).enumerate() {
                        let (x0, x1, fx) = taps::<T>(ox, self.w, ow);
                        add(&mut along[x0 * c..][..c], T::one() - fx, from);
                        add(&mut along[x1 * c..][..c], fx, from);
                    }
                    let (y0, y1, fy) = taps::<T>(oy, self.h, oh);
                    add(&mut dx[y0 * self.w * c..][..self.w * c], T::one() - fy, along);
                    add(&mut dx[y1 * self.w * c..][..self.w * c], fy, along);
                }
            });
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
