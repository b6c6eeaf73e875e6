//! Anatomical landmark detection from one annotated image: a hand-written compute engine and the method that runs on it.
//!
//! ```text
//! images + one template -> data -> [ tape -> plan -> executor ] -> weights file -> detections, reports
//! ```
//!
//! Every tensor has a landmark axis. Extent 1 is *alike* (shared by all landmarks), extent K is *distinct* (one slice a
//! landmark), and operations broadcast between the two. `ARCHITECTURE.md` tells the rest.
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[cfg(target_endian = "big")]
compile_error!("weights files hold little-endian numbers, which are read as they lie");

#[cfg(feature = "cli")]
pub mod annotate;
#[cfg(feature = "cli")]
pub mod bench;
pub mod cpu;
pub mod data;
pub mod detect;
pub mod device;
pub mod error;
#[cfg(feature = "train")]
pub mod eval;
#[cfg(feature = "cli")]
pub mod export;
pub mod gpu;
pub mod kernel;
pub mod learn;
pub mod model;
#[cfg(feature = "train")]
mod nearest;
pub mod nn;
#[cfg(feature = "gpu")]
pub mod parity;
pub mod plan;
#[cfg(feature = "cli")]
pub mod profile;
pub mod random;
#[cfg(feature = "cli")]
pub mod report;
pub mod tape;
pub mod timing;
pub mod units;

pub use error::{Error, Result};
#[cfg(feature = "cli")]
pub mod cli;
