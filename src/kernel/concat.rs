//! Channels put together, cut out, and put back into a wider tensor. Each is the gradient of another.

use super::tensor::expect;
use super::{Bind, Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// `[.., a] + [.., b] -> [.., a + b]`. Inputs: `a, b`, alike but for landmarks and channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concat {}

impl Kernel for Concat {
    const NAME: &'static str = "concat";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let fits = x[0].with_c(1).with_k(1) == x[1].with_c(1).with_k(1);
        expect(Self::NAME, fits, || format!("{:?} and {:?} differ in more than channels", x[0], x[1]))?;
        Ok(vec![x[0].with_c(x[0].c + x[1].c).with_k(Shape::broadcast_k(Self::NAME, x)?)])
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        let (a, b) = (tape.shape(x[0]).c, tape.shape(x[1]).c);
        let da = tape.push1(SliceChannels { start: 0, len: a }, &[dy])?;
        let db = tape.push1(SliceChannels { start: a, len: b }, &[dy])?;
        Ok(vec![Some(da), Some(db)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let (a, b) = (x[0].shape().c, x[1].shape().c);
        y[0].bands().for_each(|(band, y)| {
            let (left, right) = (x[0].rows(&band), x[1].rows(&band));
            for ((y, left), right) in y.chunks_exact_mut(a + b).zip(left.chunks_exact(a)).zip(right.chunks_exact(b)) {
                y[..a].copy_from_slice(left);
                y[a..].copy_from_slice(right);
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let params = shaders::concat::Params {
            elements: word(y[0].shape.len()),
            slice: word(y[0].shape.slice_len()),
            a_k: word(x[0].k_stride),
            b_k: word(x[1].k_stride),
            y_k: word(y[0].k_stride),
            a_c: word(x[0].shape.c),
            b_c: word(x[1].shape.c),
        };
        vec![Dispatch::elements("concat", params, &[Bind::In(0), Bind::In(1), Bind::Out(0)], y[0].shape.len())]
    }

    fn flops(&self, _: &[Shape], _: &[Shape]) -> u64 {
        0
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |a, b| Sample::normal(Self {}, &[a, b]);
        vec![
            case([1, 1, 1, 1, 1], [1, 1, 1, 1, 1]),
            case([2, 3, 4, 5, 3], [1, 3, 4, 5, 6]),
            case([1, 2, 3, 7, 8], [1, 2, 3, 7, 4]),
        ]
    }
}

/// Channels `start .. start + len`. Input: `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceChannels {
    /// First channel.
    pub start: usize,
    /// Number of channels.
    pub len: usize,
}

impl Kernel for SliceChannels {
    const NAME: &'static str = "slice_channels";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let end = self.start + self.len;
        expect(Self::NAME, end <= x[0].c && self.len > 0, || {
            format!("{:?} has no channels {}..{end}", x[0], self.start)
        })?;
        Ok(vec![x[0].with_c(self.len)])
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        let total = tape.shape(x[0]).c;
        Ok(vec![Some(tape.push1(PadChannels { start: self.start, total }, &[dy])?)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let c = x[0].shape().c;
        y[0].bands().for_each(|(band, y)| {
            for (y, x) in y.chunks_exact_mut(self.len).zip(x[0].rows(&band).chunks_exact(c)) {
                y.copy_from_slice(&x[self.start..self.start + self.len]);
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        copy_channels(&x[0], &y[0], self.start, 0, self.len)
    }

    fn flops(&self, _: &[Shape], _: &[Shape]) -> u64 {
        0
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |start, len, x| Sample::normal(Self { start, len }, &[x]);
        vec![case(0, 1, [1, 1, 1, 1, 1]), case(2, 3, [2, 3, 4, 5, 6]), case(4, 4, [1, 2, 3, 7, 8])]
    }
}

/// The input's channels at `start` of `total`, zeros elsewhere. Input: `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PadChannels {
    /// First channel in the result.
    pub start: usize,
    /// Channels of the result.
    pub total: usize,
}

impl Kernel for PadChannels {
    const NAME: &'static str = "pad_channels";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let end = self.start + x[0].c;
        expect(Self::NAME, end <= self.total, || format!("{:?} does not fit {} channels", x[0], self.total))?;
        Ok(vec![x[0].with_c(self.total)])
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        let len = tape.shape(x[0]).c;
        Ok(vec![Some(tape.push1(SliceChannels { start: self.start, len }, &[dy])?)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let c = x[0].shape().c;
        y[0].bands().for_each(|(band, y)| {
            y.fill(T::zero());
            for (y, x) in y.chunks_exact_mut(self.total).zip(x[0].rows(&band).chunks_exact(c)) {
                y[self.start..self.start + c].copy_from_slice(x);
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        copy_channels(&x[0], &y[0], 0, self.start, x[0].shape.c)
    }

    fn flops(&self, _: &[Shape], _: &[Shape]) -> u64 {
        0
    }

    fn samples() -> Vec<Sample<Self>> {
        let case = |start, total, x| Sample::normal(Self { start, total }, &[x]);
        vec![case(0, 1, [1, 1, 1, 1, 1]), case(2, 6, [2, 3, 4, 5, 3]), case(4, 8, [1, 2, 3, 7, 4])]
    }
}

/// The launch that copies channels `x_start .. x_start + len` to `y_start ..`, and zeros elsewhere.
fn copy_channels(x: &Operand, y: &Operand, x_start: usize, y_start: usize, len: usize) -> Vec<Dispatch> {
    let params = shaders::channels::Params {
        elements: word(y.shape.len()),
        slice: word(y.shape.slice_len()),
        x_k: word(x.k_stride),
        y_k: word(y.k_stride),
        x_c: word(x.shape.c),
        y_c: word(y.shape.c),
        x_start: word(x_start),
        y_start: word(y_start),
        len: word(len),
    };
    vec![Dispatch::elements("channels", params, &[Bind::In(0), Bind::Out(0)], y.shape.len())]
}
