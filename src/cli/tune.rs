//! `onemark tune`: which variants of the matrix products are the fastest on a GPU.

use super::inspect::weights_programs;
use super::outputs::keep_inputs;
use super::progress::{stopped, watch_interrupts};
use crate::bench::case::BenchCase;
use crate::bench::measure::Effort;
use crate::bench::row::Dtype;
use crate::bench::suite::Suite;
use crate::bench::tune::{Tuner, Verdict, cases};
use crate::bench::workload::{Settings, Workload};
use crate::data::files::write_atomic;
use crate::gpu::Tuning;
use crate::learn::pipeline::Progress;
use crate::units::time;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Measure which GPU variants are the fastest here, for all later commands.
///
/// Takes every convolution and matrix product of the default configuration's training and detection. Variants give the same
/// bits, and one that does not is left out: results do not depend on tuning. Every command takes the choices on this adapter
/// with this driver and version. Earlier choices for what is not measured now stay.
#[derive(clap::Args)]
pub struct Args {
    /// Only kernels whose name contains one of these.
    filter: Vec<String>,
    /// Weights whose detection is tuned too.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Landmarks of the default configuration's programs.
    #[arg(long, value_name = "K", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=1000))]
    landmarks: u16,
    /// Samples a landmark and step of training [default: the configuration's].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Option<u16>,
    /// Seconds of runs that count, for each variant.
    #[arg(long, value_name = "SECONDS", default_value = "0.05", value_parser = super::seconds)]
    min_time: Duration,
    /// Where the choices go; ONEMARK_TUNING=FILE takes them from there [default: tuning/<adapter>.json in the user's cache
    /// folder for onemark].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    compute: super::Compute,
}

pub fn run(args: Args) -> Result<u8> {
    watch_interrupts(args.compute.quiet);
    args.compute.install(|| measure(&args))
}

fn measure(args: &Args) -> Result<u8> {
    keep_inputs(&args.out, &args.weights)?;
    let settings =
        Settings { landmarks: args.landmarks.into(), batch: args.batch.map(usize::from), ..Settings::default() };
    let mut programs = args.weights.as_deref().map(weights_programs).transpose()?.unwrap_or_default();
    let device = args.compute.select()?;
    let Some(info) = device.adapter().cloned() else {
        return Err(Error::Usage(format!("{} has no variants to choose from; --device names a GPU", device.name())));
    };
    let Some(out) = args.out.clone().or_else(|| Tuning::path(&info)) else {
        return Err(Error::Usage("no cache folder to write to; --out names a file".into()));
    };
    for workload in Workload::ALL {
        programs.extend(workload.programs(&settings)?);
    }
    let mut cases = cases(&programs.into_iter().map(|(_, program)| program).collect::<Vec<_>>());
    let known = names(&cases);
    cases.retain(|case| super::named(&args.filter, case.op.name()));
    if cases.is_empty() {
        return Err(Error::Usage(format!("no kernel's name contains {}; there are {known}", args.filter.join(", "))));
    }
    let effort = Effort { warmup: args.min_time / 4, min_time: args.min_time, slope: false };
    let mut tuner = Tuner::new(Suite::new(device, Dtype::F32, effort))?;
    let mut meter = args.compute.meter();
    // What is not measured now keeps what was found before, unless that was on another adapter, driver or version.
    let mut tuning = Tuning::read(&out, &info).unwrap_or_else(|_| Tuning::new(&info));
    tuning.choices.retain(|choice| !cases.iter().any(|case| case.op == choice.op && case.inputs == choice.inputs));
    let mut text = String::new();
    for (done, case) in (1..).zip(&cases) {
        meter.show(Progress { stage: "tune", done, total: cases.len(), loss: None });
        if stopped() {
            return Err(Error::Interrupted);
        }
        let verdict = tuner.tune(case)?;
        text += &line(&verdict)?;
        tuning.choices.extend(verdict.tuned());
    }
    meter.close();
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", e))?;
    }
    write_atomic(&out, serde_json::to_string(&tuning).expect("choices are JSON").as_bytes())?;
    if args.compute.json {
        super::print_json(&tuning)?
    } else {
        super::print(text)?
    }
    args.compute.note(format!(
        "{}: {} choices, {} products measured",
        out.display(),
        tuning.choices.len(),
        cases.len()
    ));
    Ok(0)
}

/// The kernels of cases, each once.
fn names(cases: &[BenchCase]) -> String {
    let names: BTreeSet<&str> = cases.iter().map(|case| case.op.name()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

fn line(verdict: &Verdict) -> Result<String> {
    let gain = verdict.gain().map_or("as chosen".into(), |gain| format!("{gain:.2} times as fast"));
    let mut line = format!(
        "{:<36} {:>10}  {:<36} {gain}  {}",
        verdict.chosen.0,
        time(Duration::from_secs_f64(verdict.chosen.1)),
        verdict.fastest.0,
        verdict.case.shapes()?
    );
    if !verdict.differing.is_empty() {
        line += &format!("  other bits: {}", verdict.differing.join(" "));
    }
    Ok(line + "\n")
}
