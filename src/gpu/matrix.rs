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

/// Convolves random numbers on matrix units with fragments of this side. A small result is held to the CPU twin's: several inner
/// steps, the last of them short, tiles that stick out, an adapter. One that keeps a whole GPU busy must have the same bits each
/// time, for what naga writes leaves the order of its accesses to workgroup memory to the driver (gfx-rs/wgpu#8805).
///
/// # Errors
/// [`Error::Verification`] if a result is wrong; what the driver says if it refuses the shader.
pub(super) fn check(adapter: &Adapter, side: usize) -> Result<()> {
    let mut gpu = GpuExecutor::open(adapter, Element::F16, Choice { matrix: Some(side), ..Choice::default() })?;
    let mut random = Stream::new(1, &[]);
    let mut run = |case: &Case| -> Result<Vec<f32>> {
        let index = gpu.load(case.program())?;
        let inputs: Vec<&[f32]> = case.inputs.iter().map(Vec::as_slice).collect();
        Ok(gpu.run(index, &inputs)?.swap_remove(0))
    };
    let small = case([2, 1, 9, 13, 20], 76, 5, &mut random);
    let expected = small.expected(&mut random).swap_remove(0).on_matrix_units();
    expected.check(&wide(&run(&small)?)).map_err(Error::Verification)?;

    let large = case([2, 8, 48, 48, 32], 64, 4, &mut random);
    let first = run(&large)?;
    for _ in 0..3 {
        if run(&large)?.iter().zip(&first).any(|(a, b)| a.to_bits() != b.to_bits()) {
            return Err(Error::Verification("the same convolution twice has other bits".into()));
        }
    }
    Ok(())
}

/// A convolution of 3 x 3 to `outputs` channels, with an adapter of rank `rank`.
fn case(x: [usize; 5], outputs: usize, rank: usize, random: &mut Stream) -> Case {
    let op = Conv2d { stride: 1, pad: 1, bias: true, adapter: true, activation: Activation::Relu };
    let [k, _, _, _, inputs] = x;
    let (w, b) = ([1, outputs, 3, 3, inputs], [1, 1, 1, 1, outputs]);
    let sample = Sample::normal(op, &[x, w, b, [k, rank, 1, 1, inputs], [k, outputs, 1, 1, rank]]);
    let sample = Sample { op: Op::from(sample.op), inputs: sample.inputs };
    Case::new(sample, random).half().expect("convolutions have f16 variants")
}
