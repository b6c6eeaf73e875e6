//! `onemark doctor`: whether this machine is fit for onemark, and what to do where it is not.

use crate::Result;
use crate::bench::case::BenchCase;
use crate::bench::measure::{Effort, Source};
use crate::bench::row::Dtype;
use crate::bench::suite::Suite;
use crate::device::{Device, DeviceInfo, available_memory};
use crate::kernel::Op;
use serde::Serialize;
use std::time::Duration;

/// Look at this machine: devices, whether kernels are right on them, clocks, memory; and what to do about each finding.
///
/// Exit code 6 if a kernel is wrong on a device.
#[derive(clap::Args)]
pub struct Args {
    /// One device alone, as --device of other commands has it [default: all].
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// Kernels that detection and training stand on.
const KERNELS: [&str; 12] = [
    "conv2d",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "group_norm",
    "pool",
    "resize",
    "matmul",
    "sample_points",
    "spatial_cross_entropy",
    "soft_argmax",
    "warp_augment",
    "adamw",
];

/// Memory that training within the default settings wants, bytes.
const ROOM: u64 = 4 << 30;

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    Note,
    Wrong,
}

#[derive(Serialize)]
struct Finding {
    /// What it is about: `onemark`, `memory`, or a device.
    about: String,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What to do, or empty.
    remedy: String,
}

impl Finding {
    fn new(about: &str, verdict: Verdict, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { about: about.into(), verdict, found: found.into(), remedy: remedy.into() }
    }

    fn good(about: &str, found: impl Into<String>) -> Self {
        Self::new(about, Verdict::Good, found, "")
    }

    fn line(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Good => "good",
            Verdict::Note => "note",
            Verdict::Wrong => "WRONG",
        };
        let remedy = if self.remedy.is_empty() { String::new() } else { format!("; {}", self.remedy) };
        format!("{verdict:<7}{:<9}{}{remedy}\n", self.about, self.found)
    }
}

pub fn run(args: Args) -> Result<u8> {
    let mut findings = vec![version(), memory()];
    let devices = Device::list();
    match &args.device {
        Some(spec) => findings.extend(examine(&Device::select(spec)?.0, &devices)),
        None => {
            for info in &devices {
                findings.extend(examine(&Device::select(&info.spec)?.0, &devices));
            }
            if devices.iter().all(|info| info.spec == "cpu") {
                let remedy = "everything works on the CPU; for a GPU install its Vulkan driver (Debian: mesa-vulkan-drivers \
                              and libvulkan1, or the vendor's)";
                findings.push(Finding::new("gpu", Verdict::Note, "no Vulkan or Metal device", remedy));
            }
        }
    }
    if args.json {
        super::print_json(&findings)?;
    } else {
        super::print(findings.iter().map(Finding::line).collect::<String>())?;
    }
    Ok(if findings.iter().any(|finding| finding.verdict == Verdict::Wrong) { 6 } else { 0 })
}

fn version() -> Finding {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let found = format!("{} for {os} on {arch}", env!("CARGO_PKG_VERSION"));
    if cfg!(debug_assertions) {
        Finding::new("onemark", Verdict::Note, found + ", a debug build", "build with --release for speed")
    } else {
        Finding::good("onemark", found)
    }
}

fn memory() -> Finding {
    match available_memory() {
        None => Finding::good("memory", "how much is free is not known on this system"),
        Some(free) if free < ROOM => {
            let remedy = "should a training run out of it, lower joint.batch and fuse.batch by --set";
            Finding::new("memory", Verdict::Note, format!("{} MiB are free", free >> 20), remedy)
        }
        Some(free) => Finding::good("memory", format!("{} MiB are free", free >> 20)),
    }
}

/// What there is to say of a device.
fn examine(device: &Device, devices: &[DeviceInfo]) -> Vec<Finding> {
    let spec = device.spec();
    let mut findings = Vec::new();
    if let Some(info) = devices.iter().find(|info| info.spec == spec) {
        findings.push(described(info));
    }
    let suite = Suite {
        device: device.clone(),
        dtype: Dtype::F32,
        effort: Effort { warmup: Duration::ZERO, min_time: Duration::ZERO, slope: false },
        cold: false,
        verify: true,
        seed: 1,
        peaks: None,
        registry: Op::samples(),
    };
    let (mut worst, mut source) = (0.0f64, None);
    for kernel in KERNELS {
        let samples = suite.registry.iter().filter(|sample| sample.op.name() == kernel).map(BenchCase::new);
        let largest = samples.max_by_key(|case| case.cost().map_or(0, |cost| cost.flops));
        match suite.kernel(&largest.expect("every kernel has samples"), None) {
            Ok(row) => {
                worst = worst.max(row.verified.unwrap_or(0.0));
                source = Some(row.source);
            }
            Err(error) => {
                let remedy =
                    "update the driver; until then use another --device, and report this with the driver's version";
                findings.push(Finding::new(&spec, Verdict::Wrong, error.to_string(), remedy));
                // A device that is lost answers nothing more.
                if error.exit_code() != 6 {
                    return findings;
                }
            }
        }
    }
    if findings.iter().all(|finding| finding.verdict != Verdict::Wrong) {
        let found = format!("{} kernels agree with their f64 twins, relative error at most {worst:.1e}", KERNELS.len());
        findings.push(Finding::good(&spec, found));
    }
    match source {
        Some(Source::Timestamps) => findings.push(Finding::good(&spec, "its timestamps move: profiles are exact")),
        Some(Source::Submissions) => {
            let remedy = "profiles time whole submissions instead, which adds their overhead; results are the same";
            findings.push(Finding::new(&spec, Verdict::Note, "its timestamps do not move", remedy));
        }
        _ => {}
    }
    findings
}

/// A device before it is tried.
fn described(info: &DeviceInfo) -> Finding {
    let found = format!("{} ({})", info.name, info.backend);
    let threads = info.threads.map(|n| format!(", {n} threads")).unwrap_or_default();
    match info.kind.as_str() {
        "software" => {
            Finding::new(&info.spec, Verdict::Note, found, "a software GPU, slower than --device cpu; good for testing")
        }
        "cpu" if cfg!(target_arch = "x86_64") && !info.features.iter().any(|feature| feature == "avx2") => {
            let remedy = "it is several times slower than with AVX2: use a newer processor or a GPU";
            Finding::new(&info.spec, Verdict::Note, found + &threads + ", without AVX2", remedy)
        }
        _ => Finding::good(&info.spec, format!("{found}{threads} {}", info.features.join(", "))),
    }
}
