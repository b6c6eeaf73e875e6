//! Persistent buffers, one arena that all programs share, and runs of programs.

use super::choice::Choice;
use super::device::{Device, Need};
use super::launch;
use super::loaded::{self, Loaded, PATIENCE};
use super::pipeline::{Pipelines, UNIFORM_STRIDE};
use super::{Adapter, DeviceInfo};
#[cfg(doc)]
use crate::Error;
use crate::Result;
use crate::kernel::Element;
#[cfg(any(test, feature = "cli"))]
use crate::kernel::Tile;
use crate::plan::{Place, Program, Slot};
use crate::tape::Region;
use half::f16;
use std::collections::BTreeMap;

/// Runs programs on a GPU. Programs share persistent buffers; runs do not overlap, so that one arena serves all.
///
/// # Errors
/// Every method may fail with [`Error::DeviceLost`]; the executor is of no use then. Those that allocate may fail with
/// [`Error::OutOfMemory`], those that wait with [`Error::Timeout`].
pub struct GpuExecutor {
    pub(super) device: Device,
    pipelines: Pipelines,
    arena: Memory,
    regions: BTreeMap<Region, Memory>,
    staging: Memory,
    /// What is bound where a shader does not read.
    nothing: wgpu::Buffer,
    pub(super) programs: Vec<Loaded>,
    /// Counts replacements of buffers, after which bind groups must be made anew.
    generation: u64,
    choice: Choice,
    /// How programs are stored.
    storage: Element,
    /// FLOPs or bytes that one launch may cost.
    budget: u64,
    /// Whether timestamps can be believed, once that was tried.
    pub(super) stamped: Option<bool>,
}

/// Bytes of a binding that is not read: the alignment of a binding's offset.
const UNUSED: u64 = 256;

/// A buffer and the number of its elements.
struct Memory {
    buffer: wgpu::Buffer,
    element: Element,
    len: usize,
}

impl GpuExecutor {
    /// Opens a device.
    pub fn new(adapter: &Adapter) -> Result<Self> {
        Self::open(adapter, Element::F32, Choice::of(adapter))
    }

    /// Opens a device whose executor stores parameters, and what kernels leave to each other, like this, and takes its variants
    /// so. A program's inputs and outputs are f32 whatever it is, and so is what [`read`](Self::read) and [`write`](Self::write)
    /// deal in.
    ///
    /// # Errors
    /// [`Error::Limits`] if the device cannot.
    pub(crate) fn open(adapter: &Adapter, storage: Element, choice: Choice) -> Result<Self> {
        let device = Device::open(adapter, choice.matrix.is_some())?;
        if storage == Element::F16 {
            device.check_half()?;
        }
        let arena = Memory::new(&device, "arena", Element::F32, 0, &Need::default())?;
        let staging = Memory { buffer: staging(&device, 0, &Need::default())?, element: Element::F32, len: 0 };
        let nothing = device.buffer("nothing", 8 * UNUSED, wgpu::BufferUsages::STORAGE, &Need::default())?;
        Ok(Self {
            device,
            nothing,
            pipelines: Pipelines::default(),
            arena,
            regions: BTreeMap::new(),
            staging,
            programs: Vec::new(),
            generation: 0,
            choice,
            storage,
            budget: launch::LAUNCH_BUDGET,
            stamped: None,
        })
    }

    /// Takes this variant wherever it fits, in programs that are loaded from now on.
    #[cfg(any(test, feature = "cli"))]
    pub(crate) fn only(&mut self, tile: Option<Tile>) {
        self.choice.only = tile;
    }

    /// The device.
    pub fn info(&self) -> &DeviceInfo {
        &self.device.info
    }

    /// Takes a program, compiles its shaders, and extends the arena and the persistent buffers to what it needs. Returns
    /// its number.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] with the plan's estimate; [`Error::Limits`] if the driver refuses a shader.
    pub fn load(&mut self, program: Program) -> Result<usize> {
        let program = if self.storage == Element::F16 { program.half() } else { program };
        let need = Need { bytes: program.total_bytes(), largest: program.largest() };
        // Shaders count elements in 32 bits, some of them with a sign.
        for slot in &program.slots {
            assert!(slot.operand.checked_span().is_some(), "{} is larger than any memory", slot.name);
        }
        let most = self.device.device.limits().max_storage_buffer_binding_size;
        let limit = |slot: &Slot| most.min(slot.element.bytes() << 31);
        if let Some(slot) = program.slots.iter().find(|slot| slot.bytes() > limit(slot)) {
            let limit = limit(slot);
            let limit = format!(", a tensor has at most {limit} ({} has {})", slot.name, slot.bytes());
            return Err(self.device.out_of_memory(&need, limit));
        }
        let (dispatches, blocks) =
            loaded::prepare(&program, &self.device, &mut self.pipelines, &self.choice, self.budget)?;
        let uniforms = self.upload_uniforms(&blocks, &need)?;
        let output_len = program.outputs.iter().map(|&i| program.slots[i].operand.span()).sum();
        if program.arena_len > self.arena.len {
            self.arena = Memory::new(&self.device, "arena", Element::F32, program.arena_len, &need)?;
            self.generation += 1;
        }
        for (&region, &len) in &program.regions {
            self.extend(region, len, &need)?;
        }
        if output_len > self.staging.len {
            let buffer = staging(&self.device, output_len, &need)?;
            self.staging = Memory { buffer, element: Element::F32, len: output_len };
        }
        let bind_groups = Vec::new();
        self.programs.push(Loaded {
            program,
            need,
            dispatches,
            uniforms,
            bind_groups,
            generation: u64::MAX,
            output_len,
        });
        let index = self.programs.len() - 1;
        self.bind(index)?;
        Ok(index)
    }

    /// A loaded program.
    pub fn program(&self, index: usize) -> &Program {
        &self.programs[index].program
    }

    /// Sets a persistent buffer, or as much of it as there are values.
    pub fn write(&mut self, region: Region, values: &[f32]) -> Result<()> {
        let need = Need { bytes: bytes(values.len()), largest: format!("{region:?}").to_lowercase() };
        self.extend(region, values.len(), &need)?;
        let Memory { buffer, element, len } = &self.regions[&region];
        // Halves are written in pairs: the second of the last must not be another's.
        assert!(*element == Element::F32 || values.len().is_multiple_of(2) || values.len() == *len);
        self.device.guard(&need, || match element {
            Element::F32 => self.device.queue.write_buffer(buffer, 0, bytemuck::cast_slice(values)),
            Element::F16 => {
                let mut halves: Vec<u16> = values.iter().map(|&v| f16::from_f32(v).to_bits()).collect();
                halves.resize(halves.len().next_multiple_of(2), 0);
                self.device.queue.write_buffer(buffer, 0, bytemuck::cast_slice(&halves));
            }
        })
    }

    /// A persistent buffer's content; empty if there is none.
    pub fn read(&self, region: Region) -> Result<Vec<f32>> {
        let Some(memory) = self.regions.get(&region) else { return Ok(Vec::new()) };
        let need = Need { bytes: memory.bytes(), largest: format!("{region:?}").to_lowercase() };
        let staging = staging(&self.device, memory.bytes().div_ceil(4) as usize, &need)?;
        let submission = self.device.guard(&need, || {
            let mut encoder = self.encoder();
            encoder.copy_buffer_to_buffer(&memory.buffer, 0, &staging, 0, memory.bytes());
            self.device.queue.submit([encoder.finish()])
        })?;
        let read = |words: &[u32]| match memory.element {
            Element::F32 => bytemuck::cast_slice(words).to_vec(),
            Element::F16 => {
                let halves: &[u16] = bytemuck::cast_slice(words);
                halves[..memory.len].iter().map(|&bits| f16::from_bits(bits).to_f32()).collect()
            }
        };
        self.device.map(&staging, memory.bytes(), submission, PATIENCE, "reading a buffer", read)
    }

    /// Runs a program on its inputs, in the order of their declaration; returns its outputs.
    ///
    /// # Panics
    /// If an input has not the length of its shape: a fault of the caller.
    pub fn run(&mut self, index: usize, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        let mut outputs = Vec::new();
        self.run_into(index, inputs, &mut outputs)?;
        Ok(outputs)
    }

    /// The same, but for the outputs: they replace what `outputs` holds, in its memory where that suffices.
    ///
    /// # Panics
    /// If an input has not the length of its shape: a fault of the caller.
    pub fn run_into(&mut self, index: usize, inputs: &[&[f32]], outputs: &mut Vec<Vec<f32>>) -> Result<()> {
        self.bind(index)?;
        let loaded = &self.programs[index];
        let submission = self.submit(loaded, inputs, drop)?;
        self.read_outputs(loaded, submission, outputs)
    }

    /// All that the host does for a run of a bound program before it waits. `between` is told of the submissions before the last.
    pub(super) fn submit(
        &self,
        loaded: &Loaded,
        inputs: &[&[f32]],
        between: impl FnMut(wgpu::SubmissionIndex),
    ) -> Result<wgpu::SubmissionIndex> {
        self.device.guard(&loaded.need, || {
            self.write_inputs(loaded, inputs);
            let mut encoder = self.encode(loaded, between);
            self.copy_outputs(loaded, &mut encoder);
            self.device.queue.submit([encoder.finish()])
        })
    }

    /// Sets a program's inputs.
    ///
    /// # Panics
    /// If an input has not the length of its shape: a fault of the caller.
    pub fn upload(&mut self, index: usize, inputs: &[&[f32]]) -> Result<()> {
        let loaded = &self.programs[index];
        self.device.guard(&loaded.need, || self.write_inputs(loaded, inputs))
    }

    /// A program's outputs as its last run left them.
    pub fn outputs(&self, index: usize) -> Result<Vec<Vec<f32>>> {
        let loaded = &self.programs[index];
        let submission = self.device.guard(&loaded.need, || {
            let mut encoder = self.encoder();
            self.copy_outputs(loaded, &mut encoder);
            self.device.queue.submit([encoder.finish()])
        })?;
        let mut outputs = Vec::new();
        self.read_outputs(loaded, submission, &mut outputs)?;
        Ok(outputs)
    }

    fn write_inputs(&self, loaded: &Loaded, inputs: &[&[f32]]) {
        assert_eq!(inputs.len(), loaded.program.inputs.len(), "one value an input");
        for (&slot, values) in loaded.program.inputs.iter().zip(inputs) {
            let slot = &loaded.program.slots[slot];
            assert_eq!(values.len(), slot.operand.shape.len(), "{} has another length than its shape", slot.name);
            self.device.queue.write_buffer(&self.arena.buffer, slot.byte_offset(), bytemuck::cast_slice(values));
        }
    }

    fn copy_outputs(&self, loaded: &Loaded, encoder: &mut wgpu::CommandEncoder) {
        let mut at = 0;
        for &slot in &loaded.program.outputs {
            let slot = &loaded.program.slots[slot];
            encoder.copy_buffer_to_buffer(
                self.memory(slot),
                slot.byte_offset(),
                &self.staging.buffer,
                at,
                slot.bytes(),
            );
            at += slot.bytes();
        }
    }

    fn read_outputs(
        &self,
        loaded: &Loaded,
        submission: wgpu::SubmissionIndex,
        outputs: &mut Vec<Vec<f32>>,
    ) -> Result<()> {
        let (program, size) = (&loaded.program, bytes(loaded.output_len));
        let read = |flat: &[f32]| {
            let mut rest = flat;
            outputs.resize_with(program.outputs.len(), Vec::new);
            for (&slot, output) in program.outputs.iter().zip(outputs) {
                let operand = program.slots[slot].operand;
                let (span, tail) = rest.split_at(operand.span());
                rest = tail;
                output.clear();
                // A parameter's slices lie apart; what is returned has no gaps.
                let slice = |k| &span[k * operand.k_stride..][..operand.shape.slice_len()];
                (0..operand.shape.k).for_each(|k| output.extend_from_slice(slice(k)));
            }
        };
        self.device.map(&self.staging.buffer, size, submission, loaded.patience(), "running a program", read)
    }

    /// Encodes all launches; submits whenever what is encoded may take too long, and tells of it. Returns the open rest.
    pub(super) fn encode(
        &self,
        loaded: &Loaded,
        mut between: impl FnMut(wgpu::SubmissionIndex),
    ) -> wgpu::CommandEncoder {
        let mut launches = loaded.launches().peekable();
        let mut encoder = self.encoder();
        while launches.peek().is_some() {
            let mut work = 0;
            let descriptor = wgpu::ComputePassDescriptor { label: Some("program"), timestamp_writes: None };
            let mut pass = encoder.begin_compute_pass(&descriptor);
            let mut bound = None;
            while let Some(launch) = launches.next_if(|_| work < launch::SUBMIT_BUDGET) {
                work += launch.work;
                launch.record(&mut pass, &mut bound);
            }
            drop(pass);
            if launches.peek().is_some() {
                let full = std::mem::replace(&mut encoder, self.encoder());
                between(self.device.queue.submit([full.finish()]));
            }
        }
        encoder
    }

    fn upload_uniforms(&self, blocks: &[u8], need: &Need) -> Result<wgpu::Buffer> {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let buffer = self.device.buffer("uniforms", blocks.len() as u64, usage, need)?;
        self.device.queue.write_buffer(&buffer, 0, blocks);
        Ok(buffer)
    }

    /// Makes a program's bind groups, unless those that it has still hold.
    pub(super) fn bind(&mut self, index: usize) -> Result<()> {
        if self.programs[index].generation == self.generation {
            return Ok(());
        }
        let need = self.programs[index].need.clone();
        let mut bind_groups = Vec::new();
        for dispatch in &self.programs[index].dispatches {
            let (layout, _) = self.pipelines.layout(&self.device, dispatch.variant.storage)?.clone();
            let loaded = &self.programs[index];
            let part =
                |buffer, offset, size| wgpu::BufferBinding { buffer, offset, size: std::num::NonZero::new(size) };
            // Not twice the same part, which WebGPU would refuse as both are writable.
            let storage = dispatch.slots.iter().enumerate().map(|(i, slot)| match slot {
                Some(slot) => {
                    let slot = &loaded.program.slots[*slot];
                    part(self.memory(slot), slot.byte_offset(), slot.bytes())
                }
                None => part(&self.nothing, i as u64 * UNUSED, UNUSED),
            });
            let entries: Vec<_> = std::iter::once(part(&loaded.uniforms, 0, UNIFORM_STRIDE))
                .chain(storage)
                .enumerate()
                .map(|(i, b)| wgpu::BindGroupEntry { binding: i as u32, resource: wgpu::BindingResource::Buffer(b) })
                .collect();
            let label = Some(dispatch.variant.name);
            let descriptor = wgpu::BindGroupDescriptor { label, layout: &layout, entries: &entries };
            bind_groups.push(self.device.guard(&need, || self.device.device.create_bind_group(&descriptor))?);
        }
        let loaded = &mut self.programs[index];
        (loaded.bind_groups, loaded.generation) = (bind_groups, self.generation);
        Ok(())
    }

    /// Extends a persistent buffer; what it holds stays, what is new is zero.
    fn extend(&mut self, region: Region, len: usize, need: &Need) -> Result<()> {
        let old = self.regions.get(&region);
        if old.is_some_and(|old| old.len >= len) {
            return Ok(());
        }
        let name = format!("{region:?}").to_lowercase();
        let new = Memory::new(&self.device, &name, region.element(self.storage), len, need)?;
        if let Some(old) = old {
            let mut encoder = self.encoder();
            encoder.copy_buffer_to_buffer(&old.buffer, 0, &new.buffer, 0, old.bytes());
            self.device.queue.submit([encoder.finish()]);
        }
        self.regions.insert(region, new);
        self.generation += 1;
        Ok(())
    }

    fn memory(&self, slot: &Slot) -> &wgpu::Buffer {
        match slot.place {
            Place::Arena => &self.arena.buffer,
            Place::Region(region) => &self.regions[&region].buffer,
        }
    }

    pub(super) fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("onemark") })
    }
}

#[cfg(test)]
impl GpuExecutor {
    /// Fills the arena with NaN, in f32 and in f16, which no kernel may read before it writes.
    pub(super) fn poison(&self) {
        let nan = vec![f32::from_bits(0x7fff_7fff); self.arena.len];
        self.device.queue.write_buffer(&self.arena.buffer, 0, bytemuck::cast_slice(&nan));
    }

    /// Takes the device away.
    pub(super) fn lose(&self) {
        self.device.device.destroy();
    }

    /// Lets programs that are loaded from now on cut their dispatches at another cost.
    pub(super) fn set_budget(&mut self, budget: u64) {
        self.budget = budget;
    }
}

impl Memory {
    fn new(device: &Device, label: &str, element: Element, len: usize, need: &Need) -> Result<Self> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let bytes = (len as u64 * element.bytes()).next_multiple_of(4);
        Ok(Self { buffer: device.buffer(label, bytes, usage, need)?, element, len })
    }

    /// Bytes, in whole words of four.
    fn bytes(&self) -> u64 {
        (self.len as u64 * self.element.bytes()).next_multiple_of(4)
    }
}

fn staging(device: &Device, len: usize, need: &Need) -> Result<wgpu::Buffer> {
    device.buffer("staging", bytes(len), wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST, need)
}

fn bytes(elements: usize) -> u64 {
    4 * elements as u64
}
