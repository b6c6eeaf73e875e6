//! The GPU executor, and the only place that names wgpu: adapters, buffers, pipelines, errors.
//!
//! ```text
//! devices / select -> GpuExecutor::new -> load(program) -> write(region), run(program, inputs), read(region)
//! ```
//!
//! A program's dispatches, their constant arguments and their bindings are made once, at [load](GpuExecutor::load). A run
//! uploads the inputs, encodes the dispatches in order and reads the outputs back; it allocates nothing.

mod adapter;
mod choice;
mod device;
mod executor;
mod launch;
mod loaded;
pub(crate) mod matrix;
mod pipeline;
pub(crate) mod shaders;
mod stamps;
#[cfg(test)]
pub(crate) mod tests;
mod timed;
mod tuning;

pub use adapter::{Adapter, DeviceInfo, devices, select};
pub(crate) use choice::Choice;
pub use executor::GpuExecutor;
pub use tuning::{Tuned, Tuning};
