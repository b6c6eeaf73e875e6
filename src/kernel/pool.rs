//! 2x2 pooling with stride 2; an odd last row or column is left out.
//!
//! The gradient of the maximum goes to the first of equal elements in row-major order, on every device.

use super::tensor::expect;
use super::{Bind, Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What becomes of four pixels. The discriminant is its number in the shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u32)]
pub enum PoolKind {
    /// Their maximum.
    Max = 0,
    /// Their mean.
    Mean = 1,
}

/// `[k, n, h, w, c] -> [k, n, h / 2, w / 2, c]`. Input: `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Maximum or mean.
    pub kind: PoolKind,
}

/// Offsets of the four elements that pool into one, and of that one, for each channel.
fn windows(shape: Shape) -> impl Iterator<Item = (usize, [usize; 4])> {
    let Shape { h, w, c, .. } = shape;
    (0..(h / 2) * (w / 2)).flat_map(move |i| {
        let (y, x) = (i / (w / 2), i % (w / 2));
        let at = move |dy: usize, dx: usize| ((2 * y + dy) * w + 2 * x + dx) * c;
        let corners = [at(0, 0), at(0, 1), at(1, 0), at(1, 1)];
        (0..c).map(move |ch| (i * c + ch, corners.map(|corner| corner + ch)))
    })
}

fn pooled(shape: Shape) -> Shape {
    Shape { h: shape.h / 2, w: shape.w / 2, ..shape }
}

impl Kernel for Pool {
    const NAME: &'static str = "pool";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        expect(Self::NAME, x[0].h >= 2 && x[0].w >= 2, || format!("{:?} is smaller than 2x2", x[0]))?;
        Ok(vec![pooled(x[0])])
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        Ok(vec![Some(tape.push1(PoolGrad { kind: self.kind }, &[x[0], dy])?)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let shape = x[0].shape();
        y[0].images().enumerate().for_each(|(i, y)| {
            let x = x[0].image(i / shape.n, i % shape.n);
            for (to, from) in windows(shape) {
                let [a, b, c, d] = from.map(|i| x[i]);
                y[to] = match self.kind {
                    PoolKind::Max => a.max(b).max(c.max(d)),
                    PoolKind::Mean => (a + b + (c + d)) * T::of(0.25),
                };
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let Shape { n, h, w, c, .. } = x[0].shape;
        let params = shaders::pool::Params {
            elements: word(y[0].shape.len()),
            x_k: word(x[0].k_stride),
            y_k: word(y[0].k_stride),
            n: word(n),
            h: word(h),
            w: word(w),
            c: word(c),
            kind: self.kind as u32,
        };
        vec![Dispatch::elements("pool", params, &[Bind::In(0), Bind::Out(0)], y[0].shape.len())]
    }

    fn samples() -> Vec<Sample<Self>> {
        let kinds = [PoolKind::Max, PoolKind::Mean];
        let shapes = [[1, 1, 2, 2, 1], [2, 3, 5, 7, 3], [1, 2, 16, 9, 8]];
        kinds.into_iter().flat_map(|kind| shapes.map(|x| Sample::normal(Self { kind }, &[x]))).collect()
    }
}

/// Inputs: `x, dy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolGrad {
    /// Maximum or mean.
    pub kind: PoolKind,
}

impl Kernel for PoolGrad {
    const NAME: &'static str = "pool_grad";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        expect(Self::NAME, pooled(x[0]) == x[1], || format!("{:?} does not pool to {:?}", x[0], x[1]))?;
        Ok(vec![x[0]])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let shape = x[0].shape();
        y[0].images().enumerate().for_each(|(i, dx)| {
            let (k, n) = (i / shape.n, i % shape.n);
            let (x, dy) = (x[0].image(k, n), x[1].image(k, n));
            dx.fill(T::zero());
            for (from, to) in windows(shape) {
                match self.kind {
                    PoolKind::Max => {
                        let first = (1..4).fold(0, |best, j| if x[to[j]] > x[to[best]] { j } else { best });
                        dx[to[first]] = dy[from];
                    }
                    PoolKind::Mean => to.iter().for_each(|&j| dx[j] = dy[from] * T::of(0.25)),
                }
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let Shape { n, h, w, c, .. } = x[0].shape;
        let params = shaders::pool_grad::Params {
            elements: word(y[0].shape.len()),
            x_k: word(x[0].k_stride),
            dy_k: word(x[1].k_stride),
            dx_k: word(y[0].k_stride),
            n: word(n),
            h: word(h),
            w: word(w),
            c: word(c),
            kind: self.kind as u32,
        };
        vec![Dispatch::elements("pool_grad", params, &[Bind::In(0), Bind::In(1), Bind::Out(0)], y[0].shape.len())]
    }

    fn samples() -> Vec<Sample<Self>> {
        let shapes = [
            ([1, 1, 2, 2, 1], [1, 1, 1, 1, 1]),
            ([2, 3, 5, 7, 3], [2, 3, 2, 3, 3]),
            ([1, 2, 16, 9, 8], [1, 2, 8, 4, 8]),
        ];
        let kinds = [PoolKind::Max, PoolKind::Mean];
        kinds.into_iter().flat_map(|kind| shapes.map(|(x, dy)| Sample::normal(Self { kind }, &[x, dy]))).collect()
    }
}
