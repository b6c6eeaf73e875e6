//! `onemark train`: images and one annotation in, a run's folder with weights out.

use super::contest::Named;
use super::progress::watch_interrupts;
use super::run_info::RunInfo;
use super::{config, pages};
use crate::data::gray::GrayImage;
use crate::data::images::Image;
use crate::data::inputs::expand_inputs;
use crate::data::labels::formats::{Images, refuse_existing};
use crate::data::labels::{LabelRow, Labels, PixelSpacing, Point, is_square, same_shape, scale_point, scale_spacing};
use crate::detect::Detector;
use crate::device::Device;
use crate::learn::checkpoint::{CONFIG, RunDir, StageTime};
use crate::learn::config::Config;
use crate::learn::pipeline::{Pipeline, Task, weights_file};
use crate::model::{Kind, Model};
use crate::nearest::nearest;
use crate::report::{Provenance, Report};
use crate::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Learn a detector from images of which one is annotated.
#[derive(clap::Args)]
pub struct Args {
    /// Images: files, folders or patterns such as 'scans/*.png' (PNG, JPEG, TIFF, BMP, DICOM).
    #[arg(required = true)]
    images: Vec<String>,
    /// The annotated image: a path, or the file name of one of IMAGES.
    #[arg(long, value_name = "IMAGE")]
    template: PathBuf,
    /// Landmark file of any format that `onemark convert` knows, with the template in it; other images in it are not used.
    #[arg(long, value_name = "FILE")]
    landmarks: PathBuf,
    /// Folder of the run: weights, settings, logs, checkpoint.
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    #[command(flatten)]
    settings: config::Settings,
    /// What to train. `joint` is a baseline that only comparisons need; it can be left out, or added later with --resume.
    /// [default: match,joint,single,fuse; with --resume, what the run was asked for]
    #[arg(long, value_name = "STAGE,..", value_delimiter = ',')]
    stages: Option<Vec<Stage>>,
    /// Train single models of these landmarks alone, counted from 0, and leave them as a part that `onemark merge` puts beside
    /// others; with --resume on a run that has its `match` stage.
    #[arg(long, value_name = "FIRST..END", value_parser = part, requires = "resume", conflicts_with = "stages")]
    part: Option<Part>,
    /// Go on with the run in --out where it stopped, with its settings.
    #[arg(long)]
    resume: bool,
    /// Take over finished stages of another run on the same images, where the settings that they depend on are the same, rather
    /// than train them again; of a run with another template or annotation, the matcher. May be given again.
    #[arg(long, value_name = "RUN", conflicts_with = "part")]
    from: Vec<PathBuf>,
    /// Millimetres a pixel of the images; kept in the weights [default: what the template or its row says].
    #[arg(long, value_name = "MM")]
    spacing: Option<f64>,
    #[command(flatten)]
    compute: super::Compute,
}

/// Landmarks `start..end`.
#[derive(Clone)]
struct Part(Range<usize>);

fn part(text: &str) -> Result<Part, String> {
    let bound = |text: &str| text.trim().parse::<usize>().map_err(|_| format!("`{text}` is not a number"));
    let (start, end) = text.split_once("..").ok_or("expected FIRST..END, such as 0..5")?;
    Ok(Part(bound(start)?..bound(end)?))
}

/// A stage as it is named on the command line.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Stage {
    Match,
    Joint,
    Single,
    #[value(alias = "fused")]
    Fuse,
}

impl Stage {
    fn kind(self) -> Kind {
        match self {
            Self::Match => Kind::Match,
            Self::Joint => Kind::Joint,
            Self::Single => Kind::Single,
            Self::Fuse => Kind::Fused,
        }
    }
}

pub fn run(args: Args) -> Result<u8> {
    watch_interrupts(args.compute.quiet);
    args.compute.install(|| train(&args))
}

fn train(args: &Args) -> Result<u8> {
    let start = Instant::now();
    let config = settings(args)?;
    let kinds = stages(args)?;
    match args.part {
        Some(_) if !args.out.join(weights_file(Kind::Match)).is_file() => {
            return Err(Error::input(
                &args.out,
                "has no matcher yet, which every part needs: train `--stages match` first",
            ));
        }
        Some(_) => {}
        None => check_order(&kinds, &args.out)?,
    }
    if args.spacing.is_some_and(|mm| !(mm.is_finite() && mm > 0.0)) {
        return Err(Error::Usage("--spacing must be above 0".into()));
    }
    let (paths, template) = inputs(&args.images, &args.template)?;
    let names = super::file_names(&paths)?;
    let known = Images::of_files(&paths).with_sole(&names[template]);
    let labels = args.compute.read_labels(&args.landmarks, &known, args.spacing)?;
    labels.template(&args.landmarks, &names[template])?;
    let run = RunDir::create(&args.out)?;
    let images = super::read_images(&paths)?;
    let spacing = spacing(args, &labels, &images, template, &names);
    let images: Vec<GrayImage> = images.into_iter().map(|image| image.gray).collect();
    let annotation = annotation(args, &labels, &names[template], &images[template])?;
    let task =
        Task { landmarks: labels.names, template, template_name: names[template].clone(), annotation, spacing, images };
    let info = RunInfo::new(&task, &names, &kinds);
    info.check(&run)?;
    let others = args.from.iter().map(|folder| related(folder, &info, &args.out)).collect::<Result<Vec<_>>>()?;
    if !run.has(RunInfo::FILE) {
        refuse_existing(&[run.file("report.html")])?;
    }
    let device = args.compute.select()?;
    info.write(&run, &config)?;
    let mut meter = args.compute.meter();
    let mut pipeline = Pipeline::new(&task, config, &device, &run, &mut meter);
    inherit(args, &mut pipeline, &info, &others, &kinds)?;
    let trained = match &args.part {
        Some(Part(landmarks)) => pipeline.train_part(landmarks.clone()),
        None => pipeline.train(&kinds),
    };
    if trained.is_err() {
        meter.close();
    }
    trained?;
    meter.close();
    if args.part.is_some() {
        return report(args, &run, start);
    }
    page(&run, &device, &task, &names, &RunInfo::read(&args.out)?)?;
    report(args, &run, start)
}

/// What is to be trained: what the command line says, else what the run that is resumed was asked for, else all.
fn stages(args: &Args) -> Result<Vec<Kind>> {
    if args.part.is_some() {
        return Ok(vec![Kind::Single]);
    }
    let known = args.resume && args.out.join(RunInfo::FILE).is_file();
    let asked = match &args.stages {
        Some(stages) => stages.iter().map(|stage| stage.kind()).collect(),
        None if known => RunInfo::read(&args.out)?.stages,
        None => vec![],
    };
    Ok(if asked.is_empty() { Kind::ALL.into() } else { asked })
}

/// The settings: those of the run that is resumed, which the command line must not contradict, or new ones.
fn settings(args: &Args) -> Result<Config> {
    let path = args.out.join(CONFIG);
    let weights = Kind::ALL.iter().any(|&kind| args.out.join(weights_file(kind)).exists());
    let [held, known] = [CONFIG, RunInfo::FILE].map(|name| args.out.join(name).exists());
    if held && !known && !weights && !args.resume {
        let cause = "is there already, and would be replaced by the run's; move it, or train into another --out (--resume goes on with a run)";
        return Err(Error::input(path, cause));
    }
    if (held || known || weights) && !args.resume {
        return Err(Error::input(&args.out, "holds a run; go on with --resume, or train into another --out"));
    }
    if args.resume && !(held || known || weights) {
        return Err(Error::input(&args.out, "holds no run to go on with; leave --resume out to begin one here"));
    }
    if weights && !known {
        let cause = format!("holds weights but no {} that says of what; train into another --out", RunInfo::FILE);
        return Err(Error::input(&args.out, cause));
    }
    if weights && !held {
        let cause = "is missing, and with it what the weights beside it were trained with; put it back, or train into another --out";
        return Err(Error::input(path, cause));
    }
    if !path.exists() {
        return args.settings.apply(Config::default());
    }
    let before = config::read(&path)?;
    let base = if args.settings.config.is_some() { Config::default() } else { before.clone() };
    let config = args.settings.apply(base)?;
    match config::difference(&before, &config) {
        Some((key, old, new)) => {
            Err(Error::input_at(path, key, format!("{old} in this run, not {new}; train into another --out")))
        }
        None => Ok(config),
    }
}

/// Another run, on the same images as that of `info` in the folder `out`.
fn related(folder: &Path, info: &RunInfo, out: &Path) -> Result<RunInfo> {
    let other = RunInfo::read(folder)?;
    match other.difference_of_images(info) {
        Some(what) => Err(Error::input(folder, format!("is of another {what} than {}", out.display()))),
        None => Ok(other),
    }
}

/// Takes over what the other runs of `args.from` have; says so.
fn inherit(args: &Args, pipeline: &mut Pipeline, info: &RunInfo, others: &[RunInfo], kinds: &[Kind]) -> Result<()> {
    for (folder, other) in args.from.iter().zip(others) {
        let known = |kind: &Kind| *kind == Kind::Match || other.difference(info).is_none();
        let kinds: Vec<Kind> = kinds.iter().copied().filter(known).collect();
        let taken: Vec<&str> = pipeline.inherit(&RunDir::open(folder), &kinds)?.into_iter().map(Kind::name).collect();
        if !taken.is_empty() {
            args.compute.note(format!("{}: taken over from {}", taken.join(", "), folder.display()));
        }
    }
    Ok(())
}

/// Every stage needs those that it starts from, trained now or before.
fn check_order(kinds: &[Kind], out: &Path) -> Result<()> {
    for (stage, needs) in [(Kind::Joint, Kind::Match), (Kind::Single, Kind::Match), (Kind::Fused, Kind::Single)] {
        if kinds.contains(&stage) && !kinds.contains(&needs) && !out.join(weights_file(needs)).is_file() {
            let (stage, needs) = (stage.name(), needs.name());
            return Err(Error::Usage(format!("stage `{stage}` needs stage `{needs}`: add it to --stages")));
        }
    }
    Ok(())
}

/// The images in the order of their file names, whatever the order of the arguments, and which one is the template.
fn inputs(images: &[String], template: &Path) -> Result<(Vec<PathBuf>, usize)> {
    let mut paths = expand_inputs(images)?;
    let same = |path: &PathBuf| path.canonicalize().ok().zip(template.canonicalize().ok()).is_some_and(|(a, b)| a == b);
    let found = paths.iter().find(|path| same(path)).or_else(|| {
        let name = template.file_name()?;
        paths.iter().find(|path| path.file_name() == Some(name))
    });
    let template = match found.cloned() {
        Some(path) => {
            let differs = || Some(std::fs::read(template).ok()? != std::fs::read(&path).ok()?);
            if differs().unwrap_or(false) {
                let cause = format!("has the file name of {} but another content; rename one", path.display());
                return Err(Error::input(template, cause));
            }
            path
        }
        None => {
            if !template.exists() {
                let names = paths.iter().filter_map(|path| path.file_name()?.to_str());
                let near = template.file_name().and_then(|name| nearest(name.to_str()?, names));
                let hint = near.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
                return Err(Error::input(template, format!("no such file, and no image of this name{hint}")));
            }
            paths.push(template.into());
            template.into()
        }
    };
    paths.sort_by(|a, b| (a.file_name(), a).cmp(&(b.file_name(), b)));
    if paths.len() < 2 {
        return Err(Error::input(&template, "the only image; training needs others beside the template"));
    }
    let index = paths.iter().position(|path| *path == template).unwrap_or(0);
    Ok((paths, index))
}

/// Millimetres a pixel: what the command line says, else the template, else its row; and a note of what contradicts it.
fn spacing(args: &Args, labels: &Labels, images: &[Image], template: usize, names: &[String]) -> Option<f64> {
    let (name, Image { gray, spacing }) = (&names[template], &images[template]);
    let of_row =
        |row: &LabelRow| Some(scale_spacing(row.spacing?, row.size(), (gray.width as f64, gray.height as f64)));
    let spacing = match (args.spacing, spacing.or_else(|| labels.row(name).and_then(of_row))) {
        (Some(mm), _) => mm,
        (None, Some([x, y])) if is_square([x, y], x) => x,
        (None, Some([x, y])) => {
            args.compute.note(format!("{name} has pixels of {x} x {y} mm, no squares: lengths are in pixels"));
            return None;
        }
        (None, None) => return None,
    };
    let stated = images.iter().zip(names).filter_map(|(image, name)| Some((name, image.spacing?)));
    let others: Vec<(&String, PixelSpacing)> = stated.filter(|&(_, found)| !is_square(found, spacing)).collect();
    if let Some((first, [x, y])) = others.iter().find(|(other, _)| *other == name).or(others.first()) {
        args.compute.note(format!(
            "{spacing} mm a pixel is taken, though {} of {} images say otherwise, such as {first}: {x} x {y} mm",
            others.len(),
            images.len()
        ));
    }
    Some(spacing)
}

/// The template's landmarks in its pixels. A file that was annotated at another size is scaled, if it has the same shape.
fn annotation(args: &Args, labels: &Labels, name: &str, image: &GrayImage) -> Result<Vec<Point>> {
    let row = labels.template(&args.landmarks, name)?;
    let (from, to) = (row.size(), (image.width as f64, image.height as f64));
    if !same_shape(from, to) {
        let cause = format!(
            "its row says {}x{}, but the image has {}x{}; the row must be about this image",
            row.width, row.height, image.width, image.height
        );
        return Err(Error::input_at(&args.landmarks, format!("image {name:?}"), cause));
    }
    if from != to {
        let text = format!("{}: scaled from {}x{} to {}x{}", args.landmarks.display(), from.0, from.1, to.0, to.1);
        args.compute.note(text);
    }
    Ok(row.points.iter().flatten().map(|&p| scale_point(p, from, to)).collect())
}

#[derive(Serialize)]
struct Trained {
    run: PathBuf,
    /// By method, those of earlier calls included.
    weights: BTreeMap<Kind, PathBuf>,
    /// By stage, earlier calls and runs that it was taken over from included.
    stages: BTreeMap<String, StageTime>,
    seconds: f64,
}

/// Pictures in the report of a run.
const PICTURES: usize = 4;

/// Writes `report.html`: what can be seen without truth.
fn page(run: &RunDir, device: &Device, task: &Task, names: &[String], info: &RunInfo) -> Result<()> {
    let mut page = Report {
        title: format!("onemark train: {} images, template {}", names.len(), task.template_name),
        conclusion: "Losses and pseudo-labels. Errors need truth: onemark compare finds them.".into(),
        unit: if task.spacing.is_some() { "mm" } else { "px" }.into(),
        landmarks: task.landmarks.clone(),
        provenance: Provenance {
            command: info.command_line(),
            config: toml::to_string(&config::read(&run.file(CONFIG))?).unwrap_or_default(),
            device: device.name(),
            seconds: run.times()?.values().map(|time| time.seconds).sum(),
            versions: vec![("onemark".into(), env!("CARGO_PKG_VERSION").into())],
        },
        ..Report::default()
    };
    let native = task.images.iter().map(|image| image.width.max(image.height)).max().unwrap_or(1);
    pages::add_training(&mut page, run, native, Some(task.spacing.unwrap_or(1.0)))?;
    let best = Kind::ALL.into_iter().rev().find(|&kind| run.has(&weights_file(kind)));
    if let Some(kind) = best {
        let mut detector = Detector::new(Model::read(&run.file(&weights_file(kind)))?, device);
        for index in (0..names.len()).step_by(names.len().div_ceil(PICTURES)) {
            let found = detector.detect(&task.images[index])?;
            let named = Named { name: names[index].clone(), image: task.images[index].clone() };
            page.gallery.push(pages::picture(&named, &task.landmarks, &named.row(&found), None));
        }
    }
    pages::write(run, &page)
}

fn report(args: &Args, run: &RunDir, start: Instant) -> Result<u8> {
    let files = Kind::ALL.map(|kind| (kind, run.file(&weights_file(kind))));
    let weights: BTreeMap<_, _> = files.into_iter().filter(|(_, path)| path.is_file()).collect();
    if args.compute.json {
        let (stages, seconds) = (run.times()?, start.elapsed().as_secs_f64());
        super::print_json(&Trained { run: args.out.clone(), weights, stages, seconds })?;
    } else {
        let line = |(kind, path): (&Kind, &PathBuf)| format!("{:<8}{}\n", kind.name(), path.display());
        super::print(weights.iter().map(line).collect::<String>())?;
    }
    Ok(0)
}
