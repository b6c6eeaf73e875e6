//! Models for other hosts than this crate.

pub mod onnx;
