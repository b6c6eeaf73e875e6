//! Whether an adapter's matrix units compute what they should: they are used only if they do.

use super::adapter::Adapter;
use super::choice::Choice;
use super::executor::GpuExecutor;
use crate::kernel::activation::Activation;
use crate::kernel::conv2d::Conv2d;
use crate::kernel::{Element, Op, Sample};
use crate::parity::{Case, wide};
use crate::random::Stream;
use crate::{Error, Result};

/// Convolves random numbers on matrix units with fragments of this side, and holds the result to the CPU twin's: several inner
/// steps, the last of them short, tiles that stick out, an adapter.
///
/// # Errors
/// [`Error::Verification`] if the result is wrong; what the driver says if it refuses the shader.
pub(super) fn check(adapter: &Adapter, side: usize) -> Result<()> {
    let op = Conv2d { stride: 1, pad: 1, bias: true, adapter: true, activation: Activation::Relu };
    let (x, w) = ([2, 1, 9, 13, 20], [1, 76, 3, 3, 20]);
    let sample = Sample::normal(op, &[x, w, [1, 1, 1, 1, 76], [2, 5, 1, 1, 20], [2, 76, 1, 1, 5]]);
    let sample = Sample { op: Op::from(sample.op), inputs: sample.inputs };
    let mut random = Stream::new(1, &[]);
    let case = Case::new(sample, &mut random).half().expect("convolutions have f16 variants");
    let mut gpu = GpuExecutor::open(adapter, Element::F16, Choice { matrix: Some(side), ..Choice::default() })?;
    let index = gpu.load(case.program())?;
    let outputs = gpu.run(index, &case.inputs.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    let expected = case.expected(&mut random).swap_remove(0).on_matrix_units();
    expected.check(&wide(&outputs[0])).map(drop).map_err(Error::Verification)
}
