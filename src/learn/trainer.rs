//! A training program on a device: its steps, and its state for checkpoints.

use crate::Result;
use crate::device::{Device, Executor};
use crate::plan::Program;
use crate::tape::{Layout, Region, Tape, Var};

/// A model in training.
pub struct Trainer {
    /// The device's buffers and programs; further programs may be loaded to read the parameters' average.
    pub executor: Executor,
    /// Where parameters lie.
    pub layout: Layout,
    program: usize,
    outputs: Vec<Vec<f32>>,
}

/// The buffers that a step changes, in the order of a checkpoint.
pub const STATE: [Region; 4] = [Region::Params, Region::Moment1, Region::Moment2, Region::Ema];

impl Trainer {
    /// Finishes a tape that recorded a scalar loss: appends backward pass and optimiser, and plans. The optimiser's numbers
    /// become the last input.
    pub fn plan(mut tape: Tape, loss: Var) -> Result<(Program, Layout)> {
        let hyper = tape.input("hyper", [1, 1, 1, 1, crate::kernel::adamw::HYPER]);
        tape.backward(loss)?;
        tape.adamw(hyper)?;
        Ok((Program::new(&tape), tape.layout(Region::Params)))
    }

    /// Plans a tape and loads it.
    pub fn new(device: &Device, tape: Tape, loss: Var) -> Result<Self> {
        let (program, layout) = Self::plan(tape, loss)?;
        let mut executor = device.executor()?;
        let program = executor.load(program)?;
        Ok(Self { executor, layout, program, outputs: Vec::new() })
    }

    /// The training program.
    pub fn program(&self) -> &Program {
        self.executor.program(self.program)
    }

    /// Starts from given parameters.
    pub fn start(&mut self, params: &[f32]) -> Result<()> {
        let zeros = vec![0.0; params.len()];
        self.executor.write(Region::Params, params)?;
        self.executor.write(Region::Ema, params)?;
        self.executor.write(Region::Moment1, &zeros)?;
        self.executor.write(Region::Moment2, &zeros)
    }

    /// One step on the tape's inputs, the optimiser's numbers ([`Hyper::encode`](crate::kernel::adamw::Hyper::encode)) last. Returns the marked outputs of the recorded
    /// loss in order.
    pub fn step(&mut self, inputs: &[&[f32]]) -> Result<&[Vec<f32>]> {
        self.executor.run_into(self.program, inputs, &mut self.outputs)?;
        Ok(&self.outputs)
    }

    /// The buffers of a checkpoint, in the order of [`STATE`].
    pub fn state(&self) -> Result<Vec<Vec<f32>>> {
        STATE.iter().map(|&region| self.executor.read(region)).collect()
    }

    /// Restores the buffers of a checkpoint.
    pub fn restore(&mut self, state: &[Vec<f32>]) -> Result<()> {
        STATE.iter().zip(state).try_for_each(|(&region, values)| self.executor.write(region, values))
    }
}
