//! `onemark inspect`: what a weights file or a run's folder holds.

use super::config;
use super::outputs::keep_inputs;
use super::run_info::RunInfo;
use crate::bench::workload::{Programs, Settings, Workload, detection};
use crate::data::files::write_atomic;
use crate::data::gray::GrayImage;
use crate::kernel::Element;
use crate::learn::checkpoint::{CONFIG, RunDir};
use crate::learn::dataset::Dataset;
use crate::learn::pipeline::weights_file;
use crate::model::{Kind, Model};
use crate::profile::plan::{chart, table};
use crate::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Describe a weights file or the folder of a run.
#[derive(clap::Args)]
pub struct Args {
    /// Weights, or the folder of a run.
    file: PathBuf,
    /// The programs that it runs instead, or those whose name contains PROGRAM: every step with its cost, place and life.
    #[arg(long, value_name = "PROGRAM", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    plan: Option<String>,
    /// With --plan of weights, how they and what layers leave to each other are stored.
    #[arg(long, value_enum, default_value = "f32", requires = "plan")]
    precision: Element,
    /// With --plan, draws the arena of the program that needs the largest over time; replaced if it is there.
    #[arg(long, value_name = "FILE.svg", requires = "plan")]
    svg: Option<PathBuf>,
    /// Print the description as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Weights {
    kind: Kind,
    onemark: String,
    landmarks: Vec<String>,
    template: String,
    /// Training images.
    images: usize,
    /// Millimetres a pixel.
    spacing: Option<f64>,
    bytes: u64,
    matcher_parameters: usize,
    /// Of the landmark model; 0 for match.
    parameters: usize,
    /// Channels of each level.
    matcher: Vec<usize>,
    network: Option<Vec<usize>>,
    /// Rank of the adapters.
    rank: Option<usize>,
    /// Longer side of the images that the matcher and the joint model see, pixels.
    global_side: usize,
    /// Longer side of the images that crops are cut from, pixels.
    local_side: Option<usize>,
    crop_side: Option<usize>,
}

#[derive(Serialize)]
struct Run {
    run: PathBuf,
    onemark: String,
    landmarks: Vec<String>,
    template: String,
    images: usize,
    spacing: Option<f64>,
    seed: u64,
    /// Finished stages.
    weights: Vec<Finished>,
    checkpoint: Option<Stand>,
}

#[derive(Serialize)]
struct Finished {
    kind: Kind,
    file: PathBuf,
    bytes: u64,
}

#[derive(Serialize)]
struct Stand {
    stage: String,
    /// Round, first landmark and number of landmarks of the part that trains.
    at: [usize; 3],
    step: usize,
    steps: usize,
}

pub fn run(args: Args) -> Result<u8> {
    if let Some(part) = &args.plan {
        return plan(&args, part);
    }
    if args.file.is_dir() {
        let run = describe_run(&args.file)?;
        if args.json { super::print_json(&run)? } else { super::print(run.text())? }
    } else {
        let weights = describe_weights(&args.file)?;
        if args.json { super::print_json(&weights)? } else { super::print(weights.text())? }
    }
    Ok(0)
}

fn plan(args: &Args, part: &str) -> Result<u8> {
    if args.file.is_dir() {
        let names = Kind::ALL.map(weights_file).into_iter().chain([CONFIG, RunInfo::FILE].map(String::from));
        keep_inputs(&args.svg, names.map(|name| args.file.join(name)))?;
    } else {
        keep_inputs(&args.svg, [&args.file])?;
    }
    let mut programs = match (args.file.is_dir(), args.precision) {
        (true, Element::F32) => run_programs(&args.file)?,
        (true, Element::F16) => {
            return Err(Error::Usage("--precision f16: training is in f32; name a weights file".into()));
        }
        (false, Element::F32) => weights_programs(&args.file)?,
        (false, Element::F16) => {
            weights_programs(&args.file)?.into_iter().map(|(name, program)| (name, program.half())).collect()
        }
    };
    let names: Vec<String> = programs.iter().map(|(name, _)| name.clone()).collect();
    programs.retain(|(name, _)| name.contains(part));
    let Some((largest, program)) = programs.iter().max_by_key(|(_, program)| program.arena_len) else {
        return Err(Error::Usage(format!("--plan={part}: no such program; there are {}", names.join(", "))));
    };
    if let Some(path) = &args.svg {
        write_atomic(path, chart(largest, program).as_bytes())?;
    }
    if args.json {
        super::print_json(&programs)?;
    } else {
        let tables: Vec<String> = programs.iter().map(|(name, program)| table(name, program)).collect();
        super::print(tables.join("\n"))?;
    }
    Ok(0)
}

/// The programs of detection, on an image of the working resolution, as high as wide and a quarter.
pub fn weights_programs(path: &Path) -> Result<Programs> {
    let header = Model::read(path)?.header;
    let (width, height) = (header.config.local_side * 4 / 5, header.config.local_side);
    detection(&header, &[GrayImage { width, height, pixels: vec![0.0; width * height] }])
}

/// The training programs of a run and the fused model's detection, all landmarks at once.
fn run_programs(path: &Path) -> Result<Programs> {
    let (dir, info) = (RunDir::open(path), RunInfo::read(path)?);
    if info.images.is_empty() {
        return Err(Error::input(path, "a run without images"));
    }
    // As it trains: at the resolutions that fit its images, in a frame that all fit in.
    let sizes: Vec<[usize; 2]> = info.images.iter().map(|image| [image.width, image.height]).collect();
    let config = config::read(&dir.file(CONFIG))?.fit_to(&sizes);
    let local = Dataset::blank(&sizes, config.local_side);
    let settings = Settings {
        landmarks: info.landmarks.len(),
        batch: None,
        images: info.images.len(),
        size: [local.width, local.height],
        model: None,
        config,
    };
    let mut programs = Programs::new();
    for workload in Workload::ALL {
        programs.extend(workload.programs(&settings)?);
    }
    Ok(programs)
}

fn size(path: &Path) -> Result<u64> {
    Ok(path.metadata().map_err(|e| Error::io(path, "read", e))?.len())
}

fn describe_weights(path: &Path) -> Result<Weights> {
    let model = Model::read(path)?;
    let (matcher_parameters, header) = (model.matcher_parameters(), &model.header);
    let (kind, config) = (header.kind, &header.config);
    let crops = matches!(kind, Kind::Single | Kind::Fused);
    Ok(Weights {
        kind,
        onemark: header.onemark.clone(),
        landmarks: header.landmarks.clone(),
        template: header.template.clone(),
        images: header.images,
        spacing: header.spacing,
        bytes: size(path)?,
        matcher_parameters,
        parameters: if kind == Kind::Match { 0 } else { model.parameters() },
        matcher: config.matching.channels.clone(),
        network: match kind {
            Kind::Match => None,
            Kind::Joint => Some(config.joint.channels.clone()),
            Kind::Single | Kind::Fused => Some(config.crop.channels.clone()),
        },
        rank: (kind == Kind::Fused).then_some(config.fuse.rank),
        global_side: config.global_side,
        local_side: crops.then_some(config.local_side),
        crop_side: crops.then_some(config.crop.side),
    })
}

impl Weights {
    fn text(&self) -> String {
        let mut text = format!("kind        {} (onemark {})\n", self.kind.name(), self.onemark);
        text += &format!("landmarks   {}: {}\n", self.landmarks.len(), self.landmarks.join(", "));
        text += &format!("trained on  {} images, template {}\n", self.images, self.template);
        text += &self.spacing.map(|mm| format!("spacing     {mm} mm a pixel\n")).unwrap_or_default();
        text += &format!("matcher     {} parameters, channels {:?}", self.matcher_parameters, self.matcher);
        text += &format!(", on images of {} pixels\n", self.global_side);
        if let Some(network) = &self.network {
            text += &format!("network     {} parameters, channels {network:?}", self.parameters);
            text += &self.rank.map(|rank| format!(", adapters of rank {rank}")).unwrap_or_default();
            text += &match (self.crop_side, self.local_side) {
                (Some(crop), Some(local)) => format!(", on crops of {crop} from images of {local} pixels\n"),
                _ => format!(", on images of {} pixels\n", self.global_side),
            };
        }
        text + &format!("file        {} bytes\n", self.bytes)
    }
}

fn describe_run(path: &Path) -> Result<Run> {
    let (dir, info) = (RunDir::open(path), RunInfo::read(path)?);
    let config = config::read(&dir.file(CONFIG))?;
    let mut weights = Vec::new();
    for kind in Kind::ALL {
        let file = dir.file(&weights_file(kind));
        if file.is_file() {
            weights.push(Finished { kind, bytes: size(&file)?, file });
        }
    }
    let mut checkpoint = None;
    for kind in Kind::ALL {
        let stand = dir.checkpoint(kind.name())?;
        checkpoint = checkpoint.or(stand.map(|c| Stand {
            steps: config.snapshots(kind).steps,
            stage: c.stage,
            at: c.at,
            step: c.step,
        }));
    }
    Ok(Run {
        run: path.into(),
        onemark: info.onemark,
        landmarks: info.landmarks,
        template: info.template,
        images: info.images.len(),
        spacing: info.spacing,
        seed: config.seed,
        weights,
        checkpoint,
    })
}

impl Run {
    fn text(&self) -> String {
        let mut text = format!("run         {} (onemark {})\n", self.run.display(), self.onemark);
        text += &format!("landmarks   {}: {}\n", self.landmarks.len(), self.landmarks.join(", "));
        text += &format!("images      {}, template {}, seed {}\n", self.images, self.template, self.seed);
        text += &self.spacing.map(|mm| format!("spacing     {mm} mm a pixel\n")).unwrap_or_default();
        for Finished { kind, file, bytes } in &self.weights {
            text += &format!("{:<12}{} ({bytes} bytes)\n", kind.name(), file.display());
        }
        if let Some(Stand { stage, step, steps, .. }) = &self.checkpoint {
            text += &format!("checkpoint  {stage}, step {step} of {steps}; can be resumed\n");
        }
        text
    }
}
