//! AdamW (Loshchilov and Hutter 2019) over the one flat parameter buffer, with gradient-norm clipping, a finite check and an
//! exponential moving average of the parameters.
//!
//! A buffer has blocks: the shared part, then one a landmark (see [`Layout`]). Each block is clipped by
//! its own norm, and left as it is where that norm is not finite, so that landmarks do not touch each other.

use super::tensor::expect;
use super::{Bind, Dispatch, Domain, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use crate::tape::Layout;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Elements that one partial sum takes, and one piece of an update.
pub(crate) const CHUNK: usize = 4096;

/// The blocks of a flat buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    /// Elements of the shared block; 0 where there is none.
    pub shared: usize,
    /// Elements of each landmark's block; 0 where there is none.
    pub distinct: usize,
    /// Landmarks.
    pub landmarks: usize,
}

impl Blocks {
    /// Those of a layout.
    pub fn of(layout: &Layout) -> Self {
        Self { shared: layout.shared_len, distinct: layout.distinct_len, landmarks: layout.landmarks }
    }

    fn len(&self) -> usize {
        self.shared + self.landmarks * self.distinct
    }

    /// The shared block always has index 0, be it empty.
    fn count(&self) -> usize {
        1 + self.landmarks
    }

    fn range(&self, block: usize) -> std::ops::Range<usize> {
        match block {
            0 => 0..self.shared,
            k => self.shared + (k - 1) * self.distinct..self.shared + k * self.distinct,
        }
    }

    /// The block of an element, and the range of the block.
    fn at(&self, element: usize) -> (usize, std::ops::Range<usize>) {
        let block = if element < self.shared { 0 } else { 1 + (element - self.shared) / self.distinct };
        (block, self.range(block))
    }
}

/// The sum of squares of each block: `[1, 1, 1, 1, len]` -> `[1, 1, 1, 1, 1 + landmarks]`. Input: gradients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockSquares {
    /// The buffer's blocks.
    pub blocks: Blocks,
}

impl BlockSquares {
    /// Chunks of the longest block.
    fn chunks(&self) -> usize {
        self.blocks.shared.max(self.blocks.distinct).div_ceil(CHUNK)
    }
}

impl Kernel for BlockSquares {
    const NAME: &'static str = "block_squares";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        expect(Self::NAME, x[0].len() == self.blocks.len(), || {
            format!("{:?} has not the blocks' {}", x[0], self.blocks.len())
        })?;
        Ok(vec![[1, 1, 1, 1, self.blocks.count()].into()])
    }

    /// Partial sums: chunks of each block.
    fn scratch(&self, _: &[Shape], _: &[Shape]) -> usize {
        self.blocks.count() * self.chunks()
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], scratch: &mut [T]) {
        let flat = x[0].slice(0);
        let per_block = scratch.len() / self.blocks.count();
        scratch.par_iter_mut().enumerate().for_each(|(i, partial)| {
            let block = &flat[self.blocks.range(i / per_block)];
            let start = (i % per_block * CHUNK).min(block.len());
            *partial = block[start..(start + CHUNK).min(block.len())].iter().map(|&v| v * v).sum();
        });
        for (y, partials) in y[0].shared().iter_mut().zip(scratch.chunks(per_block)) {
            *y = partials.iter().copied().sum();
        }
    }

    fn gpu(&self, _: &[Operand], _: &[Operand]) -> Vec<Dispatch> {
        let (blocks, chunks) = (self.blocks.count(), self.chunks());
        let params = shaders::block_squares::Params {
            shared_len: word(self.blocks.shared),
            distinct: word(self.blocks.distinct),
            chunks: word(chunks),
        };
        let total = shaders::block_squares_sum::Params { chunks: word(chunks) };
        vec![
            Dispatch::new("block_squares", params, &[Bind::In(0), Bind::Scratch], blocks * chunks),
            Dispatch::new("block_squares_sum", total, &[Bind::Scratch, Bind::Out(0)], blocks),
        ]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        2 * x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        blocks().map(|blocks| Sample::normal(Self { blocks }, &[[1, 1, 1, 1, blocks.len()]])).collect()
    }
}

/// The numbers of one step, as the input `hyper: [1, 1, 1, 1, 9]` holds them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyper {
    /// Learning rate of the shared block.
    pub lr_shared: f64,
    /// Learning rate of the landmarks' blocks.
    pub lr_distinct: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Gradient norm that a block is clipped to.
    pub clip_norm: f64,
    /// Decay of the average.
    pub ema_decay: f64,
    /// Step, from 1: for the bias correction.
    pub step: u32,
}

/// Numbers in [`Hyper::encode`].
pub const HYPER: usize = 9;

impl Hyper {
    /// As uploaded: `lr_shared, lr_distinct, beta1, beta2, decay, clip, ema, 1 - beta1^t, 1 - beta2^t`.
    pub fn encode(&self) -> [f32; HYPER] {
        let correction = |beta: f64| 1.0 - beta.powi(self.step as i32);
        [
            self.lr_shared,
            self.lr_distinct,
            self.beta1,
            self.beta2,
            self.weight_decay,
            self.clip_norm,
            self.ema_decay,
            correction(self.beta1),
            correction(self.beta2),
        ]
        .map(|v| v as f32)
    }
}

/// One step. Inputs: gradients, sums of squares, hyper. Updates: parameters, first moment, second moment, average.
///
/// ```text
/// g' = g min(1, clip / |g_block|);  m = b1 m + (1 - b1) g';  v = b2 v + (1 - b2) g'^2
/// p -= lr (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay p);  ema = d ema + (1 - d) p
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamW {
    /// The buffers' blocks.
    pub blocks: Blocks,
}

/// Added to the root of the second moment.
pub const EPS: f64 = 1e-8;

impl Kernel for AdamW {
    const NAME: &'static str = "adamw";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let fits = x[0].len() == self.blocks.len() && x[1].len() == self.blocks.count() && x[2].len() == HYPER;
        expect(Self::NAME, fits, || format!("{x:?} do not fit {:?}", self.blocks))?;
        Ok(vec![x[0]; 4])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let (gradients, squares) = (x[0].slice(0), x[1].slice(0));
        let &[lr_shared, lr_distinct, b1, b2, decay, clip, ema_decay, c1, c2] = x[2].slice(0) else {
            unreachable!("inferred to hold {HYPER} numbers")
        };
        let [params, m, v, ema] = y else { unreachable!("four buffers are updated") };
        let one = T::one();
        let state = [params, m, v, ema].map(|out| out.shared().par_chunks_mut(CHUNK));
        let [params, m, v, ema] = state;
        params.zip(m).zip(v).zip(ema).enumerate().for_each(|(chunk, (((params, m), v), ema))| {
            let mut next = 0;
            while next < params.len() {
                let (block, range) = self.blocks.at(chunk * CHUNK + next);
                let here = next..params.len().min(range.end - chunk * CHUNK);
                next = here.end;
                if !squares[block].is_finite() {
                    continue;
                }
                let lr = if block == 0 { lr_shared } else { lr_distinct };
                let scale = (clip / (squares[block].sqrt() + T::of(EPS))).min(one);
                let gradients = &gradients[chunk * CHUNK..];
                for i in here {
                    let g = gradients[i] * scale;
                    m[i] = b1 * m[i] + (one - b1) * g;
                    v[i] = b2 * v[i] + (one - b2) * g * g;
                    let step = m[i] / c1 / ((v[i] / c2).sqrt() + T::of(EPS)) + decay * params[i];
                    params[i] = params[i] - lr * step;
                    ema[i] = ema_decay * ema[i] + (one - ema_decay) * params[i];
                }
            }
        });
    }

    fn gpu(&self, _: &[Operand], _: &[Operand]) -> Vec<Dispatch> {
        let params = shaders::adamw::Params {
            elements: word(self.blocks.len()),
            shared_len: word(self.blocks.shared),
            distinct: word(self.blocks.distinct),
        };
        let binds = [Bind::In(0), Bind::In(1), Bind::In(2), Bind::Out(0), Bind::Out(1), Bind::Out(2), Bind::Out(3)];
        vec![Dispatch::elements("adamw", params, &binds, self.blocks.len())]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        18 * x[0].len() as u64
    }

    fn moved(&self, x: &[Shape], y: &[Shape]) -> Vec<u64> {
        let read = x.iter().map(|s| s.len() as u64);
        read.chain(y.iter().map(|s| 2 * s.len() as u64)).collect()
    }

    fn in_place(&self) -> bool {
        true
    }

    fn samples() -> Vec<Sample<Self>> {
        fn hyper(_: Shape, uniform: &mut dyn FnMut() -> f32) -> Vec<f32> {
            let lr = f64::from(uniform()) * 1e-2;
            let step = Hyper {
                lr_shared: lr,
                lr_distinct: lr / 2.0,
                beta1: 0.9,
                beta2: 0.99,
                weight_decay: 0.1,
                clip_norm: 5.0,
                ema_decay: 0.9,
                step: 3,
            };
            step.encode().into()
        }
        let case = |blocks: Blocks| {
            let inputs = [
                ([1, 1, 1, 1, blocks.len()], Domain::Normal),
                ([1, 1, 1, 1, blocks.count()], Domain::Range(1.0, 100.0)),
                ([1, 1, 1, 1, HYPER], Domain::Fill(hyper)),
            ];
            Sample::new(Self { blocks }, &inputs)
        };
        blocks().map(case).collect()
    }
}

fn blocks() -> impl Iterator<Item = Blocks> {
    let blocks = |shared, distinct, landmarks| Blocks { shared, distinct, landmarks };
    [blocks(64, 0, 0), blocks(0, 128, 3), blocks(4160, 192, 5), blocks(128, 8256, 2)].into_iter()
}
