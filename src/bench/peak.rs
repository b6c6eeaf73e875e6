//! What a device can do at best, measured: arithmetic, memory, workgroup memory, launches.

use super::measure::{Effort, Source, Times, measure};
use super::row::{Bound, Dtype};
use super::subject::Subject;
use crate::Result;
use crate::device::Device;
use crate::kernel::probe::{Copy, Fma, WorkgroupReads};
use crate::kernel::probe_half::{FmaF16, FmaMatrix};
use crate::kernel::{Element, Op};
use crate::plan::Program;
use crate::tape::Tape;
use serde::{Deserialize, Serialize};

/// Measured bests of a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peaks {
    /// FLOP/s of fused multiply-adds on all cores.
    pub flops: f64,
    /// The same in f16, on a GPU that has it.
    #[serde(default)]
    pub f16: Option<f64>,
    /// FLOP/s of matrix units, f16 with f32 sums, on a GPU that has such.
    #[serde(default)]
    pub matrix: Option<f64>,
    /// Bytes a second, read and written together, of a copy much larger than caches.
    pub bandwidth: f64,
    /// Bytes a second from workgroup memory, on a GPU.
    pub workgroup: Option<f64>,
    /// Seconds of a launch, or of a step on the CPU, that does next to nothing, in a row of many.
    pub launch: f64,
}

/// Elements whose arithmetic is measured.
const WORK: [usize; 5] = [1, 1, 1, 4096, 256];
const ROUNDS: usize = 128;
/// Matrices that are multiplied.
const MATRICES: usize = 1 << 12;
/// Elements copied: 128 MiB in f32, what any device binds, and more than caches hold.
const COPIED: [usize; 5] = [1, 1, 1, 1, 1 << 25];
/// Launches in a row.
const LAUNCHES: usize = 256;

impl Peaks {
    /// Measures a device.
    pub fn measure(device: &Device, dtype: Dtype, effort: &Effort) -> Result<Self> {
        // Arithmetic is in f32 where only storage is f16.
        let dtype = if dtype == Dtype::F16 { Dtype::F32 } else { dtype };
        let time = |device: &Device, op: Op, shape| -> Result<f64> {
            let mut tape = Tape::new();
            let x = tape.input("x", shape);
            let y = tape.push1(op, &[x])?;
            tape.output(y);
            // The fastest tenth: whatever else the machine did is no part of a peak.
            Ok(run(device, dtype, Program::new(&tape), effort)?.quantile(0.1))
        };
        let rate = |device: &Device, op: Op, shape: [usize; 5]| -> Result<f64> {
            let flops = op.cost(&[shape.into()], &op.infer(&[shape.into()])?).flops;
            Ok(flops as f64 / time(device, op, shape)?)
        };
        let copied = (2 * COPIED[4]) as f64 * dtype.bytes() as f64;
        let reads = WorkgroupReads { rounds: ROUNDS / 2 };
        let traffic = reads.traffic(WORK.into()) as f64;
        let gpu = device.adapter().filter(|info| info.f16);
        let half = gpu.map(|_| device.clone().storing(Element::F16)).transpose()?;
        let matrix = half.as_ref().and_then(|half| Some((half, half.matrix()?)));
        let on_matrix_units = |(half, side): (&Device, usize)| {
            let shape = [1, 1, 1, MATRICES, side * side];
            rate(half, FmaMatrix { side, rounds: ROUNDS }.into(), shape)
        };
        Ok(Self {
            flops: rate(device, Fma { rounds: ROUNDS }.into(), WORK)?,
            f16: gpu.map(|_| rate(device, FmaF16 { rounds: ROUNDS }.into(), WORK)).transpose()?,
            matrix: matrix.map(on_matrix_units).transpose()?,
            bandwidth: copied / time(device, Copy {}.into(), COPIED)?,
            workgroup: if device.is_cpu() { None } else { Some(traffic / time(device, reads.into(), WORK)?) },
            launch: launch(device, dtype, effort)?,
        })
    }

    /// The shortest time that the peaks allow, and what it is made of.
    pub fn best(&self, flops: u64, bytes: u64, launches: usize) -> (f64, Bound) {
        let bounds = [
            (flops as f64 / self.flops, Bound::Compute),
            (bytes as f64 / self.bandwidth, Bound::Memory),
            (launches as f64 * self.launch, Bound::Launch),
        ];
        bounds.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).expect("three")
    }

    /// FLOP a byte from which on arithmetic binds.
    pub fn ridge(&self) -> f64 {
        self.flops / self.bandwidth
    }
}

/// Measures a program of one input.
fn run(device: &Device, dtype: Dtype, program: Program, effort: &Effort) -> Result<Times> {
    let mut subject = Subject::new(device, dtype)?;
    let ones = vec![1.0; program.slots[program.inputs[0]].operand.shape.len()];
    let index = subject.load(program)?;
    subject.upload(index, &[ones])?;
    measure(&mut subject, index, None, effort)
}

/// Each launch reads what the one before it wrote, as those of a network do.
fn launch(device: &Device, dtype: Dtype, effort: &Effort) -> Result<f64> {
    let mut tape = Tape::new();
    let mut x = tape.input("x", [1, 1, 1, 1, 4]);
    for _ in 0..LAUNCHES {
        x = tape.push1(Copy {}, &[x])?;
    }
    tape.output(x);
    let effort = Effort { slope: true, ..*effort };
    let times = run(device, dtype, Program::new(&tape), &effort)?;
    debug_assert_eq!(times.source, Source::Slope);
    Ok(times.median() / LAUNCHES as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_longest_binds() {
        let peaks = Peaks { flops: 100e9, bandwidth: 10e9, launch: 1e-5, ..Peaks::default() };
        assert_eq!(peaks.best(1_000_000_000, 1_000_000, 1), (0.01, Bound::Compute));
        assert_eq!(peaks.best(1_000_000_000, 1_000_000_000, 1), (0.1, Bound::Memory));
        assert_eq!(peaks.best(1000, 1000, 3), (3.0000000000000004e-5, Bound::Launch));
        assert_eq!(peaks.ridge(), 10.0);
    }
}
