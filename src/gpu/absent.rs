//! Stands for GPUs in a library that was built without the feature `gpu`: there are none, and values of these types cannot exist.

use super::DeviceInfo;
use crate::plan::Program;
use crate::tape::Region;
use crate::timing::{Encoding, Timing};
use crate::{Error, Result};
use std::convert::Infallible;
use std::time::Duration;

/// Why there are none.
pub const NONE: &str = "built without GPU support";

/// A device that was chosen.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// What it is.
    pub info: DeviceInfo,
    never: Infallible,
}

/// No devices.
pub fn devices() -> Vec<DeviceInfo> {
    Vec::new()
}

/// The device that `spec` asks for.
///
/// # Errors
/// [`Error::NoDevice`].
pub fn select(spec: &str) -> Result<Adapter> {
    Err(Error::NoDevice(format!("`{spec}` asked for, but this is {NONE}. `cpu` always works")))
}

/// The GPU executor.
pub struct GpuExecutor(Infallible);

#[expect(missing_docs, reason = "as the executor with the feature")]
impl GpuExecutor {
    pub fn new(adapter: &Adapter) -> Result<Self> {
        match adapter.never {}
    }
    pub fn load(&mut self, _program: Program) -> Result<usize> {
        match self.0 {}
    }
    pub fn program(&self, _index: usize) -> &Program {
        match self.0 {}
    }
    pub fn write(&mut self, _region: Region, _values: &[f32]) -> Result<()> {
        match self.0 {}
    }
    pub fn read(&self, _region: Region) -> Result<Vec<f32>> {
        match self.0 {}
    }
    pub fn run(&mut self, _index: usize, _inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        match self.0 {}
    }
    pub fn run_into(&mut self, _index: usize, _inputs: &[&[f32]], _outputs: &mut Vec<Vec<f32>>) -> Result<()> {
        match self.0 {}
    }
    pub fn upload(&mut self, _index: usize, _inputs: &[&[f32]]) -> Result<()> {
        match self.0 {}
    }
    pub fn outputs(&self, _index: usize) -> Result<Vec<Vec<f32>>> {
        match self.0 {}
    }
    pub fn repeat(&mut self, _index: usize, _times: usize) -> Result<Timing> {
        match self.0 {}
    }
    pub fn elapse(&mut self, _index: usize, _times: usize) -> Result<Duration> {
        match self.0 {}
    }
    pub fn encoding(&mut self, _index: usize, _times: usize) -> Result<Encoding> {
        match self.0 {}
    }
}
