//! `onemark bench`: how fast each kernel and each program is on a device, and whether it is right.

use super::outputs::keep_inputs;
use super::progress::{stopped, watch_interrupts};
use crate::bench::case::{BenchCase, cases};
use crate::bench::compare::{compare, slower};
use crate::bench::format::{Format, Results};
use crate::bench::measure::Effort;
use crate::bench::peak::Peaks;
use crate::bench::roofline::roofline;
use crate::bench::row::Dtype;
use crate::bench::shape;
use crate::bench::suite::{HOST, Suite};
use crate::bench::workload::{Settings, Workload};
use crate::data::files::write_atomic;
use crate::kernel::{Element, Op};
use crate::learn::pipeline::Progress;
use crate::units::si;
use crate::{Error, Result};
use std::path::PathBuf;
use std::time::Duration;

/// Measure kernels and programs.
///
/// Without --shape and --case, each kernel at the shapes that cost the default configuration most, two reference
/// convolutions, and a step of each method and the detection of an image; on a GPU also what the host alone needs for those.
/// Results go to stdout.
#[derive(clap::Args)]
pub struct Args {
    /// Only rows whose kernel's name contains one of these.
    filter: Vec<String>,
    /// Shapes of convolutions and matrix products, such as n=16,h=256,ci=32:64,co=16..128,kh=3,stride=1 (a:b lists, a..b
    /// doubles); may be given again.
    #[arg(long, value_name = "SHAPE", conflicts_with = "case")]
    shape: Vec<String>,
    /// One operation with its shapes, as the `command` column of --format csv has it; may be given again.
    #[arg(long, value_name = "JSON")]
    case: Vec<String>,
    /// A GPU variant of kernels with several, or `all` of them [default: the one that is chosen].
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Numbers; f64 on the CPU alone, f16 in storage on GPUs that have it, of kernels that detection has.
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Dtype,
    /// Clear caches before each run.
    #[arg(long)]
    cold: bool,
    /// Seconds of runs that do not count, for each row.
    #[arg(long, value_name = "SECONDS", default_value = "0.05", value_parser = super::seconds)]
    warmup: Duration,
    /// Seconds of runs that count, for each row.
    #[arg(long, value_name = "SECONDS", default_value = "0.25", value_parser = super::seconds)]
    min_time: Duration,
    /// Measure by the slope of wall time over the number of runs, whatever clocks the device has.
    #[arg(long, conflicts_with = "cold")]
    slope: bool,
    /// Hold every kernel's results, in every variant that fits, to its f64 twin; exit code 6 if one is wrong.
    #[arg(long)]
    verify: bool,
    /// Seed of the inputs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How results are written.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Earlier results (--format json) to compare with.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Exit code 6 if a median is slower than in --compare by more than this.
    #[arg(long, value_name = "PERCENT", requires = "compare")]
    fail_over: Option<f64>,
    /// Measure the device's peaks first, and set rows against them.
    #[arg(long)]
    peak: bool,
    /// Draw the roofline with all rows; implies --peak; replaced if it is there.
    #[arg(long, value_name = "FILE.svg")]
    roofline: Option<PathBuf>,
    /// List what would be measured.
    #[arg(long)]
    list: bool,
    /// Landmarks of whole programs, and of the programs that cases are taken from.
    #[arg(long, value_name = "K", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=1000))]
    landmarks: u16,
    /// Samples a landmark and step of whole programs [default: the configuration's].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Option<u16>,
    #[command(flatten)]
    compute: super::Compute,
}

/// Beside the shapes of the default configuration: what convolutions are usually compared on.
const REFERENCE: [&str; 2] = ["h=128,ci=32,co=32,kh=3", "h=128,ci=64,co=64,kh=1"];

pub fn run(args: Args) -> Result<u8> {
    watch_interrupts(args.compute.quiet);
    args.compute.install(|| bench(&args))
}

fn bench(args: &Args) -> Result<u8> {
    keep_inputs(&args.roofline, &args.compare)?;
    let base = args.compare.as_deref().map(Results::read).transpose()?;
    let settings =
        Settings { landmarks: args.landmarks.into(), batch: args.batch.map(usize::from), ..Settings::default() };
    let kernels: Vec<BenchCase> = kernels(args, &settings)?;
    let workloads = workloads(args);
    let names =
        || kernels.iter().map(|case| case.op.name().to_string()).chain(workloads.iter().map(|w| w.row_name() + HOST));
    let nothing = |word: &&String| !names().any(|name| name.contains(word.as_str()));
    if let Some(word) = args.filter.iter().find(nothing) {
        let cause = format!("nothing to measure is called {word};{} --list shows all names", hint(word));
        return Err(Error::Usage(cause));
    }
    if names().next().is_none() {
        return Err(Error::Usage("no kernel and no program can be measured like this".into()));
    }
    if args.dtype == Dtype::F16 && args.slope {
        return Err(Error::Usage("--slope counts conversions too: not with --dtype f16".into()));
    }
    let format = if args.compute.json { Format::Json } else { args.format };
    if args.list {
        return list(&kernels, &workloads, format == Format::Json);
    }
    let effort = Effort { warmup: args.warmup, min_time: args.min_time, slope: args.slope };
    let storage = if args.dtype == Dtype::F16 { Element::F16 } else { Element::F32 };
    let device = args.compute.select_storing(storage)?;
    let peaks = match args.peak || args.roofline.is_some() {
        true => Some(Peaks::measure(&device, args.dtype, &effort)?),
        false => None,
    };
    let (cold, verify, seed) = (args.cold, args.verify, args.seed);
    let suite = Suite { cold, verify, seed, peaks, ..Suite::new(device, args.dtype, effort) };
    let (results, wrong) = measure(args, &suite, &settings, &kernels, &workloads)?;
    let changes = base.map(|base| compare(&results.rows, &base)).unwrap_or_default();
    super::print(results.write(format, &changes))?;
    if let (Some(path), Some(peaks)) = (&args.roofline, &results.peaks) {
        write_atomic(path, roofline(&results.rows, peaks, &suite.device.name()).as_bytes())?;
    }
    let slower = args.fail_over.and_then(|percent| slower(&results.rows, &changes, percent));
    let failed: Vec<String> = wrong.into_iter().chain(slower).collect();
    if failed.is_empty() { Ok(0) } else { Err(Error::Verification(failed.join("; "))) }
}

/// The cases that the arguments name.
fn kernels(args: &Args, settings: &Settings) -> Result<Vec<BenchCase>> {
    let mut all = Vec::new();
    for json in &args.case {
        let case: BenchCase = serde_json::from_str(json).map_err(|e| Error::Usage(format!("--case {json}: {e}")))?;
        case.check().map_err(|cause| Error::Usage(format!("--case {json}: {cause}")))?;
        case.cost().map_err(|e| Error::Usage(format!("--case {json}: {e}")))?;
        all.push(case);
    }
    for text in &args.shape {
        all.extend(shape::parse(text)?.iter().flat_map(|extents| extents.cases()));
    }
    if args.case.is_empty() && args.shape.is_empty() && Op::NAMES.iter().any(|name| wanted(args, name)) {
        let mut programs = Vec::new();
        for workload in Workload::ALL {
            programs.extend(workload.programs(settings)?.into_iter().map(|(_, program)| program));
        }
        all.extend(cases(&programs, &Op::samples()));
        for text in REFERENCE {
            all.extend(shape::parse(text)?.iter().flat_map(|extents| extents.cases()));
        }
    }
    all.retain(|case| wanted(args, case.op.name()) && (args.dtype != Dtype::F16 || case.op.half().is_some()));
    Ok(all)
}

/// Whole programs have no variants and no shapes; those that train have one precision.
fn workloads(args: &Args) -> Vec<Workload> {
    let kernels_only = !args.case.is_empty()
        || !args.shape.is_empty()
        || args.cold
        || args.dtype == Dtype::F64
        || args.variant.as_ref().is_some_and(|name| name != "all");
    let trains = |workload: &Workload| matches!(workload, Workload::Step(_) | Workload::StepApart);
    Workload::ALL
        .into_iter()
        .chain(Workload::APART)
        .filter(|w| !kernels_only && (args.dtype != Dtype::F16 || !trains(w)) && wanted(args, &(w.row_name() + HOST)))
        .collect()
}

/// What a misspelt word most likely means.
fn hint(word: &str) -> String {
    let workloads: Vec<String> = Workload::ALL.into_iter().chain(Workload::APART).map(Workload::row_name).collect();
    let known = Op::NAMES.iter().copied().chain(workloads.iter().map(String::as_str));
    crate::nearest::nearest(word, known).map(|name| format!(" did you mean {name}?")).unwrap_or_default()
}

fn wanted(args: &Args, name: &str) -> bool {
    super::named(&args.filter, name)
}

fn list(kernels: &[BenchCase], workloads: &[Workload], json: bool) -> Result<u8> {
    if json {
        let names = workloads.iter().map(|workload| serde_json::json!({ "name": workload.row_name() }));
        let kernel = |case: &BenchCase| -> Result<serde_json::Value> {
            let (cost, name, shapes) = (case.cost()?, case.op.name(), case.shapes()?);
            Ok(serde_json::json!({ "name": name, "shapes": shapes, "flops": cost.flops, "bytes": cost.bytes }))
        };
        let rows = kernels.iter().map(kernel).chain(names.map(Ok)).collect::<Result<Vec<_>>>()?;
        super::print_json(&rows)?;
        return Ok(0);
    }
    let mut text = String::new();
    for case in kernels {
        let cost = case.cost()?;
        let (flops, bytes) = (si(cost.flops as f64, "FLOP"), si(cost.bytes as f64, "B"));
        text += &format!("{:<28}{flops:>12}{bytes:>11}  {}\n", case.op.name(), case.shapes()?);
    }
    workloads.iter().for_each(|workload| text += &format!("{}\n", workload.row_name()));
    super::print(text)?;
    Ok(0)
}

/// All rows; and what was wrong, which has none.
fn measure(
    args: &Args,
    suite: &Suite,
    settings: &Settings,
    kernels: &[BenchCase],
    workloads: &[Workload],
) -> Result<(Results, Vec<String>)> {
    let mut results =
        Results { onemark: env!("CARGO_PKG_VERSION").into(), peaks: suite.peaks.clone(), rows: Vec::new() };
    let (mut wrong, mut left_out) = (Vec::new(), Vec::new());
    let (mut meter, mut done, total) = (args.compute.meter(), 0, kernels.len() + workloads.len());
    let mut begin = |done: &mut usize| {
        *done += 1;
        meter.show(Progress { stage: "bench", done: *done, total, loss: None });
        if stopped() { Err(Error::Interrupted) } else { Ok(()) }
    };
    for case in kernels {
        begin(&mut done)?;
        let variants = match args.variant.as_deref() {
            None => vec![None],
            Some("all") => match suite.variants(case)? {
                none if none.is_empty() => vec![None],
                all => all.into_iter().map(Some).collect(),
            },
            Some(name) => suite.variants(case)?.into_iter().filter(|tile| tile.shader == name).map(Some).collect(),
        };
        for variant in variants {
            match suite.kernel(case, variant) {
                Ok(row) => results.rows.push(row),
                // The others are worth knowing.
                Err(Error::Verification(cause)) => wrong.push(cause),
                // Not every device has f16 and matrix units.
                Err(refused @ Error::Limits { .. }) if kernels.len() > 1 => {
                    left_out.push(format!("{} is left out: {refused}", case.op.name()));
                }
                Err(other) => return Err(other),
            }
        }
    }
    for &workload in workloads {
        begin(&mut done)?;
        if wanted(args, &workload.row_name()) {
            results.rows.push(suite.workload(workload, settings)?);
        }
        results.rows.extend(suite.host(workload, settings)?);
    }
    meter.close();
    left_out.iter().for_each(|note| args.compute.note(note));
    match &args.variant {
        Some(name) if results.rows.is_empty() && wrong.is_empty() => {
            Err(Error::Usage(format!("--variant {name}: none of these kernels has it on {}", suite.device.name())))
        }
        _ => Ok((results, wrong)),
    }
}
