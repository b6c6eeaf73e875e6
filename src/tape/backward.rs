//! Reverse-mode differentiation: appends the gradient of a scalar as ordinary operations.

use super::{Node, Region, Source, Tape, Var};
use crate::Result;
use crate::kernel::Shape;
use crate::kernel::adamw::{AdamW, BlockSquares, Blocks};
use crate::kernel::elementwise::{Fill, ScaleShift};
use crate::kernel::reduce::Sum;
use crate::kernel::tensor::expect;
use std::collections::BTreeMap;

impl Tape {
    /// Appends the gradients of a scalar with respect to everything it depends on, and stores those of the parameters of
    /// [`Region::Params`] in [`Region::Grads`]. Returns the gradient of each tensor that has one.
    ///
    /// Gradients that nothing reads cost nothing: the plan drops them.
    pub fn backward(&mut self, loss: Var) -> Result<BTreeMap<Var, Var>> {
        let scalar = self.shape(loss).len() == 1;
        expect("backward", scalar, || format!("the loss must be a scalar, not {:?}", self.shape(loss)))?;
        let one = self.push1(Fill { shape: self.shape(loss), value: 1.0 }, &[])?;
        let mut gradients = BTreeMap::from([(loss, one)]);
        for index in (0..self.nodes.len()).rev() {
            let node = self.nodes[index].clone();
            let Some(&dy) = node.outputs.first().and_then(|y| gradients.get(y)) else { continue };
            self.beside(&node, |tape| {
                let dx = node.op.grad(tape, &node.inputs, &node.outputs, dy)?;
                for (&x, dx) in node.inputs.iter().zip(dx) {
                    let Some(dx) = dx else { continue };
                    let dx = tape.sum_to(dx, tape.shape(x))?;
                    let total = match gradients.get(&x) {
                        Some(&sum) => tape.add(sum, dx)?,
                        None => dx,
                    };
                    gradients.insert(x, total);
                }
                Ok(())
            })?;
        }
        self.store_gradients(&gradients)?;
        Ok(gradients)
    }

    /// Appends one step of AdamW on the parameters of [`Region::Params`], whose gradients [`Tape::backward`] stored, by the
    /// numbers of a [`Hyper`](crate::kernel::adamw::Hyper). Returns the squared gradient norm of each block, for the host to
    /// see; a block whose norm is not finite is left as it is.
    pub fn adamw(&mut self, hyper: Var) -> Result<Var> {
        let layout = self.layout(Region::Params);
        let blocks = Blocks::of(&layout);
        let mut buffer = |region| self.buffer(region, [1, 1, 1, 1, layout.len()]);
        let gradients = buffer(Region::Grads);
        let state = [Region::Params, Region::Moment1, Region::Moment2, Region::Ema].map(buffer);
        let squares = self.push1(BlockSquares { blocks }, &[gradients])?;
        self.push_in_place(AdamW { blocks }, &[gradients, squares, hyper], &state);
        Ok(squares)
    }

    /// Sums over the axes in which a shape has extent 1: the gradient of a broadcast.
    pub fn sum_to(&mut self, x: Var, shape: Shape) -> Result<Var> {
        let from = self.shape(x);
        if from == shape {
            return Ok(x);
        }
        let keep = std::array::from_fn(|axis| from.dims()[axis] == shape.dims()[axis]);
        let fits = (0..5).all(|axis| keep[axis] || shape.dims()[axis] == 1);
        expect("sum", fits, || format!("{from:?} cannot be summed to {shape:?}"))?;
        self.push1(Sum { keep }, &[x])
    }

    /// Records under the name of the layer that a node is of.
    fn beside<R>(&mut self, node: &Node, record: impl FnOnce(&mut Self) -> R) -> R {
        let layer = node.label.strip_suffix(node.op.name()).and_then(|label| label.strip_suffix('.'));
        match layer {
            Some(layer) => self.scoped(layer, record),
            None => record(self),
        }
    }

    fn store_gradients(&mut self, gradients: &BTreeMap<Var, Var>) -> Result<()> {
        let parameters = self.parameters.get(&Region::Params).cloned().unwrap_or_default();
        for (index, (_, parameter)) in parameters.iter().enumerate() {
            let Some(&gradient) = gradients.get(parameter) else { continue };
            // Two parameters may receive the same tensor as gradient; each then needs a copy in its own place.
            let stored = match self.tensors[gradient.0 as usize].source {
                Source::Computed => gradient,
                _ => self.push1(ScaleShift { scale: 1.0, shift: 0.0 }, &[gradient])?,
            };
            self.tensors[stored.0 as usize].source = Source::Gradient(index);
        }
        Ok(())
    }
}
