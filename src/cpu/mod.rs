//! The CPU executor: runs a program with the kernels' CPU twins, in `f32` to work and in `f64` to check against.

pub mod gemm;
pub(crate) mod scratch;
mod view;

pub use view::{Band, In, Out};

use crate::kernel::{Operand, Real, Shape};
use crate::plan::{Place, Program, Slot};
use crate::tape::Region;
use crate::timing::{Clock, Span, Timing};
use std::time::{Duration, Instant};
use view::{Memory, Regions, Sound};

/// Persistent buffers and the programs that share them.
///
/// A run is one piece of work for the current rayon pool. It allocates nothing if the pool is the one that the program was loaded
/// in; called from outside a pool, the queue through which the run enters it takes a block of 1.5 KB every 63 runs and gives
/// the one before it back.
#[derive(Default)]
pub struct CpuExecutor<T> {
    regions: Regions<T>,
    programs: Vec<Loaded<T>>,
}

struct Loaded<T> {
    program: Sound,
    arena: Vec<T>,
}

impl<T: Real> CpuExecutor<T> {
    /// No buffers, no programs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a program, allocates its arena and what threads work in, and extends the persistent buffers to what it needs.
    /// Returns its number.
    ///
    /// # Panics
    /// If tensors of the program overlap or lie outside its buffers: the planner's fault.
    pub fn load(&mut self, program: Program) -> usize {
        let program = Sound::new(program);
        let Program { regions, arena_len, .. } = program.program();
        for (&region, &len) in regions {
            self.extend(region, len);
        }
        let arena = vec![T::zero(); *arena_len];
        scratch::reserve::<T>(thread_scratch(program.program()));
        self.programs.push(Loaded { program, arena });
        self.programs.len() - 1
    }

    fn extend(&mut self, region: Region, len: usize) {
        let buffer = &mut self.regions[region as usize];
        buffer.resize(len.max(buffer.len()), T::zero());
    }

    /// A loaded program.
    pub fn program(&self, index: usize) -> &Program {
        self.programs[index].program.program()
    }

    /// Sets a persistent buffer.
    pub fn write(&mut self, region: Region, values: &[T]) {
        self.extend(region, values.len());
        self.regions[region as usize][..values.len()].copy_from_slice(values);
    }

    /// A persistent buffer's content; empty if there is none.
    pub fn read(&self, region: Region) -> &[T] {
        &self.regions[region as usize]
    }

    /// Runs a program on its inputs, in the order of their declaration; returns its outputs.
    ///
    /// # Panics
    /// If an input has not the length of its shape: a fault of the caller.
    pub fn run(&mut self, index: usize, inputs: &[&[T]]) -> Vec<Vec<T>> {
        let mut outputs = Vec::new();
        self.run_into(index, inputs, &mut outputs);
        outputs
    }

    /// The same, but for the outputs: they replace what `outputs` holds, in its memory where that suffices.
    ///
    /// # Panics
    /// If an input has not the length of its shape: a fault of the caller.
    pub fn run_into(&mut self, index: usize, inputs: &[&[T]], outputs: &mut Vec<Vec<T>>) {
        self.upload(index, inputs);
        self.execute(index, 1, || ());
        self.outputs_into(index, outputs);
    }

    /// Sets a program's inputs.
    ///
    /// # Panics
    /// If an input has not the length of its shape: a fault of the caller.
    pub fn upload(&mut self, index: usize, inputs: &[&[T]]) {
        let Loaded { program, arena } = &mut self.programs[index];
        let program = program.program();
        assert_eq!(inputs.len(), program.inputs.len(), "one value an input");
        for (&slot, values) in program.inputs.iter().zip(inputs) {
            let slot = &program.slots[slot];
            assert_eq!(values.len(), slot.operand.shape.len(), "{} has another length than its shape", slot.name);
            arena[slot.offset..slot.offset + values.len()].copy_from_slice(values);
        }
    }

    /// Runs a program several times on what its memory holds, and times each step.
    pub fn repeat(&mut self, index: usize, times: usize) -> Timing {
        let mut bounds = Vec::with_capacity(times * (self.program(index).steps.len() + 1));
        self.execute(index, times, || bounds.push(Instant::now()));
        let steps = &self.program(index).steps;
        let span = |(step, bound): (usize, &[Instant])| Span {
            step,
            variant: steps[step].op.name(),
            start: bound[0] - bounds[0],
            time: bound[1] - bound[0],
        };
        let runs = bounds.chunks(steps.len() + 1);
        Timing { clock: Clock::Host, spans: runs.flat_map(|run| run.windows(2).enumerate().map(span)).collect() }
    }

    /// Runs a program several times on what its memory holds; returns what that took.
    pub fn elapse(&mut self, index: usize, times: usize) -> Duration {
        let start = Instant::now();
        self.execute(index, times, || ());
        start.elapsed()
    }

    /// Runs the steps a number of times; tells, each time, before the first and after each.
    fn execute(&mut self, index: usize, times: usize, mut bound: impl FnMut() + Send) {
        let Loaded { program, arena } = &mut self.programs[index];
        let mut memory = Memory::new(program, arena, &mut self.regions);
        // The pool's threads would be woken for every loop of every step otherwise.
        rayon::scope(|_| {
            for _ in 0..times {
                bound();
                for step in 0..program.program().steps.len() {
                    memory.run(step);
                    bound();
                }
            }
        });
    }

    /// A program's outputs as its last run left them.
    pub fn outputs(&self, index: usize) -> Vec<Vec<T>> {
        let mut outputs = Vec::new();
        self.outputs_into(index, &mut outputs);
        outputs
    }

    fn outputs_into(&self, index: usize, outputs: &mut Vec<Vec<T>>) {
        let Loaded { program, arena } = &self.programs[index];
        let program = program.program();
        outputs.resize_with(program.outputs.len(), Vec::new);
        for (&slot, output) in program.outputs.iter().zip(outputs) {
            let Slot { place, offset, operand: Operand { shape, k_stride }, .. } = program.slots[slot];
            let from = match place {
                Place::Arena => &arena[..],
                Place::Region(region) => self.read(region),
            };
            output.clear();
            // A parameter's slices lie apart; what is returned has no gaps.
            (0..shape.k).for_each(|k| output.extend_from_slice(&from[offset + k * k_stride..][..shape.slice_len()]));
        }
    }
}

/// Elements of working memory that a thread needs in one step or another of a program.
fn thread_scratch(program: &Program) -> usize {
    let shapes = |slots: &[usize]| slots.iter().map(|&slot| program.slots[slot].operand.shape).collect::<Vec<Shape>>();
    let steps = program.steps.iter();
    steps.map(|step| step.op.thread_scratch(&shapes(&step.inputs), &shapes(&step.outputs))).max().unwrap_or(0)
}
