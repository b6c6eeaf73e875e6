//! 2x2 pooling with stride 2; an odd last row or column is left out.
//!
//! The gradient of the maximum goes to the first of equal elements in row-major order, on every device.

use super::tensor::expect;
use super::{Band, Bind, Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape, word};
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

/// The pixels of two rows that pool into one row: the two above and the two below of each, `c` channels a pixel.
fn windows<T>(rows: &[T], line: usize, c: usize) -> impl Iterator<Item = [&[T]; 4]> {
    let (top, low) = rows.split_at(line);
    top.chunks_exact(2 * c).zip(low.chunks_exact(2 * c)).map(move |(top, low)| {
        let ((a, b), (c, d)) = (top.split_at(c), low.split_at(c));
        [a, b, c, d]
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
        y[0].bands().for_each(|(Band { k, n, rows }, y)| {
            let line = shape.w * shape.c;
            let x = &x[0].image(k, n)[2 * rows.start * line..2 * rows.end * line];
            let rows = x.chunks_exact(2 * line).flat_map(|rows| windows(rows, line, shape.c));
            for (y, [a, b, c, d]) in y.chunks_exact_mut(shape.c).zip(rows) {
                let pixels =
                    y.iter_mut().zip(a).zip(b).zip(c).zip(d).map(|((((y, &a), &b), &c), &d)| (y, [a, b, c, d]));
                match self.kind {
                    PoolKind::Max => pixels.for_each(|(y, [a, b, c, d])| *y = a.max(b).max(c.max(d))),
                    PoolKind::Mean => pixels.for_each(|(y, [a, b, c, d])| *y = (a + b + (c + d)) * T::of(0.25)),
                }
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

/// The gradients `a, b, c, d` of four pixels from that of the one they pool into: the first of their largest has it. By selections of
/// one value each, which vectorise.
fn first_of_largest<T: Real>(x: [&[T]; 4], dy: &[T], a: &mut [T], b: &mut [T], c: &mut [T], d: &mut [T]) {
    let len = dy.len();
    let (x, a, b, c, d) = (x.map(|x| &x[..len]), &mut a[..len], &mut b[..len], &mut c[..len], &mut d[..len]);
    let keep = |keep: bool, dy: T| if keep { dy } else { T::zero() };
    for i in 0..len {
        let [xa, xb, xc, xd] = x.map(|x| x[i]);
        let (right, low_right) = (xb > xa, xd > xc);
        let (upper, lower) = (if right { xb } else { xa }, if low_right { xd } else { xc });
        let low = lower > upper;
        a[i] = keep(!low & !right, dy[i]);
        b[i] = keep(!low & right, dy[i]);
        c[i] = keep(low & !low_right, dy[i]);
        d[i] = keep(low & low_right, dy[i]);
    }
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
            let (c, line) = (shape.c, shape.w * shape.c);
            let (inside, below) = dx.split_at_mut(shape.h / 2 * 2 * line);
            below.fill(T::zero());
            let rows = inside.chunks_exact_mut(2 * line).zip(x.chunks_exact(2 * line));
            for ((dx, x), dy) in rows.zip(dy.chunks_exact(shape.w / 2 * c)) {
                let (top, low) = dx.split_at_mut(line);
                let pixels = top.chunks_exact_mut(2 * c).zip(low.chunks_exact_mut(2 * c));
                for (((top, low), x), dy) in pixels.zip(windows(x, line, c)).zip(dy.chunks_exact(c)) {
                    let ((a, b), (c, d)) = (top.split_at_mut(c), low.split_at_mut(c));
                    match self.kind {
                        PoolKind::Max => first_of_largest(x, dy, a, b, c, d),
                        PoolKind::Mean => [a, b, c, d].into_iter().for_each(|dx| {
                            dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx = dy * T::of(0.25));
                        }),
                    }
                }
                for row in [top, low] {
                    row[shape.w / 2 * 2 * c..].fill(T::zero());
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
