//! Which variant a step runs in, of those that fit its operands and give the same bits.

use super::tuning::Choices;
use crate::kernel::{Op, Operand, Shape, Tile};
use std::sync::Arc;

/// How variants are chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Choice {
    /// From shapes alone.
    #[default]
    Shapes,
    /// As measured on this adapter, else from shapes.
    Tuned(Arc<Choices>),
    /// This one wherever it fits.
    Only(Tile),
}

impl Choice {
    /// The variant of an operation; none for kernels that have no choice.
    pub fn tile(&self, op: &Op, x: &[Operand], y: &[Operand]) -> Option<Tile> {
        let tiles = op.tiles(x, y);
        let named = |shader: &str| tiles.iter().find(|tile| tile.shader == shader).copied();
        let wanted = match self {
            Self::Shapes => None,
            Self::Tuned(choices) => {
                let shapes: Vec<Shape> = x.iter().map(|operand| operand.shape).collect();
                choices.get(op, &shapes).and_then(named)
            }
            // As it is given, right or wrong: a test plants a wrong one.
            Self::Only(tile) => named(tile.shader).map(|_| *tile),
        };
        wanted.or(tiles.first().copied())
    }
}
