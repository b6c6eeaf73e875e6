//! Which variant a step runs in, of those that fit its operands and give the same bits: a function of shapes and of the kind of
//! device, unless a tuning file says otherwise.

use super::adapter::Adapter;
use super::info::DeviceInfo;
use super::matrix;
use super::tuning::{Choices, Tuning};
use crate::kernel::{Op, Operand, Shape, Tile};
use std::sync::Arc;

/// Whether products may go in the direct form (`shaders/lib/direct.wgsl`), which a device's kind decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Direct {
    /// Its subgroups are smaller than the form's workgroups, or cannot exchange numbers.
    #[default]
    Never,
    /// Where it is asked for or measured to be the fastest: it leaves most of a real GPU's threads idle.
    Listed,
    /// Wherever it fits: on a CPU that plays a GPU.
    First,
}

/// Threads of a workgroup of the direct form.
const EIGHT: u32 = 8;

impl From<&DeviceInfo> for Direct {
    fn from(info: &DeviceInfo) -> Self {
        match info.software {
            _ if info.subgroup_threads < EIGHT => Self::Never,
            true => Self::First,
            false => Self::Listed,
        }
    }
}

/// How variants are chosen: from shapes alone, as tiles, unless something is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Choice {
    /// As measured on this adapter.
    pub tuned: Option<Arc<Choices>>,
    /// Those on matrix units with fragments of this side, where storage is f16.
    pub matrix: Option<usize>,
    /// Those of the direct form.
    pub direct: Direct,
    /// This one wherever it fits, as it is given, right or wrong: a test plants a wrong one.
    pub only: Option<Tile>,
}

impl Choice {
    /// From shapes and the adapter's kind.
    pub fn of(Adapter { info, .. }: &Adapter) -> Self {
        Self { direct: info.into(), ..Self::default() }
    }

    /// With the adapter's [tuning file](Tuning), if there is one; and what it gives, or why it is ignored.
    pub fn tuned(adapter: &Adapter) -> (Self, Option<String>) {
        let info = &adapter.info;
        let Some(file) = Tuning::path(info).filter(|file| file.exists()) else { return (Self::of(adapter), None) };
        match Tuning::read(&file, info) {
            Ok(tuning) => {
                let note = format!("{}: {} variants as tuned", file.display(), tuning.choices.len());
                (Self { tuned: Some(Arc::new(tuning.choices())), ..Self::of(adapter) }, Some(note))
            }
            Err(error) => (Self::of(adapter), Some(format!("{error}; ignored"))),
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
        let (mut direct, mut tiled): (Vec<_>, Vec<_>) = op.tiles(x, y).into_iter().partition(Tile::is_direct);
        match self.direct {
            Direct::Never => {}
            Direct::Listed => tiled.append(&mut direct),
            Direct::First => tiled.splice(0..0, direct).for_each(drop),
        }
        matrix.into_iter().chain(tiled).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::activation::Activation;
    use crate::kernel::conv2d::Conv2d;

    #[test]
    fn the_direct_form_goes_first_on_software_devices_alone() {
        let kind = |software, subgroup_threads| {
            Direct::from(&DeviceInfo { software, subgroup_threads, ..DeviceInfo::default() })
        };
        assert_eq!((kind(true, 8), kind(false, 32)), (Direct::First, Direct::Listed));
        assert_eq!((kind(true, 4), kind(false, 0)), (Direct::Never, Direct::Never));

        let variants = |direct, activation| {
            let op = Op::from(Conv2d { stride: 1, pad: 1, bias: false, adapter: false, activation });
            let x = [[1, 1, 16, 16, 32], [1, 32, 3, 3, 32]].map(|shape| Operand::dense(shape.into()));
            let y = [Operand::dense([1, 1, 16, 16, 32].into())];
            let names: Vec<&str> =
                Choice { direct, ..Choice::default() }.variants(&op, &x, &y, false).iter().map(|t| t.shader).collect();
            names
        };
        let first = variants(Direct::First, Activation::Relu);
        assert_eq!(first[..3], ["conv2d_direct_wide", "conv2d_direct_narrow", "conv2d_small_exact"]);
        let listed = variants(Direct::Listed, Activation::Relu);
        assert_eq!((listed[0], listed.len()), ("conv2d_small_exact", first.len()));
        assert_eq!(listed[listed.len() - 2..], first[..2]);
        let never = variants(Direct::Never, Activation::Relu);
        assert_eq!(never, listed[..listed.len() - 2]);
        assert_eq!(variants(Direct::First, Activation::Sigmoid), never);
    }
}
