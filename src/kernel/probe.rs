//! Kernels that do one thing as fast as a device can: multiply and add, copy, read workgroup memory. Measuring them says
//! what other kernels may hope for; no network uses them.

use super::tensor::expect;
use super::{Bind, Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Chains of multiplications and additions that depend on each other only along the chain:
/// `y = sum_j f(f(..f(x + j / 16)))`, j < 16, `f(v) = 0.999 v + 0.001`. Input: `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fma {
    /// Applications of f.
    pub rounds: usize,
}

pub(super) const CHAINS: usize = 16;
const DECAY: f64 = 0.999;
const GAIN: f64 = 0.001;

/// `N` outputs side by side: a function object, since closures need not be inlined where the vectors of the CPU are known.
struct Chains<'a, T, const N: usize> {
    rounds: usize,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real, const N: usize> pulp::NullaryFnOnce for Chains<'_, T, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let mut chains = [[T::zero(); CHAINS]; N];
        for (chains, &x) in chains.iter_mut().zip(self.x) {
            chains.iter_mut().enumerate().for_each(|(j, v)| *v = x + T::of(j as f64 / CHAINS as f64));
        }
        let (decay, gain) = (T::of(DECAY), T::of(GAIN));
        for _ in 0..self.rounds {
            for v in chains.as_flattened_mut() {
                *v = v.mul_add(decay, gain);
            }
        }
        self.y.iter_mut().zip(&chains).for_each(|(y, chains)| *y = chains.iter().copied().sum());
    }
}

impl Fma {
    fn abreast<T: Real, const N: usize>(&self, x: &[In<T>], y: &mut [Out<T>]) {
        // Compiled for the widest vectors that the CPU has.
        let arch = pulp::Arch::new();
        for (k, y) in y[0].slices().enumerate() {
            let pieces = y.par_chunks_mut(N).zip(x[0].slice(k).par_chunks(N));
            pieces.for_each(|(y, x)| arch.dispatch(Chains::<T, N> { rounds: self.rounds, x, y }));
        }
    }
}

impl Kernel for Fma {
    const NAME: &'static str = "fma";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![x[0]])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        // As many sums are under way as a core has registers for.
        if size_of::<T>() > 4 { self.abreast::<T, 2>(x, y) } else { self.abreast::<T, 4>(x, y) }
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let params = shaders::fma::Params {
            elements: word(y[0].shape.len()),
            slice: word(y[0].shape.slice_len()),
            x_k: word(x[0].k_stride),
            y_k: word(y[0].k_stride),
            rounds: word(self.rounds),
        };
        vec![Dispatch::elements("fma", params, &[Bind::In(0), Bind::Out(0)], y[0].shape.len())]
    }

    fn flops(&self, _: &[Shape], y: &[Shape]) -> u64 {
        (2 * CHAINS * self.rounds * y[0].len()) as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        [[1, 1, 1, 1, 1], [2, 3, 5, 1, 7]].map(|x| Sample::normal(Self { rounds: 50 }, &[x])).into()
    }
}

/// `y = x`, where a landmark's slice is a multiple of four elements. Input: `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Copy {}

impl Kernel for Copy {
    const NAME: &'static str = "copy";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        expect(Self::NAME, x[0].slice_len().is_multiple_of(4), || format!("{:?} is not in fours", x[0]))?;
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
        let quads = y[0].shape.len() / 4;
        let params = shaders::copy::Params {
            quads: word(quads),
            slice: word(y[0].shape.slice_len() / 4),
            x_k: word(x[0].k_stride / 4),
            y_k: word(y[0].k_stride / 4),
        };
        vec![Dispatch::elements("copy", params, &[Bind::In(0), Bind::Out(0)], quads)]
    }

    fn flops(&self, _: &[Shape], _: &[Shape]) -> u64 {
        0
    }

    fn samples() -> Vec<Sample<Self>> {
        [[1, 1, 1, 1, 4], [3, 2, 5, 3, 12]].map(|x| Sample::normal(Self {}, &[x])).into()
    }
}

/// `y[i] = sum_r x[(i + r) mod 256]`, r < `rounds`, within each block of 256 elements. Input: `x: [k, 1, 1, blocks, 256]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkgroupReads {
    /// Elements summed.
    pub rounds: usize,
}

const BLOCK: usize = 256;

impl WorkgroupReads {
    /// Bytes that all threads together read from workgroup memory: a vector of four a round.
    pub fn traffic(&self, x: Shape) -> u64 {
        (16 * self.rounds * x.len()) as u64
    }
}

impl Kernel for WorkgroupReads {
    const NAME: &'static str = "workgroup_reads";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        expect(Self::NAME, x[0].c == BLOCK, || format!("{:?} has not {BLOCK} channels", x[0]))?;
        Ok(vec![x[0]])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        for (k, y) in y[0].slices().enumerate() {
            let blocks = y.par_chunks_mut(BLOCK).zip(x[0].slice(k).par_chunks(BLOCK));
            blocks.for_each(|(y, x)| {
                y.fill(T::zero());
                for shift in (0..self.rounds).map(|round| round % BLOCK) {
                    let rotated = x[shift..].iter().chain(&x[..shift]);
                    y.iter_mut().zip(rotated).for_each(|(sum, &v)| *sum += v);
                }
            });
        }
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let blocks = y[0].shape.slice_len() / BLOCK;
        let params = shaders::workgroup_reads::Params {
            blocks: word(blocks),
            x_k: word(x[0].k_stride),
            y_k: word(y[0].k_stride),
            rounds: word(self.rounds),
        };
        vec![Dispatch::new("workgroup_reads", params, &[Bind::In(0), Bind::Out(0)], y[0].shape.k * blocks)]
    }

    fn flops(&self, _: &[Shape], y: &[Shape]) -> u64 {
        (self.rounds * y[0].len()) as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        [[1, 1, 1, 1, 256], [2, 1, 1, 3, 256]].map(|x| Sample::normal(Self { rounds: 300 }, &[x])).into()
    }
}
