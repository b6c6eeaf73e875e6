//! L2 normalisation over the channels of each pixel.
//!
//! ```text
//! y = x r,   r = 1 / sqrt(sum_c x^2 + eps);      dx = r (dy - y sum_c(y dy))
//! ```

use super::tensor::expect;
use super::{Bind, Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Added to the squared norm.
pub const EPS: f64 = 1e-8;

/// Pixels that a workgroup of the shaders takes.
const PIXELS: usize = 16;

fn inverse_norm<T: Real>(x: &[T]) -> T {
    T::one() / (x.iter().map(|&v| v * v).sum::<T>() + T::of(EPS)).sqrt()
}

/// Input: `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct L2Normalize {}

impl Kernel for L2Normalize {
    const NAME: &'static str = "l2_normalize";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![x[0]])
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        Ok(vec![Some(tape.push1(L2NormalizeGrad {}, &[x[0], dy])?)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let c = x[0].shape().c;
        y[0].bands().for_each(|(band, y)| {
            for (y, x) in y.chunks_exact_mut(c).zip(x[0].rows(&band).chunks_exact(c)) {
                let r = inverse_norm(x);
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * r);
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let pixels = y[0].shape.len() / y[0].shape.c;
        let params = shaders::l2_normalize::Params {
            pixels: word(pixels),
            per_slice: word(pixels / y[0].shape.k),
            c: word(y[0].shape.c),
            x_k: word(x[0].k_stride),
            y_k: word(y[0].k_stride),
        };
        vec![Dispatch::new("l2_normalize", params, &[Bind::In(0), Bind::Out(0)], pixels.div_ceil(PIXELS))]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        3 * x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        [[1, 1, 1, 1, 1], [2, 3, 4, 5, 3], [1, 2, 9, 7, 32]].map(|x| Sample::normal(Self {}, &[x])).into()
    }
}

/// Inputs: `x, dy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct L2NormalizeGrad {}

impl Kernel for L2NormalizeGrad {
    const NAME: &'static str = "l2_normalize_grad";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        expect(Self::NAME, x[0] == x[1], || format!("{:?} and {:?} differ", x[0], x[1]))?;
        Ok(vec![x[0]])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let c = x[0].shape().c;
        y[0].bands().for_each(|(band, dx)| {
            let (x, dy) = (x[0].rows(&band), x[1].rows(&band));
            for ((dx, x), dy) in dx.chunks_exact_mut(c).zip(x.chunks_exact(c)).zip(dy.chunks_exact(c)) {
                let r = inverse_norm(x);
                let along = r * r * x.iter().zip(dy).map(|(&x, &dy)| x * dy).sum::<T>();
                for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
                    *dx = r * (dy - x * along);
                }
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let pixels = y[0].shape.len() / y[0].shape.c;
        let params = shaders::l2_normalize_grad::Params {
            pixels: word(pixels),
            per_slice: word(pixels / y[0].shape.k),
            c: word(y[0].shape.c),
            x_k: word(x[0].k_stride),
            dy_k: word(x[1].k_stride),
            dx_k: word(y[0].k_stride),
        };
        vec![Dispatch::new(
            "l2_normalize_grad",
            params,
            &[Bind::In(0), Bind::In(1), Bind::Out(0)],
            pixels.div_ceil(PIXELS),
        )]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        7 * x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        [[1, 1, 1, 1, 1], [2, 3, 4, 5, 3], [1, 2, 9, 7, 32]].map(|x| Sample::normal(Self {}, &[x, x])).into()
    }
}
