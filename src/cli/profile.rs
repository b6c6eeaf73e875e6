//! `onemark profile`: what a step of training or a detection spends its time on.

use super::config;
use super::outputs::keep_inputs;
use crate::bench::measure::Effort;
use crate::bench::peak::Peaks;
use crate::bench::row::Dtype;
use crate::bench::workload::{Settings, Workload};
use crate::data::files::write_atomic;
use crate::kernel::Element;
use crate::learn::config::Config;
use crate::model::{Kind, Model};
use crate::profile::Profile;
use crate::profile::summary::Summary;
use crate::{Error, Result};
use std::path::PathBuf;
use std::time::Duration;

/// Time every step of a training program or of detection, on phantoms.
///
/// Prints sums by kernel and by layer; --trace writes all steps for Perfetto (ui.perfetto.dev) or chrome://tracing.
#[derive(clap::Args)]
pub struct Args {
    /// Which program.
    #[arg(value_enum)]
    what: What,
    /// Weights that detect, instead of a fused model of the settings; with them their settings and landmarks.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["landmarks", "batch", "config", "set", "seed"])]
    weights: Option<PathBuf>,
    /// Landmarks.
    #[arg(long, value_name = "K", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=1000))]
    landmarks: u16,
    /// Samples a landmark and step [default: the settings'].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Option<u16>,
    /// Steps that count.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=1000))]
    steps: u16,
    /// Steps before those.
    #[arg(long, value_name = "N", default_value = "1")]
    warmup: u16,
    /// How weights and what layers leave to each other are stored, of detection.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Element,
    /// Where the trace goes, in the format of Chrome's trace events; replaced if it is there.
    #[arg(long, value_name = "FILE.json")]
    trace: Option<PathBuf>,
    /// Measure the device's peaks first, and set kernels against them.
    #[arg(long)]
    peak: bool,
    #[command(flatten)]
    settings: config::Settings,
    #[command(flatten)]
    compute: super::Compute,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    /// A training step of the matcher.
    Match,
    /// A training step of the joint model.
    Joint,
    /// A training step of the single models.
    #[value(alias = "single")]
    Train,
    /// A training step of the fused model.
    Fuse,
    /// The detection of an image.
    Detect,
}

impl What {
    fn workload(self) -> Workload {
        match self {
            Self::Match => Workload::Step(Kind::Match),
            Self::Joint => Workload::Step(Kind::Joint),
            Self::Train => Workload::Step(Kind::Single),
            Self::Fuse => Workload::Step(Kind::Fused),
            Self::Detect => Workload::Detect,
        }
    }
}

pub fn run(args: Args) -> Result<u8> {
    args.compute.install(|| profile(&args))
}

fn profile(args: &Args) -> Result<u8> {
    keep_inputs(&args.trace, args.weights.iter().chain(&args.settings.config))?;
    let settings = settings(args)?;
    if args.precision == Element::F16 && !matches!(args.what, What::Detect) {
        return Err(Error::Usage("--precision f16 is for detect: training is in f32".into()));
    }
    let device = args.compute.select_storing(args.precision)?;
    let effort = Effort { warmup: Duration::ZERO, min_time: Duration::from_millis(200), slope: false };
    let peaks = if args.peak { Some(Peaks::measure(&device, Dtype::F32, &effort)?) } else { None };
    let (warmup, steps) = (args.warmup.into(), args.steps.into());
    let profile = Profile::record(args.what.workload(), &settings, &device, warmup, steps)?;
    let summary = Summary::new(&profile, peaks.as_ref());
    if args.compute.json {
        super::print_json(&summary)?;
    } else {
        super::print(summary.text() + &peaks.map(|peaks| format!("\n{}", peaks.line())).unwrap_or_default())?;
    }
    if let Some(path) = &args.trace {
        write_atomic(path, profile.chrome().as_bytes())?;
        args.compute.note(format!("{}: open it in ui.perfetto.dev", path.display()));
    }
    Ok(0)
}

fn settings(args: &Args) -> Result<Settings> {
    let (batch, given) = (args.batch.map(usize::from), Settings::default());
    let Some(path) = &args.weights else {
        let config = args.settings.apply(Config::default())?;
        return Ok(Settings { config, landmarks: args.landmarks.into(), batch, ..given });
    };
    if !matches!(args.what, What::Detect) {
        return Err(Error::Usage("--weights are for detect: training starts from nothing".into()));
    }
    let model = Model::read(path)?;
    let (config, landmarks) = (model.header.config.clone(), model.header.landmarks.len());
    Ok(Settings { config, landmarks, batch, model: Some(model), ..given })
}
