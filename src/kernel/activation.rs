//! Activations whose derivative is a function of their output, so that they can be fused into what produces their input.
//!
//! | | y | dy/dx |
//! |---|---|---|
//! | ReLU | max(x, 0) | y > 0 ? 1 : 0 |
//! | leaky ReLU | max(x, x / 10) | y > 0 ? 1 : 1/10 |
//! | sigmoid | 1 / (1 + exp(-x)) | y (1 - y) |

use super::tensor::expect;
use super::{Bind, Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// An element-wise function. The discriminant is its number in the shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u32)]
pub enum Activation {
    /// x.
    Identity = 0,
    /// max(x, 0).
    Relu = 1,
    /// max(x, x / 10).
    LeakyRelu = 2,
    /// 1 / (1 + exp(-x)).
    Sigmoid = 3,
}

impl Activation {
    pub(crate) const SLOPE: f64 = 0.1;

    fn value<T: Real>(self, x: T) -> T {
        match self {
            Self::Identity => x,
            Self::Relu => x.max(T::zero()),
            Self::LeakyRelu => x.max(x * T::of(Self::SLOPE)),
            Self::Sigmoid => T::one() / (T::one() + (-x).exp()),
        }
    }

    /// `dx = f'(x) dy`, from the output `y`.
    fn backward<T: Real>(self, y: &[T], dy: &[T], dx: &mut [T]) {
        let terms = dx.iter_mut().zip(y).zip(dy);
        // One loop a function, so that each vectorises.
        match self {
            Self::Identity => dx.copy_from_slice(dy),
            Self::Relu => terms.for_each(|((dx, &y), &dy)| *dx = if y > T::zero() { dy } else { T::zero() }),
            Self::LeakyRelu => {
                let slope = T::of(Self::SLOPE);
                terms.for_each(|((dx, &y), &dy)| *dx = if y > T::zero() { dy } else { slope * dy });
            }
            Self::Sigmoid => terms.for_each(|((dx, &y), &dy)| *dx = y * (T::one() - y) * dy),
        }
    }

    /// Applies the function in place.
    pub(crate) fn apply<T: Real>(self, x: &mut [T]) {
        // One loop a function, so that each vectorises.
        match self {
            Self::Identity => {}
            Self::Relu => x.iter_mut().for_each(|v| *v = Self::Relu.value(*v)),
            Self::LeakyRelu => x.iter_mut().for_each(|v| *v = Self::LeakyRelu.value(*v)),
            Self::Sigmoid => x.iter_mut().for_each(|v| *v = Self::Sigmoid.value(*v)),
        }
    }
}

/// `y = f(x)`. Input: `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activate {
    /// f.
    pub activation: Activation,
}

impl Kernel for Activate {
    const NAME: &'static str = "activate";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![x[0]])
    }

    fn grad(&self, tape: &mut Tape, _: &[Var], y: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        Ok(vec![Some(tape.push1(ActivateGrad { activation: self.activation }, &[y[0], dy])?)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        y[0].bands().for_each(|(band, to)| {
            to.copy_from_slice(x[0].rows(&band));
            self.activation.apply(to);
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let params = shaders::activate::Params {
            elements: word(y[0].shape.len()),
            slice: word(y[0].shape.slice_len()),
            x_k: word(x[0].k_stride),
            y_k: word(y[0].k_stride),
            activation: self.activation as u32,
        };
        vec![Dispatch::elements("activate", params, &[Bind::In(0), Bind::Out(0)], y[0].shape.len())]
    }

    fn samples() -> Vec<Sample<Self>> {
        let all = [Activation::Relu, Activation::LeakyRelu, Activation::Sigmoid];
        all.into_iter().map(|activation| Sample::normal(Self { activation }, &[[2, 3, 5, 1, 7]])).collect()
    }
}

/// `dx = f'(x) dy`, from the output. Inputs: `y, dy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActivateGrad {
    /// f.
    pub activation: Activation,
}

impl Kernel for ActivateGrad {
    const NAME: &'static str = "activate_grad";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        expect(Self::NAME, x[0] == x[1], || format!("{:?} and {:?} differ", x[0], x[1]))?;
        Ok(vec![x[0]])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        y[0].bands().for_each(|(band, to)| self.activation.backward(x[0].rows(&band), x[1].rows(&band), to));
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let params = shaders::activate_grad::Params {
            elements: word(y[0].shape.len()),
            slice: word(y[0].shape.slice_len()),
            y_k: word(x[0].k_stride),
            dy_k: word(x[1].k_stride),
            dx_k: word(y[0].k_stride),
            activation: self.activation as u32,
        };
        vec![Dispatch::elements("activate_grad", params, &[Bind::In(0), Bind::In(1), Bind::Out(0)], y[0].shape.len())]
    }

    fn samples() -> Vec<Sample<Self>> {
        let all = [Activation::Relu, Activation::LeakyRelu, Activation::Sigmoid];
        all.into_iter().map(|activation| Sample::normal(Self { activation }, &[[2, 3, 5, 1, 7]; 2])).collect()
    }
}
