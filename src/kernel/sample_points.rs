//! Bilinear sampling of a feature map at points, edges clamped.
//!
//! Points are `x, y` in pixels (centres at integers) of a grid `scale` times as fine as the map, so that one set of points
//! serves maps of all strides: `u = (x + 1/2) / scale - 1/2`.

use super::tensor::expect;
use super::{Bind, Dispatch, Domain, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// `[k, n, h, w, c]` at `[k, n, 1, p, 2]` -> `[k, n, 1, p, c]`. Inputs: map, points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplePoints {
    /// How many times the points' grid is as fine as the map.
    pub scale: f32,
}

/// The four pixels around a point and their weights.
fn corners<T: Real>(point: &[T], scale: f32, h: usize, w: usize) -> [(usize, T); 4] {
    let half = T::of(0.5);
    let along = |p: T, extent: usize| {
        let at = (p + half) / T::of(scale.into()) - half;
        let at = at.max(T::zero()).min(T::of((extent - 1) as f64));
        let low = at.floor();
        let i = low.f64() as usize;
        (i, (i + 1).min(extent - 1), at - low)
    };
    let ((x0, x1, fx), (y0, y1, fy)) = (along(point[0], w), along(point[1], h));
    let (gx, gy) = (T::one() - fx, T::one() - fy);
    [(y0 * w + x0, gy * gx), (y0 * w + x1, gy * fx), (y1 * w + x0, fy * gx), (y1 * w + x1, fy * fx)]
}

impl Kernel for SamplePoints {
    const NAME: &'static str = "sample_points";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let (map, points) = (x[0], x[1]);
        let fits = points.c == 2 && points.h == 1 && points.n == map.n && self.scale > 0.0;
        expect(Self::NAME, fits, || format!("points {points:?} do not fit map {map:?}"))?;
        Ok(vec![points.with_c(map.c).with_k(Shape::broadcast_k(Self::NAME, x)?)])
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        let Shape { h, w, .. } = tape.shape(x[0]);
        Ok(vec![Some(tape.push1(SamplePointsGrad { scale: self.scale, h, w }, &[x[1], dy])?), None])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let Shape { n, h, w, c, .. } = x[0].shape();
        y[0].images().enumerate().for_each(|(i, y)| {
            let (map, points) = (x[0].image(i / n, i % n), x[1].image(i / n, i % n));
            for (y, point) in y.chunks_exact_mut(c).zip(points.chunks_exact(2)) {
                let corners = corners(point, self.scale, h, w);
                for (ch, y) in y.iter_mut().enumerate() {
                    *y = corners.iter().map(|&(pixel, weight)| weight * map[pixel * c + ch]).sum();
                }
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let Shape { n, h, w, c, .. } = x[0].shape;
        let params = shaders::sample_points::Params {
            elements: word(y[0].shape.len()),
            map_k: word(x[0].k_stride),
            points_k: word(x[1].k_stride),
            y_k: word(y[0].k_stride),
            n: word(n),
            h: word(h),
            w: word(w),
            c: word(c),
            points: word(x[1].shape.w),
            scale: self.scale,
        };
        vec![Dispatch::elements("sample_points", params, &[Bind::In(0), Bind::In(1), Bind::Out(0)], y[0].shape.len())]
    }

    fn flops(&self, _: &[Shape], y: &[Shape]) -> u64 {
        8 * y[0].len() as u64
    }

    /// Of the map, the four corners of each point.
    fn moved(&self, x: &[Shape], y: &[Shape]) -> Vec<u64> {
        let [map, points, sampled] = [x[0], x[1], y[0]].map(|s| s.len() as u64);
        vec![map.min(4 * sampled), points, sampled]
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |scale, map: [usize; 5], points: [usize; 5]| {
            Sample::new(Self { scale }, &[(map, Domain::Normal), (points, Domain::Range(-2.0, 20.0))])
        };
        vec![
            case(1.0, [1, 1, 1, 1, 1], [1, 1, 1, 1, 2]),
            case(2.0, [1, 3, 7, 5, 6], [2, 3, 1, 9, 2]),
            case(4.0, [2, 2, 4, 9, 32], [2, 2, 1, 5, 2]),
        ]
    }
}

/// Gradient with respect to the map: each pixel sums over the points near it, in order. Inputs: points, dy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplePointsGrad {
    /// See [`SamplePoints::scale`].
    pub scale: f32,
    /// Height of the map.
    pub h: usize,
    /// Width of the map.
    pub w: usize,
}

impl Kernel for SamplePointsGrad {
    const NAME: &'static str = "sample_points_grad";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let (points, dy) = (x[0], x[1]);
        let fits = points.c == 2 && (points.n, points.w) == (dy.n, dy.w);
        expect(Self::NAME, fits, || format!("gradient {dy:?} does not fit points {points:?}"))?;
        Ok(vec![Shape { k: Shape::broadcast_k(Self::NAME, x)?, n: dy.n, h: self.h, w: self.w, c: dy.c }])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let Shape { n, c, .. } = x[1].shape();
        y[0].images().enumerate().for_each(|(i, dmap)| {
            let (points, dy) = (x[0].image(i / n, i % n), x[1].image(i / n, i % n));
            dmap.fill(T::zero());
            for (point, dy) in points.chunks_exact(2).zip(dy.chunks_exact(c)) {
                for (pixel, weight) in corners(point, self.scale, self.h, self.w) {
                    let to = &mut dmap[pixel * c..][..c];
                    to.iter_mut().zip(dy).for_each(|(to, &dy)| *to += weight * dy);
                }
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let Shape { n, h, w, c, .. } = y[0].shape;
        let params = shaders::sample_points_grad::Params {
            elements: word(y[0].shape.len()),
            points_k: word(x[0].k_stride),
            dy_k: word(x[1].k_stride),
            dmap_k: word(y[0].k_stride),
            n: word(n),
            h: word(h),
            w: word(w),
            c: word(c),
            points: word(x[0].shape.w),
            scale: self.scale,
        };
        vec![Dispatch::elements(
            "sample_points_grad",
            params,
            &[Bind::In(0), Bind::In(1), Bind::Out(0)],
            y[0].shape.len(),
        )]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        8 * x[1].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |scale, (h, w), points: [usize; 5], dy: [usize; 5]| {
            Sample::new(Self { scale, h, w }, &[(points, Domain::Range(-2.0, 20.0)), (dy, Domain::Normal)])
        };
        vec![
            case(1.0, (1, 1), [1, 1, 1, 1, 2], [1, 1, 1, 1, 1]),
            case(2.0, (7, 5), [1, 3, 1, 9, 2], [2, 3, 1, 9, 6]),
            case(4.0, (4, 9), [2, 2, 1, 5, 2], [2, 2, 1, 5, 32]),
        ]
    }
}
