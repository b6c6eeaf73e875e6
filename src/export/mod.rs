//! Models for other hosts than this crate.

pub mod bundle;
pub mod onnx;
#[cfg(test)]
mod tests;
