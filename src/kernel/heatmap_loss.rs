//! The losses of a heatmap-and-offset head (CC2D, arXiv 2103.04527): focal binary cross-entropy of logits, and L1 of offsets
//! under a mask. Both are element-wise, so that any reduction can follow.
//!
//! With `p = sigmoid(x)` and a focus of 2:
//!
//! ```text
//! focal(x, t) = -t (1 - p)^2 log p - (1 - t) p^2 log(1 - p)
//! l1(x, t, m) = m |x - t|
//! ```

use super::tensor::expect;
use super::{Bind, Dispatch, Domain, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

fn same(name: &'static str, x: &[Shape]) -> Result<Vec<Shape>> {
    expect(name, x.iter().all(|s| *s == x[0]), || format!("shapes {x:?} differ"))?;
    Ok(vec![x[0]])
}

/// Applies `f` to the elements of the inputs.
fn map<T: Real, const N: usize>(x: &[In<T>], y: &mut [Out<T>], f: impl Fn([T; N]) -> T + Sync) {
    let n = x[0].shape().n;
    y[0].images().enumerate().for_each(|(i, y)| {
        let x: [&[T]; N] = std::array::from_fn(|j| x[j].image(i / n, i % n));
        y.iter_mut().enumerate().for_each(|(e, y)| *y = f(x.map(|x| x[e])));
    });
}

/// `(p, log p, log(1 - p))` for `p = sigmoid(x)`, without overflow.
fn log_sigmoid<T: Real>(x: T) -> (T, T, T) {
    let one = T::one();
    let tail = (one + (-x.abs()).exp()).ln();
    let (log_p, log_q) = (x.min(T::zero()) - tail, (-x).min(T::zero()) - tail);
    (one / (one + (-x).exp()), log_p, log_q)
}

/// Inputs: logits, targets in [0, 1].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FocalBce {}

impl Kernel for FocalBce {
    const NAME: &'static str = "focal_bce";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        same(Self::NAME, x)
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        Ok(vec![Some(tape.push1(FocalBceGrad {}, &[x[0], x[1], dy])?), None])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        map(x, y, |[x, t]| {
            let (p, log_p, log_q) = log_sigmoid(x);
            let q = T::one() - p;
            -(t * q * q * log_p + (T::one() - t) * p * p * log_q)
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let params = shaders::focal_bce::Params {
            elements: word(y[0].shape.len()),
            slice: word(y[0].shape.slice_len()),
            x_k: word(x[0].k_stride),
            t_k: word(x[1].k_stride),
            y_k: word(y[0].k_stride),
        };
        let binds = [Bind::In(0), Bind::In(1), Bind::Out(0)];
        vec![Dispatch::elements("focal_bce", params, &binds, y[0].shape.len())]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        16 * x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        [[1, 1, 1, 1, 1], [2, 3, 5, 4, 3]]
            .map(|s| Sample::new(Self {}, &[(s, Domain::Range(-6.0, 6.0)), (s, Domain::Range(0.0, 1.0))]))
            .into()
    }
}

/// Inputs: logits, targets, dy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FocalBceGrad {}

impl Kernel for FocalBceGrad {
    const NAME: &'static str = "focal_bce_grad";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        same(Self::NAME, x)
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        map(x, y, |[x, t, dy]| {
            let (p, log_p, log_q) = log_sigmoid(x);
            let (one, two) = (T::one(), T::of(2.0));
            let q = one - p;
            dy * (t * q * q * (two * p * log_p - q) + (one - t) * p * p * (p - two * q * log_q))
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let params = shaders::focal_bce_grad::Params {
            elements: word(y[0].shape.len()),
            slice: word(y[0].shape.slice_len()),
            x_k: word(x[0].k_stride),
            t_k: word(x[1].k_stride),
            dy_k: word(x[2].k_stride),
            dx_k: word(y[0].k_stride),
        };
        let binds = [Bind::In(0), Bind::In(1), Bind::In(2), Bind::Out(0)];
        vec![Dispatch::elements("focal_bce_grad", params, &binds, y[0].shape.len())]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        22 * x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        let inputs = |s| [(s, Domain::Range(-6.0, 6.0)), (s, Domain::Range(0.0, 1.0)), (s, Domain::Normal)];
        [[1, 1, 1, 1, 1], [2, 3, 5, 4, 3]].map(|s: [usize; 5]| Sample::new(Self {}, &inputs(s))).into()
    }
}

/// Inputs: prediction, target, mask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaskedL1 {}

impl Kernel for MaskedL1 {
    const NAME: &'static str = "masked_l1";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        same(Self::NAME, x)
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        Ok(vec![Some(tape.push1(MaskedL1Grad {}, &[x[0], x[1], x[2], dy])?), None, None])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        map(x, y, |[x, t, m]| m * (x - t).abs());
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let params = shaders::masked_l1::Params {
            elements: word(y[0].shape.len()),
            slice: word(y[0].shape.slice_len()),
            x_k: word(x[0].k_stride),
            t_k: word(x[1].k_stride),
            m_k: word(x[2].k_stride),
            y_k: word(y[0].k_stride),
        };
        let binds = [Bind::In(0), Bind::In(1), Bind::In(2), Bind::Out(0)];
        vec![Dispatch::elements("masked_l1", params, &binds, y[0].shape.len())]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        3 * x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        [[1, 1, 1, 1, 1], [2, 3, 5, 4, 3]].map(|s| Sample::normal(Self {}, &[s; 3])).into()
    }
}

/// Inputs: prediction, target, mask, dy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaskedL1Grad {}

impl Kernel for MaskedL1Grad {
    const NAME: &'static str = "masked_l1_grad";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        same(Self::NAME, x)
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        map(x, y, |[x, t, m, dy]| if x > t { m * dy } else { T::of(if x < t { -1.0 } else { 0.0 }) * m * dy });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let params = shaders::masked_l1_grad::Params {
            elements: word(y[0].shape.len()),
            slice: word(y[0].shape.slice_len()),
            x_k: word(x[0].k_stride),
            t_k: word(x[1].k_stride),
            m_k: word(x[2].k_stride),
            dy_k: word(x[3].k_stride),
            dx_k: word(y[0].k_stride),
        };
        let binds = [Bind::In(0), Bind::In(1), Bind::In(2), Bind::In(3), Bind::Out(0)];
        vec![Dispatch::elements("masked_l1_grad", params, &binds, y[0].shape.len())]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        3 * x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        [[1, 1, 1, 1, 1], [2, 3, 5, 4, 3]].map(|s| Sample::normal(Self {}, &[s; 4])).into()
    }
}
