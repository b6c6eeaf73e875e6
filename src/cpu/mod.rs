//! The CPU executor: runs a program with the kernels' CPU twins, in `f32` to work and in `f64` to check against.

pub mod gemm;
pub(crate) mod scratch;
mod split;

use crate::kernel::{In, Operand, Out, Real};
use crate::plan::{Place, Program};
use crate::tape::Region;
use crate::timing::{Clock, Span, Timing};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Persistent buffers and the programs that share them.
#[derive(Default)]
pub struct CpuExecutor<T> {
    regions: BTreeMap<Region, Vec<T>>,
    programs: Vec<(Program, Vec<T>)>,
}

impl<T: Real> CpuExecutor<T> {
    /// No buffers, no programs.
    pub fn new() -> Self {
        Self { regions: BTreeMap::new(), programs: Vec::new() }
    }

    /// Takes a program, allocates its arena and extends the persistent buffers to what it needs. Returns its number.
    pub fn load(&mut self, program: Program) -> usize {
        for (&region, &len) in &program.regions {
            let buffer = self.regions.entry(region).or_default();
            buffer.resize(len.max(buffer.len()), T::zero());
        }
        let arena = vec![T::zero(); program.arena_len];
        self.programs.push((program, arena));
        self.programs.len() - 1
    }

    /// A loaded program.
    pub fn program(&self, index: usize) -> &Program {
        &self.programs[index].0
    }

    /// Sets a persistent buffer.
    pub fn write(&mut self, region: Region, values: &[T]) {
        let buffer = self.regions.entry(region).or_default();
        buffer.resize(values.len().max(buffer.len()), T::zero());
        buffer[..values.len()].copy_from_slice(values);
    }

    /// A persistent buffer's content; empty if there is none.
    pub fn read(&self, region: Region) -> &[T] {
        self.regions.get(&region).map_or(&[], Vec::as_slice)
    }

    /// Runs a program on its inputs, in the order of their declaration; returns its outputs.
    ///
    /// # Panics
    /// If an input has not the length of its shape: a fault of the caller.
    pub fn run(&mut self, index: usize, inputs: &[&[T]]) -> Vec<Vec<T>> {
        self.upload(index, inputs);
        self.execute(index, || ());
        self.outputs(index)
    }

    /// Sets a program's inputs.
    ///
    /// # Panics
    /// If an input has not the length of its shape: a fault of the caller.
    pub fn upload(&mut self, index: usize, inputs: &[&[T]]) {
        let (program, arena) = &mut self.programs[index];
        assert_eq!(inputs.len(), program.inputs.len(), "one value an input");
        for (&slot, values) in program.inputs.iter().zip(inputs) {
            let slot = &program.slots[slot];
            assert_eq!(values.len(), slot.operand.shape.len(), "{} has another length than its shape", slot.name);
            arena[slot.offset..slot.offset + values.len()].copy_from_slice(values);
        }
    }

    /// Runs a program several times on what its memory holds, and times each step.
    pub fn repeat(&mut self, index: usize, times: usize) -> Timing {
        let mut spans = Vec::with_capacity(times * self.programs[index].0.steps.len());
        let start = Instant::now();
        for _ in 0..times {
            let mut bounds = Vec::with_capacity(self.programs[index].0.steps.len() + 1);
            self.execute(index, || bounds.push(start.elapsed()));
            let steps = &self.programs[index].0.steps;
            spans.extend(bounds.windows(2).enumerate().map(|(step, bound)| Span {
                step,
                variant: steps[step].op.name(),
                start: bound[0],
                time: bound[1] - bound[0],
            }));
        }
        Timing { clock: Clock::Host, spans }
    }

    /// Runs a program several times on what its memory holds; returns what that took.
    pub fn elapse(&mut self, index: usize, times: usize) -> Duration {
        let start = Instant::now();
        (0..times).for_each(|_| self.execute(index, || ()));
        start.elapsed()
    }

    /// Runs the steps; tells before the first and after each.
    fn execute(&mut self, index: usize, mut bound: impl FnMut()) {
        let Self { regions, programs } = self;
        let (program, arena) = &mut programs[index];
        bound();
        for step in &program.steps {
            let slots = |indices: &[usize]| indices.iter().map(|&i| &program.slots[i]).collect::<Vec<_>>();
            let (x, y) = (slots(&step.inputs), slots(&step.outputs));
            let scratch = step.scratch.map(|i| &program.slots[i]);
            let written: Vec<_> = y.iter().copied().chain(scratch).collect();
            let mut memory = split::Memory::new(arena, regions);
            let (reads, mut writes) = memory.split(&x, &written);
            let mut scratch = scratch.and_then(|_| writes.pop()).unwrap_or_default();
            let scratch = scratch.pop().unwrap_or_default();
            let inputs: Vec<In<T>> =
                reads.into_iter().zip(&x).map(|(data, slot)| In::new(data, slot.operand.shape)).collect();
            let mut outputs: Vec<Out<T>> =
                writes.into_iter().zip(&y).map(|(data, slot)| Out::new(data, slot.operand.shape)).collect();
            step.op.cpu(&inputs, &mut outputs, scratch);
            bound();
        }
    }

    /// A program's outputs as its last run left them.
    pub fn outputs(&self, index: usize) -> Vec<Vec<T>> {
        let (program, arena) = &self.programs[index];
        let value = |&slot: &usize| {
            let slot = &program.slots[slot];
            let from = match slot.place {
                Place::Arena => &arena[..],
                Place::Region(region) => &self.regions[&region],
            };
            // A parameter's slices lie apart; what is returned has no gaps.
            let Operand { shape, k_stride } = slot.operand;
            let slice = |k| &from[slot.offset + k * k_stride..][..shape.slice_len()];
            (0..shape.k).flat_map(slice).copied().collect()
        };
        program.outputs.iter().map(value).collect()
    }
}
