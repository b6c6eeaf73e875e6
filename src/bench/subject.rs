//! What is measured: programs on a device in f32 or f16, or on the CPU in f64.

use super::row::Dtype;
use crate::cpu::CpuExecutor;
use crate::device::{Device, Executor};
use crate::kernel::{Element, Tile};
use crate::parity::wide;
use crate::plan::Program;
use crate::tape::Region;
use crate::timing::Timing;
use crate::{Error, Result};
use std::time::Duration;

/// An executor of either precision. Values come in f32 and go out in f64.
pub enum Subject {
    Single(Executor),
    Double(CpuExecutor<f64>),
}

impl Subject {
    /// # Errors
    /// [`Error::Usage`] for f64 on a GPU: its shaders have none; as [`Device::storing`] for f16.
    pub fn new(device: &Device, dtype: Dtype) -> Result<Self> {
        match dtype {
            Dtype::F32 => Ok(Self::Single(device.executor()?)),
            Dtype::F16 => Ok(Self::Single(device.clone().storing(Element::F16)?.executor()?)),
            Dtype::F64 if device.is_cpu() => Ok(Self::Double(CpuExecutor::new())),
            Dtype::F64 => Err(Error::Usage(format!("--dtype f64 runs on the CPU alone, not on {}", device.name()))),
        }
    }

    pub fn load(&mut self, program: Program) -> Result<usize> {
        match self {
            Self::Single(executor) => executor.load(program),
            Self::Double(executor) => Ok(executor.load(program)),
        }
    }

    /// Takes this GPU variant wherever it fits, in programs that are loaded from now on.
    pub fn only(&mut self, tile: Tile) {
        if let Self::Single(executor) = self {
            executor.only(tile);
        }
    }

    pub fn program(&self, index: usize) -> &Program {
        match self {
            Self::Single(executor) => executor.program(index),
            Self::Double(executor) => executor.program(index),
        }
    }

    pub fn write(&mut self, region: Region, values: &[f32]) -> Result<()> {
        match self {
            Self::Single(executor) => executor.write(region, values),
            Self::Double(executor) => {
                executor.write(region, &wide(values));
                Ok(())
            }
        }
    }

    pub fn upload(&mut self, index: usize, inputs: &[Vec<f32>]) -> Result<()> {
        match self {
            Self::Single(executor) => executor.upload(index, &inputs.iter().map(Vec::as_slice).collect::<Vec<_>>()),
            Self::Double(executor) => {
                let inputs: Vec<Vec<f64>> = inputs.iter().map(|x| wide(x)).collect();
                executor.upload(index, &inputs.iter().map(Vec::as_slice).collect::<Vec<_>>());
                Ok(())
            }
        }
    }

    pub fn repeat(&mut self, index: usize, times: usize) -> Result<Timing> {
        match self {
            Self::Single(executor) => executor.repeat(index, times),
            Self::Double(executor) => Ok(executor.repeat(index, times)),
        }
    }

    pub fn elapse(&mut self, index: usize, times: usize) -> Result<Duration> {
        match self {
            Self::Single(executor) => executor.elapse(index, times),
            Self::Double(executor) => Ok(executor.elapse(index, times)),
        }
    }

    pub fn outputs(&mut self, index: usize) -> Result<Vec<Vec<f64>>> {
        match self {
            Self::Single(executor) => Ok(executor.outputs(index)?.iter().map(|y| wide(y)).collect()),
            Self::Double(executor) => Ok(executor.outputs(index)),
        }
    }
}
