//! What is known of a GPU before it is opened.

use serde::{Deserialize, Serialize};

/// A device as a table shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Its number, for `gpu:<index>`.
    pub index: usize,
    /// Name that the driver gives it.
    pub name: String,
    /// `vulkan` or `metal`.
    pub backend: String,
    /// Driver and its version.
    pub driver: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: String,
    /// Whether a CPU plays the GPU: llvmpipe, SwiftShader. Never chosen while there is a real one, unless asked for.
    pub software: bool,
    /// The largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// The largest part of a buffer that one binding may cover, in bytes.
    pub max_binding_bytes: u64,
    /// Whether it computes with f16 storage.
    pub f16: bool,
    /// The side of the fragments of its matrix units, for f16 operands and f32 sums, if it has such that shaders here can use.
    pub matrix: Option<usize>,
    /// Threads of its smallest subgroup, where shaders may exchange numbers within one; else 0.
    pub subgroup_threads: u32,
    /// Memory that a workgroup may share, in bytes.
    pub workgroup_bytes: u32,
    /// The largest workgroup, in threads.
    pub workgroup_threads: u32,
}
