//! Where programs run: the CPU executor or a GPU, behind one set of calls.

use crate::cpu::CpuExecutor;
use crate::gpu::{self, Adapter, Choice, GpuExecutor};
use crate::kernel::Element;
#[cfg(feature = "cli")]
use crate::kernel::{Op, Operand, Tile};
use crate::plan::Program;
use crate::tape::Region;
use crate::timing::{Encoding, Observer, Run, Timing};
use crate::{Error, Result};
use serde::Serialize;
use std::time::{Duration, Instant};

/// A device that executors are made on.
#[derive(Clone)]
pub struct Device {
    unit: Unit,
    choice: Choice,
    storage: Element,
    notes: Vec<String>,
    observer: Option<Observer>,
}

#[derive(Clone)]
enum Unit {
    Cpu,
    Gpu(Adapter),
}

impl Device {
    /// The CPU executor, on the threads of the current rayon pool.
    pub fn cpu() -> Self {
        Self { unit: Unit::Cpu, choice: Choice::default(), storage: Element::F32, notes: vec![], observer: None }
    }

    /// A GPU, with the variants that its tuning file chooses, if there is one for it.
    pub fn gpu(adapter: Adapter) -> Self {
        let (choice, note) = Choice::tuned(&adapter);
        let notes = note.into_iter().collect();
        Self { unit: Unit::Gpu(adapter), choice, storage: Element::F32, notes, observer: None }
    }

    /// What a user may want to know of how variants are chosen, a line each: what a tuning file gives or why it is ignored,
    /// and whether matrix units are used.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The GPU, if it is one.
    pub fn adapter(&self) -> Option<&gpu::DeviceInfo> {
        match &self.unit {
            Unit::Cpu => None,
            Unit::Gpu(adapter) => Some(&adapter.info),
        }
    }

    /// The same device, whose executors time every run and tell of it. They are slower for it.
    pub fn observed(self, observer: Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// The same device, whose executors store parameters and what kernels leave to each other like this: f16 halves what
    /// detection moves, on GPUs that have it, and uses matrix units where they pass a check. Sums are in f32 either way;
    /// training needs f32.
    ///
    /// # Errors
    /// [`Error::Usage`] for f16 on the CPU, [`Error::Limits`] on a GPU without f16 shaders.
    pub fn storing(mut self, storage: Element) -> Result<Self> {
        if storage == self.storage {
            return Ok(self);
        }
        let adapter = match &self.unit {
            Unit::Gpu(adapter) if adapter.info.f16 => adapter,
            Unit::Gpu(_) => {
                let cause = "it has no f16 shaders; use f32".into();
                return Err(Error::Limits { device: self.name(), cause });
            }
            Unit::Cpu => {
                let cause = format!("{} has no f16; use f32, or name a GPU that has", self.name());
                return Err(Error::Usage(cause));
            }
        };
        self.notes.extend(self.choice.use_matrix_units(adapter, storage == Element::F16));
        self.storage = storage;
        Ok(self)
    }

    /// The side of matrix fragments that it computes with, if it does.
    pub fn matrix(&self) -> Option<usize> {
        self.choice.matrix
    }

    /// The GPU variants of an operation that fit, the one that shapes choose first. None on the CPU, and for kernels that have no
    /// choice.
    #[cfg(feature = "cli")]
    pub(crate) fn variants(&self, op: &Op, x: &[Operand], y: &[Operand]) -> Vec<Tile> {
        match self.unit {
            Unit::Cpu => Vec::new(),
            Unit::Gpu(_) => self.choice.variants(op, x, y, self.storage == Element::F16),
        }
    }

    /// An executor without programs.
    pub fn executor(&self) -> Result<Executor> {
        let backend = match &self.unit {
            Unit::Cpu => Backend::Cpu(Box::new(CpuExecutor::new())),
            Unit::Gpu(adapter) => {
                Backend::Gpu(Box::new(GpuExecutor::open(adapter, self.storage, self.choice.clone())?))
            }
        };
        Ok(Executor { backend, observer: self.observer.clone() })
    }

    /// The device that `spec` names: `auto`, `cpu`, `gpu`, `gpu:NUMBER` or `gpu:NAME`; and one line on what was taken, and
    /// why.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if it is not there, [`Error::Usage`] if it is not a device at all.
    pub fn select(spec: &str) -> Result<(Self, String)> {
        match spec {
            "cpu" => Ok((Self::cpu(), format!("{}, as asked for", Self::cpu().name()))),
            "auto" => Ok(Self::auto(&gpu::devices(), |info| {
                let gpu = Self::gpu(gpu::select(&format!("gpu:{}", info.index))?);
                gpu.executor().map(|_opened| gpu)
            })),
            _ if spec == "gpu" || spec.starts_with("gpu:") => {
                let gpu = Self::gpu(gpu::select(spec)?);
                let why = format!("{}, as asked for", gpu.name());
                Ok((gpu, why))
            }
            _ => Err(Error::Usage(format!("`{spec}` is not a device; use auto, cpu, gpu, gpu:NUMBER or gpu:NAME"))),
        }
    }

    /// The first real GPU that opens, else the CPU: a driver may list what a user has no right to, or what lacks memory.
    fn auto(gpus: &[gpu::DeviceInfo], open: impl Fn(&gpu::DeviceInfo) -> Result<Self>) -> (Self, String) {
        let mut refused = Vec::new();
        for info in gpus.iter().filter(|info| !info.software) {
            match open(info) {
                Ok(gpu) if refused.is_empty() => return (gpu.clone(), format!("{}, the first GPU", gpu.name())),
                Ok(gpu) => return (gpu.clone(), format!("{}: {}", gpu.name(), refused.join("; "))),
                Err(error) => refused.push(error.to_string()),
            }
        }
        let reason = match gpus.first() {
            None => gpu::NONE.into(),
            Some(info) if refused.is_empty() => format!("{} is a software GPU, slower than this", info.name),
            Some(_) => refused.join("; "),
        };
        (Self::cpu(), format!("{}: {reason}", Self::cpu().name()))
    }

    /// Whether it is the CPU executor.
    pub fn is_cpu(&self) -> bool {
        matches!(self.unit, Unit::Cpu)
    }

    /// How [`Device::select`] is asked for it.
    pub fn spec(&self) -> String {
        match &self.unit {
            Unit::Cpu => "cpu".into(),
            Unit::Gpu(adapter) => format!("gpu:{}", adapter.info.index),
        }
    }

    /// Bytes of the largest arena and of the largest tensor that a program may have; none where memory alone limits them.
    pub fn memory_limits(&self) -> Option<(u64, u64)> {
        match &self.unit {
            Unit::Cpu => None,
            Unit::Gpu(adapter) => Some((adapter.info.max_buffer_bytes, adapter.info.max_binding_bytes)),
        }
    }

    /// Every device that [`Device::select`] may take.
    pub fn list() -> Vec<DeviceInfo> {
        std::iter::once(DeviceInfo::cpu()).chain(gpu::devices().into_iter().map(DeviceInfo::from)).collect()
    }

    /// A name for reports.
    pub fn name(&self) -> String {
        match &self.unit {
            Unit::Cpu => format!("cpu ({} threads)", rayon::current_num_threads()),
            Unit::Gpu(adapter) => {
                format!("gpu:{} ({}, {})", adapter.info.index, adapter.info.name, adapter.info.driver)
            }
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

impl From<gpu::DeviceInfo> for DeviceInfo {
    fn from(info: gpu::DeviceInfo) -> Self {
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        Self {
            spec: format!("gpu:{}", info.index),
            kind: info.kind,
            name: info.name,
            backend: format!("{} {}", info.backend, info.driver),
            threads: None,
            features: [
                format!("buffer {}", mib(info.max_buffer_bytes)),
                format!("binding {}", mib(info.max_binding_bytes)),
                format!("workgroup {} threads, {} KiB", info.workgroup_threads, info.workgroup_bytes >> 10),
            ]
            .into_iter()
            .chain(info.f16.then(|| "f16".into()))
            .chain(info.matrix.map(|side| format!("matrix {side}x{side}x{side}")))
            .collect(),
        }
    }
}

/// Bytes of memory that the system would give, where it says so.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
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
pub struct Executor {
    backend: Backend,
    observer: Option<Observer>,
}

enum Backend {
    Cpu(Box<CpuExecutor<f32>>),
    Gpu(Box<GpuExecutor>),
}

impl Executor {
    /// Takes a program; returns its number.
    pub fn load(&mut self, program: Program) -> Result<usize> {
        match &mut self.backend {
            Backend::Cpu(cpu) => {
                // Refused in time: once an allocation fails, the process is gone.
                // Buffers that other programs have already are taken from what was free.
                let held = |(&region, &len): (&Region, &usize)| 4 * len.min(cpu.read(region).len()) as u64;
                let needed = program.total_bytes() - program.regions.iter().map(held).sum::<u64>();
                if let Some(available) = available_memory().filter(|&available| needed > available) {
                    return Err(Error::OutOfMemory {
                        device: Device::cpu().name(),
                        needed,
                        limit: format!(", {available} are free"),
                        largest: program.largest(),
                    });
                }
                Ok(cpu.load(program))
            }
            Backend::Gpu(gpu) => gpu.load(program),
        }
    }

    /// A loaded program.
    pub fn program(&self, index: usize) -> &Program {
        match &self.backend {
            Backend::Cpu(cpu) => cpu.program(index),
            Backend::Gpu(gpu) => gpu.program(index),
        }
    }

    /// Sets a persistent buffer.
    pub fn write(&mut self, region: Region, values: &[f32]) -> Result<()> {
        match &mut self.backend {
            Backend::Cpu(cpu) => {
                cpu.write(region, values);
                Ok(())
            }
            Backend::Gpu(gpu) => gpu.write(region, values),
        }
    }

    /// A persistent buffer's content.
    pub fn read(&self, region: Region) -> Result<Vec<f32>> {
        match &self.backend {
            Backend::Cpu(cpu) => Ok(cpu.read(region).to_vec()),
            Backend::Gpu(gpu) => gpu.read(region),
        }
    }

    /// Runs a program on its inputs, in the order of their declaration; returns its outputs.
    pub fn run(&mut self, index: usize, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        let mut outputs = Vec::new();
        self.run_into(index, inputs, &mut outputs)?;
        Ok(outputs)
    }

    /// The same, but for the outputs: they replace what `outputs` holds, in its memory where that suffices.
    pub fn run_into(&mut self, index: usize, inputs: &[&[f32]], outputs: &mut Vec<Vec<f32>>) -> Result<()> {
        if let Some(observer) = self.observer.clone() {
            *outputs = self.run_observed(index, inputs, &observer)?;
            return Ok(());
        }
        match &mut self.backend {
            Backend::Cpu(cpu) => cpu.run_into(index, inputs, outputs),
            Backend::Gpu(gpu) => gpu.run_into(index, inputs, outputs)?,
        }
        Ok(())
    }

    fn run_observed(&mut self, index: usize, inputs: &[&[f32]], observer: &Observer) -> Result<Vec<Vec<f32>>> {
        let began = Instant::now();
        self.upload(index, inputs)?;
        let launched = Instant::now();
        let timing = self.repeat(index, 1)?;
        let outputs = self.outputs(index)?;
        observer(&Run { program: self.program(index), timing: &timing, began, launched });
        Ok(outputs)
    }

    /// A program's outputs as its last run left them.
    pub fn outputs(&self, index: usize) -> Result<Vec<Vec<f32>>> {
        match &self.backend {
            Backend::Cpu(cpu) => Ok(cpu.outputs(index)),
            Backend::Gpu(gpu) => gpu.outputs(index),
        }
    }

    /// Sets a program's inputs.
    pub fn upload(&mut self, index: usize, inputs: &[&[f32]]) -> Result<()> {
        match &mut self.backend {
            Backend::Cpu(cpu) => {
                cpu.upload(index, inputs);
                Ok(())
            }
            Backend::Gpu(gpu) => gpu.upload(index, inputs),
        }
    }

    /// Runs a program several times on what its memory holds, and times each step. Inputs last until a step reuses their
    /// memory: for programs of more than one step, the first time alone is a run on them.
    pub fn repeat(&mut self, index: usize, times: usize) -> Result<Timing> {
        match &mut self.backend {
            Backend::Cpu(cpu) => Ok(cpu.repeat(index, times)),
            Backend::Gpu(gpu) => gpu.repeat(index, times),
        }
    }

    /// Takes this GPU variant wherever it fits, in programs that are loaded from now on.
    #[cfg(feature = "cli")]
    pub(crate) fn only(&mut self, tile: Tile) {
        if let Backend::Gpu(gpu) = &mut self.backend {
            gpu.only(Some(tile));
        }
    }

    /// As `repeat`, but for what it takes the host until all is done; no clock is in between.
    pub fn elapse(&mut self, index: usize, times: usize) -> Result<Duration> {
        match &mut self.backend {
            Backend::Cpu(cpu) => Ok(cpu.elapse(index, times)),
            Backend::Gpu(gpu) => gpu.elapse(index, times),
        }
    }

    /// Runs a program several times, at least once, on inputs of zeros, and times the host alone. Nothing on the CPU, which launches
    /// nothing.
    pub fn encoding(&mut self, index: usize, times: usize) -> Result<Option<Encoding>> {
        match &mut self.backend {
            Backend::Cpu(_) => Ok(None),
            Backend::Gpu(gpu) => gpu.encoding(index, times).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_goes_on_where_a_gpu_does_not_open() {
        let info = |index, name: &str, software| gpu::DeviceInfo {
            index,
            name: name.into(),
            software,
            ..gpu::DeviceInfo::default()
        };
        let closed = |info: &gpu::DeviceInfo| Err(Error::NoDevice(format!("{} does not open", info.name)));
        let all = [info(0, "llvmpipe", true), info(1, "Arc", false), info(2, "Radeon", false)];
        let why = |gpus: &[gpu::DeviceInfo]| Device::auto(gpus, closed).1;
        let cpu = Device::cpu().name();
        assert_eq!(why(&[]), format!("{cpu}: {}", gpu::NONE));
        assert_eq!(why(&all[..1]), format!("{cpu}: llvmpipe is a software GPU, slower than this"));
        assert_eq!(why(&all), format!("{cpu}: {}; {}", closed(&all[1]).err().unwrap(), closed(&all[2]).err().unwrap()));
        // What opens is marked by a note, as there is no GPU to stand for it.
        let opened = |info: &gpu::DeviceInfo| Ok(Device { notes: vec![info.name.clone()], ..Device::cpu() });
        let (device, why) = Device::auto(&all, |info| if info.index == 1 { closed(info) } else { opened(info) });
        assert_eq!(
            (device.notes(), why),
            (&["Radeon".into()][..], format!("{cpu}: {}", closed(&all[1]).err().unwrap()))
        );
        let (device, why) = Device::auto(&all, opened);
        assert_eq!((device.notes(), why), (&["Arc".into()][..], format!("{cpu}, the first GPU")));
    }
}
