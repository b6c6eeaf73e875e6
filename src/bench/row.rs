//! A line of a benchmark's table.

use super::measure::{Source, Times};
use super::peak::Peaks;
use crate::kernel::Cost;
use serde::{Deserialize, Serialize};

/// Numbers that a program computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// Single precision.
    F32,
    /// Double precision, on the CPU.
    F64,
    /// Half precision in storage, single in arithmetic, on GPUs that have it.
    F16,
}

impl Dtype {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
        }
    }

    /// Bytes of a number.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::F16 => 2,
        }
    }
}

/// What keeps a kernel from being faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Arithmetic.
    Compute,
    /// Memory.
    Memory,
    /// That launches take time whatever they do.
    Launch,
}

impl Bound {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Memory => "memory",
            Self::Launch => "launch",
        }
    }
}

/// What a row is of. Rows of two files are the same if this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Kernel, or `step.single` and the like for a whole program.
    pub kernel: String,
    /// Shader variants launched, or `cpu`, or `program`.
    pub variant: String,
    /// Shapes of the inputs, `k x n x h x w x c` each.
    pub shape: String,
    /// The operation's settings, such as `stride=2 pad=1 bias`.
    pub settings: String,
    /// Numbers.
    pub dtype: Dtype,
    /// Whether caches were cleared before each run.
    pub cold: bool,
    /// The device.
    pub device: String,
}

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    #[serde(flatten)]
    pub subject: Subject,
    /// Largest error relative to the largest value, if it was held to the f64 twin.
    pub verified: Option<f64>,
    /// Runs that count.
    pub runs: usize,
    /// Median time, seconds.
    pub median: f64,
    /// Tenth percentile, seconds.
    pub p10: f64,
    /// Ninetieth percentile, seconds.
    pub p90: f64,
    /// Floating-point operations, 10^9.
    pub gflop: f64,
    /// Bytes that must move at least once, 10^6.
    pub mb: f64,
    /// FLOP a byte.
    pub intensity: f64,
    /// Rate of arithmetic.
    pub gflop_per_s: f64,
    /// Rate of necessary bytes.
    pub gb_per_s: f64,
    /// The time that the measured peaks allow, as a share of the median.
    pub of_peak: Option<f64>,
    /// What binds, by the measured peaks.
    pub bound: Option<Bound>,
    /// What the times were read from.
    pub source: Source,
    /// A command that measures this row again.
    pub replay: String,
}

impl Row {
    /// Puts a row together; `launches` are those of one run, and bytes those of its types.
    pub fn new(
        subject: Subject,
        cost: Cost,
        launches: usize,
        times: &Times,
        peaks: Option<&Peaks>,
        replay: String,
    ) -> Self {
        let median = times.median();
        let bytes = cost.bytes;
        let (gflop, mb) = (cost.flops as f64 / 1e9, bytes as f64 / 1e6);
        let best = peaks.map(|peaks| peaks.best(cost.flops, bytes, launches));
        Self {
            verified: None,
            runs: times.runs(),
            median,
            p10: times.quantile(0.1),
            p90: times.quantile(0.9),
            gflop,
            mb,
            intensity: cost.flops as f64 / bytes.max(1) as f64,
            gflop_per_s: gflop / median,
            gb_per_s: mb / 1e3 / median,
            of_peak: best.map(|(seconds, _)| seconds / median),
            bound: best.map(|(_, bound)| bound),
            source: times.source,
            replay,
            subject,
        }
    }
}
