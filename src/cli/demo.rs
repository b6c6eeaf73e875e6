//! `onemark demo`: the whole job on procedural phantoms of a hand, from one annotated image to a fused detector.

use super::contest::{Contender, LabelErrors, Named, Summary, contest, seesaws};
use super::progress::watch_interrupts;
use super::run_info::RunInfo;
use super::{pages, pseudo_labels};
use crate::data::gray::GrayImage;
use crate::data::images::write_png_gray;
use crate::data::labels::formats::refuse_existing;
use crate::data::labels::{LabelRow, Labels};
use crate::data::phantom::{LANDMARKS, phantom};
use crate::device::Device;
use crate::eval::Options;
use crate::learn::checkpoint::{CONFIG, RunDir};
use crate::learn::config::Config;
use crate::learn::pipeline::{Observer, Pipeline, Task};
use crate::model::Kind;
use crate::report::{Provenance, Report};
use crate::{Error, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Size of a phantom, pixels.
const SIZE: (usize, usize) = (160, 192);
/// Phantoms that are trained on; the first is the annotated template.
const TRAIN: usize = 48;
/// Phantoms that are tested on.
const TEST: usize = 40;
/// The file of the true landmarks.
const TRUTH: &str = "truth.csv";

/// The settings of the demonstration: those of any run, with fewer steps and smaller crops.
fn settings(seed: u64) -> Config {
    let mut config = Config { seed, ..Config::default() };
    config.matching.steps = 400;
    // No fewer pixels than a round of the single models sees.
    config.joint.steps = 440;
    config.joint.update.every = 40;
    config.single.rounds = vec![1.0; 2];
    config.single.steps = 100;
    config.single.batch = 6;
    config.single.template = 2;
    config.crop.side = 48;
    config.fuse.steps = 180;
    config.fuse.batch = 6;
    config
}

struct Set {
    images: Vec<Named>,
    labels: Labels,
}

fn phantoms(seed: u64, indices: std::ops::Range<usize>) -> Set {
    let made: Vec<(Named, LabelRow)> = indices
        .into_par_iter()
        .map(|index| {
            let (width, height) = SIZE;
            let phantom = phantom(seed, index as u64, width, height);
            let name = format!("phantom-{index:03}.png");
            let row = LabelRow {
                image: name.clone(),
                width: width as u32,
                height: height as u32,
                points: phantom.points.into_iter().map(Some).collect(),
                ..LabelRow::default()
            };
            (Named { name, image: GrayImage { width, height, pixels: phantom.pixels } }, row)
        })
        .collect();
    let (images, rows) = made.into_iter().unzip();
    Set { images, labels: Labels { names: LANDMARKS.map(String::from).into(), rows } }
}

/// The whole job on phantoms that the program draws itself.
///
/// Draws radiographs of hands, annotates one, trains all methods and compares them on others. Writes report.html,
/// summary.json, the weights, the images of the test and the truth. With --draw it leaves the images alone, to try other commands on.
#[derive(clap::Args)]
pub struct Args {
    /// Only draw N images into --out, with their landmarks as truth.csv.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000), conflicts_with = "json")]
    draw: Option<u16>,
    /// Folder of the run. What a demonstration of the same seed left there is resumed.
    #[arg(long, value_name = "DIR", default_value = "onemark-demo")]
    out: PathBuf,
    /// Seed of phantoms and training.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
    #[command(flatten)]
    compute: super::Compute,
}

/// Runs the subcommand.
pub fn run(args: Args) -> Result<u8> {
    watch_interrupts(args.compute.quiet);
    let Args { draw: count, out, seed, compute } = args;
    if let Some(count) = count {
        draw(&out, seed, count.into())?;
        return Ok(0);
    }
    compute.install(|| {
        let device = compute.select()?;
        let mut meter = compute.meter();
        let result = demo(&out, &device, seed, &mut meter);
        meter.close();
        let (summary, table) = result?;
        if compute.json {
            super::print_json(&summary)?;
        } else {
            super::print(table)?;
            super::print(format!("\nThe report is {}\n", out.join("report.html").display()))?;
        }
        Ok(0)
    })
}

/// Writes phantoms and their truth into a folder.
fn draw(out: &Path, seed: u64, count: usize) -> Result<()> {
    let truth = out.join(TRUTH);
    if truth.exists() {
        return Err(Error::input(truth, "is there already; give another --out"));
    }
    let drawn = phantoms(seed, 0..count);
    write_images(out, &drawn.images)?;
    drawn.labels.write(&truth)?;
    super::print(format!("{count} images, and their landmarks in {}\n", truth.display()))
}

/// Runs the demonstration into a folder; returns the summary and the table of methods.
pub fn demo(out: &Path, device: &Device, seed: u64, observer: &mut dyn Observer) -> Result<(Summary, String)> {
    let start = Instant::now();
    let run = RunDir::create(out)?;
    let train = phantoms(seed, 0..TRAIN);
    let test = phantoms(seed, TRAIN..TRAIN + TEST);
    let annotation: Vec<[f64; 2]> = train.labels.rows[0].points.iter().flatten().copied().collect();
    let size = (SIZE.0 as f64, SIZE.1 as f64);
    let task = Task {
        landmarks: train.labels.names.clone(),
        images: train.images.into_iter().map(|named| named.image).collect(),
        template: 0,
        template_name: train.labels.rows[0].image.clone(),
        annotation: annotation.clone(),
        spacing: None,
    };
    if !run.has(CONFIG) {
        refuse_existing(&[TRUTH, "summary.json", "report.html"].map(|name| run.file(name)))?;
    }
    let config = settings(seed);
    config.validate()?;
    let toml = toml::to_string(&config).expect("settings are TOML");
    if run.has(CONFIG) && super::config::read(&run.file(CONFIG))? != config {
        return Err(Error::input(out, "holds another run; give another --out"));
    }
    let names: Vec<String> = train.labels.rows.iter().map(|row| row.image.clone()).collect();
    let info = RunInfo::new(&task, &names, &Kind::ALL);
    info.check(&run)?;
    info.write(&run, &config)?;
    write_test(&run, &test, &train.labels)?;
    Pipeline::new(&task, config, device, &run, observer).train(&Kind::ALL)?;

    let options = Options { thresholds: vec![2.0, 3.0, 4.0, 6.0], ..Options::default() };
    let contenders = contest(&run, device, &test.images, &test.labels, (&annotation, size), &options, observer)?;
    let seesaws = seesaws(&run, device, &test.images, &test.labels, &options, &contenders, &task.landmarks, observer)?;
    let seconds = start.elapsed().as_secs_f64();
    let mut summary = Summary::new(&contenders, LANDMARKS.len(), device, seconds, &seesaws);

    let mut report = Report {
        title: "onemark demo: phantoms of a hand".into(),
        conclusion: conclusion(&contenders),
        unit: "px".into(),
        landmarks: task.landmarks.clone(),
        methods: contenders.iter().map(|c| c.method(&task.landmarks)).collect(),
        seesaws,
        provenance: Provenance {
            command: super::command_line(),
            config: toml,
            device: device.name(),
            seconds,
            versions: vec![("onemark".into(), env!("CARGO_PKG_VERSION").into())],
        },
        ..Report::default()
    };
    pages::add_training(&mut report, &run, SIZE.0.max(SIZE.1), Some(1.0))?;
    pseudo_labels::add_errors(&mut report, &run, &info, &train.labels, &options)?;
    summary.pseudo_labels = LabelErrors::of(&report);
    if let Some(fused) = contenders.last() {
        pages::add_gallery(&mut report, fused, &test.images, &test.labels, 6);
    }
    pages::write(&run, &report)?;
    let json = serde_json::to_vec_pretty(&summary).expect("a summary is JSON");
    crate::data::files::write_atomic(run.file("summary.json"), &json)?;
    Ok((summary, table(&contenders)))
}

/// The test's phantoms as files and the truth of all phantoms, so that `compare` can be run on the folder again.
fn write_test(run: &RunDir, test: &Set, train: &Labels) -> Result<()> {
    write_images(&run.file("test"), &test.images)?;
    let rows = train.rows.iter().chain(&test.labels.rows).cloned().collect();
    Labels { names: train.names.clone(), rows }.write(run.file(TRUTH))
}

fn write_images(folder: &Path, images: &[Named]) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", e))?;
    for Named { name, image } in images {
        write_png_gray(folder.join(name), image.width as u32, image.height as u32, &image.to_u8())?;
    }
    Ok(())
}

/// What was found, in one sentence.
pub fn conclusion(contenders: &[Contender]) -> String {
    let figure = |name: &str| contenders.iter().find(|c| c.name == name);
    let mre = |c: &Contender| format!("{:.2} {}", c.evaluation.all.mre, c.evaluation.unit);
    match (figure("joint"), figure("single"), figure("fused")) {
        (Some(joint), Some(single), Some(fused)) => format!(
            "Mean radial error: joint {}, single {}, fused {} with {:.0} % of the single models' parameters.",
            mre(joint),
            mre(single),
            mre(fused),
            100.0 * fused.parameters as f64 / single.parameters as f64
        ),
        _ => contenders.iter().map(|c| format!("{} {}", c.name, mre(c))).collect::<Vec<_>>().join(", "),
    }
}

/// The methods as a text table.
pub fn table(contenders: &[Contender]) -> String {
    let unit = contenders.first().map_or("px", |c| c.evaluation.unit);
    let thresholds = contenders.first().map(|c| c.evaluation.thresholds.clone()).unwrap_or_default();
    let rates: String = thresholds.iter().map(|t| format!("{:>9}", format!("<{t} {unit}"))).collect();
    let mut table = format!(
        "{:8}{:>9}{:>9}{rates}{:>12}{:>12}{:>10}\n",
        "method", "MRE", "SD", "parameters", "arena MiB", "ms/image"
    );
    for c in contenders {
        let all = &c.evaluation.all;
        let rates: String = all.sdr.iter().map(|rate| format!("{rate:>8.1}%")).collect();
        table += &format!(
            "{:8}{:>9.3}{:>9.3}{rates}{:>12}{:>12.1}{:>10.1}\n",
            c.name,
            all.mre,
            all.sd,
            c.parameters,
            c.arena_bytes as f64 / f64::from(1 << 20),
            c.ms_per_image
        );
    }
    table
}
