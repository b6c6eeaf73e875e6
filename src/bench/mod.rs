//! Benchmarks of kernels and of whole programs, on one device: measured, held to the f64 twin, set against what the device can
//! do at best.
//!
//! ```text
//! cases (registry, programs of the default configuration, shapes) -> subject (device, dtype) -> times -> rows -> table
//! ```

pub mod case;
pub mod compare;
pub mod format;
pub mod measure;
pub mod peak;
pub mod roofline;
pub mod row;
pub mod shape;
mod subject;
pub mod suite;
pub mod tune;
pub mod workload;
