//! [Probes](super::probe) of what GPUs have beside arithmetic in f32: multiplications and additions in f16, and matrix units. On
//! the CPU they are worth no measuring: the twins take the shortest way to the result.

use super::probe::CHAINS;
use super::tensor::expect;
use super::{Bind, Dispatch, Domain, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use serde::{Deserialize, Serialize};

/// Chains as in [`Fma`](super::probe::Fma), in f16 on the GPU: `y = sum_j f(f(..f(x + j / 16)))`, j < 16, `f(v) = v / 2 + 1 / 2`,
/// which ends at 1 in any precision. Input: `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FmaF16 {
    /// Applications of f.
    pub rounds: usize,
}

impl Kernel for FmaF16 {
    const NAME: &'static str = "fma_f16";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![x[0]])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        // f halves the distance from 1.
        let left = T::of(0.5f64.powi(self.rounds as i32));
        for (k, y) in y[0].slices().enumerate() {
            for (y, &x) in y.iter_mut().zip(x[0].slice(k)) {
                let end = |j: usize| T::one() + (x + T::of(j as f64 / CHAINS as f64) - T::one()) * left;
                *y = (0..CHAINS).map(end).sum();
            }
        }
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let params = shaders::fma::Params {
            elements: word(y[0].shape.len()),
            slice: word(y[0].shape.slice_len()),
            x_k: word(x[0].k_stride),
            y_k: word(y[0].k_stride),
            rounds: word(self.rounds),
        };
        vec![Dispatch::elements(Self::NAME, params, &[Bind::In(0), Bind::Out(0)], y[0].shape.len())]
    }

    fn flops(&self, _: &[Shape], y: &[Shape]) -> u64 {
        (2 * CHAINS * self.rounds * y[0].len()) as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        [[1, 1, 1, 1, 1], [2, 3, 5, 1, 7]].map(|x| Sample::normal(Self { rounds: 50 }, &[x])).into()
    }
}

/// Products of neighbouring matrices, again and again: `y[4 i + q, j] = rounds x[4 i + q] x[4 i + j]`. Input:
/// `x: [k, n, h, w, side^2]` with the matrices along n, h and w in fours, `y: [k, n, h, w, 4 side^2]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FmaMatrix {
    /// Rows and columns of a matrix: 16 or 8, as the device's units have.
    pub side: usize,
    /// Multiplications of each pair.
    pub rounds: usize,
}

impl Kernel for FmaMatrix {
    const NAME: &'static str = "fma_matrix";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let x = x[0];
        let fits = matches!(self.side, 8 | 16) && x.c == self.side * self.side && (x.n * x.pixels()).is_multiple_of(4);
        expect(Self::NAME, fits, || format!("{x:?} is not matrices of {} x {} in fours", self.side, self.side))?;
        Ok(vec![x.with_c(4 * x.c)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let (side, size, rounds) = (self.side, self.side * self.side, T::of(self.rounds as f64));
        for (k, y) in y[0].slices().enumerate() {
            for (four, y) in x[0].slice(k).chunks_exact(4 * size).zip(y.chunks_exact_mut(16 * size)) {
                for (at, y) in y.iter_mut().enumerate() {
                    let (left, right) = (&four[at / (4 * size) * size..], &four[at / size % 4 * size..]);
                    let (row, column) = (at % size / side, at % side);
                    *y = rounds * (0..side).map(|i| left[row * side + i] * right[i * side + column]).sum();
                }
            }
        }
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let groups = x[0].shape.slice_len() / (4 * x[0].shape.c);
        let params = shaders::fma_matrix::Params {
            groups: word(groups),
            x_k: word(x[0].k_stride),
            y_k: word(y[0].k_stride),
            rounds: word(self.rounds),
        };
        let shader = if self.side == 16 { "fma_matrix16" } else { "fma_matrix8" };
        vec![Dispatch::new(shader, params, &[Bind::In(0), Bind::Out(0)], x[0].shape.k * groups)]
    }

    fn flops(&self, _: &[Shape], y: &[Shape]) -> u64 {
        (2 * self.side * self.rounds * y[0].len()) as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        // Eighths, whose products and sums neither f16 nor f32 rounds.
        let eighths: fn(Shape, &mut dyn FnMut() -> f32) -> Vec<f32> =
            |shape, uniform| (0..shape.len()).map(|_| (uniform() * 16.0).floor() / 8.0 - 1.0).collect();
        let sample =
            |side: usize| Sample::new(Self { side, rounds: 5 }, &[([2, 1, 2, 4, side * side], Domain::Fill(eighths))]);
        vec![sample(16), sample(8)]
    }
}
