//! `y = x` in another type of storage: f32 to f16, to the nearest, or back.
//!
//! Programs have it where [`Program::half`](crate::plan::Program::half) puts it, between operands of different types. Between equal
//! ones, as on the CPU, it copies.

use super::{Bind, Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// See the [module](self). Input: `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Convert {}

impl Kernel for Convert {
    const NAME: &'static str = "convert";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![x[0]])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        const PIECE: usize = 1 << 16;
        for (k, y) in y[0].slices().enumerate() {
            let pieces = y.par_chunks_mut(PIECE).zip(x[0].slice(k).par_chunks(PIECE));
            pieces.for_each(|(y, x)| y.copy_from_slice(x));
        }
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let params = shaders::convert::Params {
            elements: word(y[0].shape.len()),
            slice: word(y[0].shape.slice_len()),
            x_k: word(x[0].k_stride),
            y_k: word(y[0].k_stride),
        };
        vec![Dispatch::elements(Self::NAME, params, &[Bind::In(0), Bind::Out(0)], y[0].shape.len())]
    }

    fn flops(&self, _: &[Shape], _: &[Shape]) -> u64 {
        0
    }

    fn samples() -> Vec<Sample<Self>> {
        [[1, 1, 1, 1, 1], [3, 2, 5, 3, 7]].map(|x| Sample::normal(Self {}, &[x])).into()
    }
}
