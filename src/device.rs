//! Where programs run: the CPU executor or a GPU, behind one set of calls.

use crate::cpu::CpuExecutor;
use crate::plan::Program;
use crate::tape::Region;
use crate::{Error, Result};
use serde::Serialize;

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

    /// The device that `spec` names: `auto`, `cpu`, `gpu`, `gpu:NUMBER` or `gpu:NAME`; and one line on what was taken, and
    /// why.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if it is not there, [`Error::Usage`] if it is not a device at all.
    pub fn select(spec: &str) -> Result<(Self, String)> {
        match spec.split_once(':').map_or(spec, |(kind, _)| kind) {
            "cpu" if spec == "cpu" => Ok((Self::Cpu, format!("{}, as asked for", Self::Cpu.name()))),
            "auto" if spec == "auto" => {
                Ok((Self::Cpu, format!("{}: this build runs on the CPU alone", Self::Cpu.name())))
            }
            "gpu" => Err(Error::NoDevice(format!("`{spec}`: this build runs on the CPU alone; use --device cpu"))),
            _ => Err(Error::Usage(format!("`{spec}` is not a device; use auto, cpu, gpu, gpu:NUMBER or gpu:NAME"))),
        }
    }

    /// Every device that [`Device::select`] may take.
    pub fn list() -> Vec<DeviceInfo> {
        vec![DeviceInfo::cpu()]
    }

    /// A name for reports.
    pub fn name(&self) -> String {
        match self {
            Self::Cpu => format!("cpu ({} threads)", rayon::current_num_threads()),
        }
    }
}

/// What is known of a device before it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    /// How [`Device::select`] is asked for it: `cpu`, `gpu:0`, ...
    pub spec: String,
    /// `cpu`, or a GPU's kind: discrete, integrated, software.
    pub kind: String,
    /// The maker's name for it.
    pub name: String,
    /// What drives it: `rayon`, or a graphics API and driver.
    pub backend: String,
    /// CPU threads that it would use.
    pub threads: Option<usize>,
    /// Instruction sets or device features that speed matters depend on.
    pub features: Vec<String>,
}

impl DeviceInfo {
    fn cpu() -> Self {
        let described = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = described.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            spec: "cpu".into(),
            kind: "cpu".into(),
            name: model.map_or(std::env::consts::ARCH, |(_, name)| name.trim()).into(),
            backend: "rayon".into(),
            threads: Some(rayon::current_num_threads()),
            features: cpu_features(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<String> {
    let features = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    features.iter().filter(|(_, there)| *there).map(|(name, _)| (*name).into()).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> Vec<String> {
    Vec::new()
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
