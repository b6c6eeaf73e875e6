//! Cross-entropy between target maps and the spatial softmax of logits, one number a map.
//!
//! ```text
//! loss[c] = -weight[c] sum_i t[i,c] (x[i,c] - logsumexp_j x[j,c])
//! dx      =  dloss[c] weight[c] (softmax(x)[i,c] sum_j t[j,c] - t[i,c])
//! ```
//!
//! There is no balance between foreground and background to tune, and a target of sum zero costs nothing.

use super::columns::{Columns, WIDTH};
use super::softmax::max_and_sum;
use super::tensor::expect;
use super::{Bind, Dispatch, Domain, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

fn check(name: &'static str, logits: Shape, targets: Shape, weights: Shape) -> Result<()> {
    let per_map = Shape { h: 1, w: 1, k: 1, ..logits };
    let fits = logits.with_k(1) == targets.with_k(1) && weights.with_k(1) == per_map;
    expect(name, fits, || format!("logits {logits:?}, targets {targets:?} and weights {weights:?} do not fit"))
}

/// Inputs: logits, targets `[k, n, h, w, c]`, weights `[k, n, 1, 1, c]`. Output: `[k, n, 1, 1, c]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpatialCrossEntropy {}

impl Kernel for SpatialCrossEntropy {
    const NAME: &'static str = "spatial_cross_entropy";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        check(Self::NAME, x[0], x[1], x[2])?;
        Ok(vec![x[2].with_k(Shape::broadcast_k(Self::NAME, x)?)])
    }

    /// Targets and weights are constants: no gradient flows into a teacher.
    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        let dx = tape.push1(SpatialCrossEntropyGrad {}, &[x[0], x[1], x[2], dy])?;
        Ok(vec![Some(dx), None, None])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let Shape { n, c, .. } = x[0].shape();
        y[0].images().enumerate().for_each(|(i, loss)| {
            let (k, n) = (i / n, i % n);
            let (x, t, weight) = (x[0].image(k, n), x[1].image(k, n), x[2].image(k, n));
            for columns in Columns::all(c) {
                let [max, sum] = max_and_sum(columns, x);
                let log_sum: [T; WIDTH] = std::array::from_fn(|j| max[j] + sum[j].ln());
                let [cross] = columns.sums(x, t, |j, x, t| [t * (log_sum[j] - x)]);
                for (j, ch) in columns.channels().enumerate() {
                    loss[ch] = cross[j] * weight[ch];
                }
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let shape = x[0].shape.with_k(y[0].shape.k);
        let groups = shape.k * shape.n * shape.c;
        let params = shaders::spatial_cross_entropy::Params {
            groups: word(groups),
            n: word(shape.n),
            pixels: word(shape.pixels()),
            c: word(shape.c),
            x_k: word(x[0].k_stride),
            targets_k: word(x[1].k_stride),
            weights_k: word(x[2].k_stride),
            loss_k: word(y[0].k_stride),
        };
        vec![Dispatch::new(
            "spatial_cross_entropy",
            params,
            &[Bind::In(0), Bind::In(1), Bind::In(2), Bind::Out(0)],
            groups,
        )]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        6 * x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        shapes().map(|[x, t, w, _]| Sample::new(Self {}, &[x, t, w])).collect()
    }
}

/// Inputs: logits, targets, weights, dloss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpatialCrossEntropyGrad {}

impl Kernel for SpatialCrossEntropyGrad {
    const NAME: &'static str = "spatial_cross_entropy_grad";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        check(Self::NAME, x[0], x[1], x[2])?;
        expect(Self::NAME, x[3].with_k(1) == x[2].with_k(1), || format!("{:?} is no gradient of the loss", x[3]))?;
        Ok(vec![x[0].with_k(Shape::broadcast_k(Self::NAME, x)?)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let Shape { n, c, .. } = x[0].shape();
        y[0].images().enumerate().for_each(|(i, dx)| {
            let (k, n) = (i / n, i % n);
            let (weight, dloss) = (x[2].image(k, n), x[3].image(k, n));
            let (x, t) = (x[0].image(k, n), x[1].image(k, n));
            for columns in Columns::all(c) {
                let max = columns.max(x);
                let [sum, mass] = columns.sums(x, t, |j, x, t| [(x - max[j]).fast_exp(), t]);
                let ratio: [T; WIDTH] = std::array::from_fn(|j| mass[j] / sum[j]);
                let weight = columns.spread(|ch| weight[ch] * dloss[ch]);
                columns.map(dx, x, t, |j, x, t| weight[j] * ((x - max[j]).fast_exp() * ratio[j] - t));
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let shape = y[0].shape;
        let groups = shape.k * shape.n * shape.c;
        let params = shaders::spatial_cross_entropy_grad::Params {
            groups: word(groups),
            n: word(shape.n),
            pixels: word(shape.pixels()),
            c: word(shape.c),
            x_k: word(x[0].k_stride),
            targets_k: word(x[1].k_stride),
            weights_k: word(x[2].k_stride),
            dloss_k: word(x[3].k_stride),
            dx_k: word(y[0].k_stride),
        };
        vec![Dispatch::new(
            "spatial_cross_entropy_grad",
            params,
            &[Bind::In(0), Bind::In(1), Bind::In(2), Bind::In(3), Bind::Out(0)],
            groups,
        )]
    }

    fn flops(&self, x: &[Shape], _: &[Shape]) -> u64 {
        8 * x[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        shapes().map(|inputs| Sample::new(Self {}, &inputs)).collect()
    }
}

/// Awkward sizes: logits, targets, weights, dloss.
fn shapes() -> impl Iterator<Item = [([usize; 5], Domain); 4]> {
    let case = |[kx, kt]: [usize; 2], n, h, w, c| {
        let k = kx.max(kt);
        [
            ([kx, n, h, w, c], Domain::Normal),
            ([kt, n, h, w, c], Domain::Range(0.0, 0.2)),
            ([k, n, 1, 1, c], Domain::Range(0.0, 1.0)),
            ([k, n, 1, 1, c], Domain::Normal),
        ]
    };
    [case([1, 1], 1, 1, 1, 1), case([3, 3], 2, 5, 7, 1), case([1, 1], 2, 9, 8, 5), case([3, 1], 2, 33, 17, 1)]
        .into_iter()
}
