//! The GPU executor, and the only place that names wgpu: adapters, buffers, pipelines, errors.
//!
//! ```text
//! devices / select -> GpuExecutor::new -> load(program) -> write(region), run(program, inputs), read(region)
//! ```
//!
//! A program's dispatches, their constant arguments and their bindings are made once, at [load](GpuExecutor::load). A run
//! uploads the inputs, encodes the dispatches in order and reads the outputs back; it allocates no device memory.
//!
//! Without the feature `gpu` there are no devices, and wgpu is not built.

#[cfg(not(feature = "gpu"))]
mod absent;
#[cfg(feature = "gpu")]
mod adapter;
#[cfg(feature = "gpu")]
mod choice;
#[cfg(feature = "gpu")]
mod device;
#[cfg(feature = "gpu")]
mod executor;
mod info;
#[cfg(feature = "gpu")]
mod launch;
#[cfg(feature = "gpu")]
mod loaded;
#[cfg(feature = "gpu")]
mod matrix;
#[cfg(feature = "gpu")]
mod pipeline;
pub(crate) mod shaders;
#[cfg(feature = "gpu")]
mod stamps;
#[cfg(all(test, feature = "gpu"))]
pub(crate) mod tests;
#[cfg(feature = "gpu")]
mod timed;
#[cfg(feature = "gpu")]
mod tuning;

#[cfg(not(feature = "gpu"))]
pub(crate) use absent::Choice;
#[cfg(not(feature = "gpu"))]
pub use absent::{Adapter, GpuExecutor, NONE, devices, select};
#[cfg(feature = "gpu")]
pub use adapter::{Adapter, NONE, devices, select};
#[cfg(feature = "gpu")]
pub(crate) use choice::Choice;
#[cfg(feature = "gpu")]
pub use executor::GpuExecutor;
pub use info::DeviceInfo;
#[cfg(feature = "gpu")]
pub use tuning::{Tuned, Tuning};
