//! Sums over any axes, in an order fixed by shapes: each result is summed over its elements in row-major order, in chunks of
//! [`CHUNK`] elements whose sums are then added in order.

use super::{Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape};
use crate::Result;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Elements summed one after another before their sum joins the total.
pub const CHUNK: usize = 256;

/// The sum over every axis that is not kept; a summed axis has extent 1. Input: `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sum {
    /// Which of `k, n, h, w, c` are kept.
    pub keep: [bool; 5],
}

impl Kernel for Sum {
    const NAME: &'static str = "sum";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let dims = x[0].dims();
        Ok(vec![std::array::from_fn(|i| if self.keep[i] { dims[i] } else { 1 }).into()])
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        let zeros = tape.push1(super::elementwise::Fill { shape: tape.shape(x[0]), value: 0.0 }, &[])?;
        Ok(vec![Some(tape.add(zeros, dy)?)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let from = x[0].shape();
        let summed: Shape =
            std::array::from_fn::<usize, 5, _>(|i| if self.keep[i] { 1 } else { from.dims()[i] }).into();
        let to = y[0].shape();
        for (k, out) in y[0].slices().enumerate() {
            out.par_iter_mut().enumerate().for_each(|(i, out)| {
                let [n, h, w, c] = unravel(i, to);
                let mut total = T::zero();
                let mut part = T::zero();
                let mut count = 0;
                for sk in 0..summed.k {
                    let data = x[0].slice(k + sk);
                    for sn in 0..summed.n {
                        for sh in 0..summed.h {
                            for sw in 0..summed.w {
                                let at = (((n + sn) * from.h + h + sh) * from.w + w + sw) * from.c + c;
                                for &v in &data[at..at + summed.c] {
                                    part += v;
                                    count += 1;
                                    if count == CHUNK {
                                        total += part;
                                        (part, count) = (T::zero(), 0);
                                    }
                                }
                            }
                        }
                    }
                }
                *out = total + part;
            });
        }
    }

    fn gpu(&self, _: &[Operand], _: &[Operand]) -> Vec<Dispatch> {
        Vec::new()
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        let keeps = [
            [false, false, false, false, false],
            [true, false, false, false, true],
            [false, false, false, false, true],
            [false, true, true, true, true],
            [true, true, false, false, false],
            [true, false, true, false, true],
        ];
        let shapes = [[1, 1, 1, 1, 1], [3, 2, 5, 4, 7], [2, 3, 19, 17, 3]];
        keeps.into_iter().flat_map(|keep| shapes.map(|x| Sample::normal(Self { keep }, &[x]))).collect()
    }
}

/// The position `[n, h, w, c]` of an element of a slice.
fn unravel(i: usize, s: Shape) -> [usize; 4] {
    [i / s.image_len(), i / (s.w * s.c) % s.h, i / s.c % s.w, i % s.c]
}
