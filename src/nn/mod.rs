//! Networks: functions on the tape.

pub mod unet;

pub use unet::{Extents, UNet, UNetConfig};
