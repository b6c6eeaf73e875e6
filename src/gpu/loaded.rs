//! Programs with everything that does not change between runs, and their launches.

use super::choice::Choice;
use super::device::{Device, Need};
use super::launch::{self, Launch};
use super::pipeline::{Pipelines, UNIFORM_STRIDE};
use super::shaders::{self, Variant};
use crate::Result;
use crate::plan::Program;
use std::time::Duration;

/// How long a run may take beyond what its FLOPs cost on the slowest device, a software one.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// FLOPs a second of that device.
const SLOWEST: u64 = 200_000_000;

/// A program with everything that does not change between runs.
pub(super) struct Loaded {
    pub program: Program,
    pub need: Need,
    pub dispatches: Vec<Prepared>,
    pub uniforms: wgpu::Buffer,
    pub bind_groups: Vec<wgpu::BindGroup>,
    pub generation: u64,
    /// Elements of all outputs.
    pub output_len: usize,
}

/// A dispatch of a program.
pub(super) struct Prepared {
    step: usize,
    pipeline: wgpu::ComputePipeline,
    pub variant: &'static Variant,
    /// The slots it binds; none where the shader does not read.
    pub slots: Vec<Option<usize>>,
    launches: Vec<Launch>,
    /// Index of its first uniform block.
    uniform: usize,
    /// FLOPs or bytes.
    work: u64,
}

/// A launch of a loaded program, ready to be recorded.
pub(super) struct Bound<'a> {
    dispatch: &'a Prepared,
    bind_group: &'a wgpu::BindGroup,
    uniform: u32,
    grid: [u32; 2],
    /// FLOPs or bytes.
    pub work: u64,
}

impl Bound<'_> {
    /// Records the launch; `variant` is the one whose pipeline the pass has.
    pub fn record(&self, pass: &mut wgpu::ComputePass, variant: &mut Option<&'static str>) {
        if variant.replace(self.variant()) != Some(self.variant()) {
            pass.set_pipeline(&self.dispatch.pipeline);
        }
        pass.set_bind_group(0, self.bind_group, &[self.uniform]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }

    /// The step of the program that it belongs to.
    pub fn step(&self) -> usize {
        self.dispatch.step
    }

    /// The shader variant.
    pub fn variant(&self) -> &'static str {
        self.dispatch.variant.name
    }
}

impl Loaded {
    /// All launches in order.
    pub fn launches(&self) -> impl Iterator<Item = Bound<'_>> {
        self.dispatches.iter().zip(&self.bind_groups).flat_map(|(dispatch, bind_group)| {
            dispatch.launches.iter().enumerate().map(move |(i, launch)| Bound {
                dispatch,
                bind_group,
                uniform: (dispatch.uniform + i) as u32 * UNIFORM_STRIDE as u32,
                grid: launch.grid,
                work: dispatch.work / dispatch.launches.len() as u64,
            })
        })
    }

    /// How long a run may take.
    pub fn patience(&self) -> Duration {
        PATIENCE + Duration::from_secs(self.program.cost().flops / SLOWEST)
    }
}

/// The dispatches of a program and their uniform blocks.
pub(super) fn prepare(
    program: &Program,
    device: &Device,
    pipelines: &mut Pipelines,
    choice: &Choice,
    budget: u64,
) -> Result<(Vec<Prepared>, Vec<u8>)> {
    let (mut dispatches, mut blocks) = (Vec::new(), Vec::new());
    for (step, dispatch, slots) in program.dispatches(choice) {
        let variant = shaders::find(dispatch.shader).expect("a kernel names variants of the table");
        assert_eq!(variant.params, dispatch.params.len(), "Params of {}", variant.name);
        assert_eq!(variant.storage, slots.len(), "bindings of {}", variant.name);
        let work = program.steps[step].cost.flops.max(program.steps[step].cost.bytes);
        let launches = launch::cut(dispatch.groups, work, budget);
        let uniform = blocks.len() / UNIFORM_STRIDE as usize;
        for launch in &launches {
            let start = blocks.len();
            blocks.extend(launch.base.to_le_bytes());
            blocks.extend(&dispatch.params);
            blocks.resize(start + UNIFORM_STRIDE as usize, 0);
        }
        let pipeline = pipelines.get(device, variant)?;
        dispatches.push(Prepared { step, pipeline, variant, slots, launches, uniform, work });
    }
    Ok((dispatches, blocks))
}
