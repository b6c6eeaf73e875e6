//! Where programs run: the CPU executor or a GPU, behind one set of calls.

use crate::Result;
use crate::cpu::CpuExecutor;
use crate::plan::Program;
use crate::tape::Region;

/// A device that executors are made on.
#[derive(Clone, Debug)]
pub enum Device {
    /// The CPU executor, on the threads of the current rayon pool.
    Cpu,
}

impl Device {
    /// An executor without programs.
    pub fn executor(&self) -> Result<Executor> {
        Ok(match self {
            Self::Cpu => Executor::Cpu(CpuExecutor::new()),
        })
    }

    /// A name for reports.
    pub fn name(&self) -> String {
        match self {
            Self::Cpu => format!("cpu ({} threads)", rayon::current_num_threads()),
        }
    }
}

/// Programs and the persistent buffers they share, on a device.
pub enum Executor {
    /// On the CPU.
    Cpu(CpuExecutor<f32>),
}

impl Executor {
    /// Takes a program; returns its number.
    pub fn load(&mut self, program: Program) -> Result<usize> {
        match self {
            Self::Cpu(cpu) => Ok(cpu.load(program)),
        }
    }

    /// A loaded program.
    pub fn program(&self, index: usize) -> &Program {
        match self {
            Self::Cpu(cpu) => cpu.program(index),
        }
    }

    /// Sets a persistent buffer.
    pub fn write(&mut self, region: Region, values: &[f32]) -> Result<()> {
        match self {
            Self::Cpu(cpu) => cpu.write(region, values),
        }
        Ok(())
    }

    /// A persistent buffer's content.
    pub fn read(&self, region: Region) -> Result<Vec<f32>> {
        match self {
            Self::Cpu(cpu) => Ok(cpu.read(region).to_vec()),
        }
    }

    /// Runs a program on its inputs, in the order of their declaration; returns its outputs.
    pub fn run(&mut self, index: usize, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        match self {
            Self::Cpu(cpu) => Ok(cpu.run(index, inputs)),
        }
    }
}
