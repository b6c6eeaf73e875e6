//! Compute pipelines, made once a variant, and their binding layouts: a uniform with a dynamic offset, then storage.

use super::device::{Device, MATRIX, Need};
use super::shaders::Variant;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Bytes from one uniform block to the next, and of each binding of one.
pub(super) const UNIFORM_STRIDE: u64 = 256;

/// Pipelines by variant, layouts by number of storage bindings.
#[derive(Default)]
pub(super) struct Pipelines {
    layouts: BTreeMap<usize, (wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    pipelines: BTreeMap<&'static str, wgpu::ComputePipeline>,
}

impl Pipelines {
    /// The pipeline of a variant.
    pub fn get(&mut self, device: &Device, variant: &'static Variant) -> Result<wgpu::ComputePipeline> {
        if let Some(pipeline) = self.pipelines.get(variant.name) {
            return Ok(pipeline.clone());
        }
        if variant.f16 {
            device.check_half()?;
        }
        if variant.matrix && !device.device.features().contains(MATRIX) {
            let cause = "it has no matrix units, or was not opened with them".into();
            return Err(Error::Limits { device: device.info.name.clone(), cause });
        }
        let (_, layout) = self.layout(device, variant.storage)?;
        let pipeline = device.guard(&Need::default(), || {
            let module = module(&device.device, variant);
            device.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(variant.name),
                layout: Some(layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    // Every shader writes workgroup memory before it reads it.
                    zero_initialize_workgroup_memory: checked(),
                    ..wgpu::PipelineCompilationOptions::default()
                },
                cache: None,
            })
        })?;
        self.pipelines.insert(variant.name, pipeline.clone());
        Ok(pipeline)
    }

    /// The layout of a bind group of one uniform and `storage` buffers, and the pipeline layout of it.
    pub fn layout(
        &mut self,
        device: &Device,
        storage: usize,
    ) -> Result<&(wgpu::BindGroupLayout, wgpu::PipelineLayout)> {
        Ok(match self.layouts.entry(storage) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(device.guard(&Need::default(), || layouts(&device.device, storage))?),
        })
    }
}

fn layouts(device: &wgpu::Device, storage: usize) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
    let entry = |binding: usize| wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: match binding {
                0 => wgpu::BufferBindingType::Uniform,
                _ => wgpu::BufferBindingType::Storage { read_only: false },
            },
            has_dynamic_offset: binding == 0,
            min_binding_size: None,
        },
        count: None,
    };
    let entries: Vec<_> = (0..=storage).map(entry).collect();
    let label = format!("{storage} storage buffers");
    let group =
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
    let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(&label),
        bind_group_layouts: &[Some(&group)],
        immediate_size: 0,
    });
    (group, pipeline)
}

/// Whether shaders run with bounds checks: as `ONEMARK_CHECKED` says (`0` or `1`), else in builds with debug assertions.
fn checked() -> bool {
    std::env::var("ONEMARK_CHECKED").map_or(cfg!(debug_assertions), |value| value != "0")
}

fn module(device: &wgpu::Device, variant: &Variant) -> wgpu::ShaderModule {
    let source = wgpu::ShaderSource::Wgsl(variant.source.into());
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(variant.name), source };
    if checked() { device.create_shader_module(descriptor) } else { trusted(device, descriptor) }
}

#[expect(unsafe_code)]
fn trusted(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor) -> wgpu::ShaderModule {
    // SAFETY: the shaders are the crate's own, not a user's; their indices stay inside the operands' extents, which is what
    // the parity tests, with checks on, hold every variant to; their loops are bounded by those extents.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
