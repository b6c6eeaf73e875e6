//! Which variant a step runs in, of those that fit its operands and give the same bits.

use super::adapter::Adapter;
use super::matrix;
use super::tuning::{Choices, Tuning};
use crate::kernel::{Op, Operand, Shape, Tile};
use std::sync::Arc;

/// How variants are chosen: from shapes alone, unless something is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Choice {
    /// As measured on this adapter.
    pub tuned: Option<Arc<Choices>>,
    /// Those on matrix units with fragments of this side, where storage is f16.
    pub matrix: Option<usize>,
    /// This one wherever it fits, as it is given, right or wrong: a test plants a wrong one.
    pub only: Option<Tile>,
}

impl Choice {
    /// With the adapter's [tuning file](Tuning), if there is one; and what it gives, or why it is ignored.
    pub fn tuned(Adapter { info, .. }: &Adapter) -> (Self, Option<String>) {
        let Some(file) = Tuning::path(info).filter(|file| file.exists()) else { return (Self::default(), None) };
        match Tuning::read(&file, info) {
            Ok(tuning) => {
                let note = format!("{}: {} variants as tuned", file.display(), tuning.choices.len());
                (Self { tuned: Some(Arc::new(tuning.choices())), ..Self::default() }, Some(note))
            }
            Err(error) => (Self::default(), Some(format!("{error}; ignored"))),
        }
    }

    /// Takes the adapter's matrix units if they are wanted and pass their check, or none; says which, where it has some.
    pub fn use_matrix_units(&mut self, adapter: &Adapter, wanted: bool) -> Option<String> {
        self.matrix = None;
        // A CPU that plays matrix units is slower than one that plays plain shaders.
        let side = adapter.info.matrix.filter(|_| wanted && !adapter.info.software)?;
        match matrix::check(adapter, side) {
            Ok(()) => {
                self.matrix = Some(side);
                Some(format!("matrix units: {side} x {side} x {side}, f16 with f32 sums"))
            }
            Err(error) => Some(format!("matrix units fail their check and are not used: {error}")),
        }
    }

    /// The variants of an operation that fit; `half` is whether its operands are in f16.
    pub fn variants(&self, op: &Op, x: &[Operand], y: &[Operand], half: bool) -> Vec<Tile> {
        let matrix = self.matrix.filter(|_| half).and_then(|side| op.matrix_tile(x, y, side));
        matrix.into_iter().chain(op.tiles(x, y)).collect()
    }

    /// The variant to take; none for kernels that have no choice.
    pub fn tile(&self, op: &Op, x: &[Operand], y: &[Operand], half: bool) -> Option<Tile> {
        let variants = self.variants(op, x, y, half);
        let first = *variants.first()?;
        let named = |shader: &str| variants.iter().find(|tile| tile.shader == shader).copied();
        if let Some(only) = self.only.filter(|only| named(only.shader).is_some()) {
            return Some(only);
        }
        let tuned = self.tuned.as_ref().filter(|_| !first.on_matrix_units()).and_then(|choices| {
            let shapes: Vec<Shape> = x.iter().map(|operand| operand.shape).collect();
            choices.get(op, &shapes).and_then(named)
        });
        Some(tuned.unwrap_or(first))
    }
}
