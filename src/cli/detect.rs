//! `onemark detect`: weights and images in, landmarks out.

use super::progress::{Meter, stopped, watch_interrupts};
use crate::data::gray::GrayImage;
use crate::data::images::{expand_inputs, read_gray, write_png_rgb};
use crate::data::labels::{LabelRow, Labels, scale_point};
use crate::detect::{Detection, Detector};
use crate::learn::pipeline::Progress;
use crate::model::Model;
use crate::report::overlay::{OverlayPoint, overlay};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Find landmarks in images.
///
/// Positions are in pixels of each image as stored, pixel centres at integers, with scores in [0, 1].
/// FILE is written after the first image and every few seconds.
#[derive(clap::Args)]
pub struct Args {
    /// Images: files, folders or patterns such as 'scans/*.png' (PNG, JPEG, TIFF, BMP).
    #[arg(required = true)]
    images: Vec<String>,
    /// Weights that `onemark train` wrote.
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Where the landmarks go, .csv or .json; replaced if it is there.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Folder for a picture of each image with its landmarks, at most 1200 pixels long.
    #[arg(long, value_name = "DIR")]
    overlay: Option<PathBuf>,
    /// Keep the images that FILE has already.
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    compute: super::Compute,
}

/// Longer side of a picture, at most.
const OVERLAY_SIDE: usize = 1200;
/// Images that are read side by side, before they are looked at one by one.
const READ_AHEAD: usize = 4;
const SAVE_EVERY: Duration = Duration::from_secs(3);

/// An image, and what belongs to it.
struct Job {
    path: PathBuf,
    name: String,
    overlay: Option<PathBuf>,
}

#[derive(Serialize)]
struct Summary {
    out: PathBuf,
    images: usize,
    detected: usize,
    skipped: usize,
    failed: Vec<Failure>,
    seconds: f64,
}

#[derive(Serialize)]
struct Failure {
    image: PathBuf,
    error: String,
}

pub fn run(args: Args) -> Result<u8> {
    watch_interrupts(args.compute.quiet);
    args.compute.install(|| detect(&args))
}

fn detect(args: &Args) -> Result<u8> {
    let start = Instant::now();
    check_out(&args.out)?;
    let model = Model::read(&args.weights)?;
    let jobs = jobs(args)?;
    let mut sheet = Sheet::new(args, model.header.landmarks.clone())?;
    if let Some(folder) = &args.overlay {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", e))?;
    }
    let todo: Vec<&Job> = jobs.iter().filter(|job| !sheet.rows.contains_key(&job.name)).collect();
    let looked = if todo.is_empty() { Ok(vec![]) } else { look(args, model, &todo, &jobs, &mut sheet) };
    let saved = sheet.save(&jobs); // whatever stopped it
    let failed = looked?;
    saved?;
    let summary = Summary {
        out: args.out.clone(),
        images: jobs.len(),
        detected: todo.len() - failed.len(),
        skipped: jobs.len() - todo.len(),
        failed,
        seconds: start.elapsed().as_secs_f64(),
    };
    if args.compute.json {
        super::print_json(&summary)?;
    } else {
        args.compute.note(format!("{}: {} of {} images", args.out.display(), sheet.rows.len(), jobs.len()));
    }
    Ok(if summary.failed.is_empty() { 0 } else { 3 })
}

/// Looks at images one by one; returns those that cannot be read.
fn look(args: &Args, model: Model, todo: &[&Job], jobs: &[Job], sheet: &mut Sheet) -> Result<Vec<Failure>> {
    let mut detector = Detector::new(model, &args.compute.select()?);
    let mut meter = Meter::new(args.compute.quiet);
    let (mut done, mut failed) = (0, Vec::new());
    for batch in todo.chunks(READ_AHEAD) {
        let images: Vec<Result<GrayImage>> = batch.par_iter().map(|job| read_gray(&job.path)).collect();
        for (job, image) in batch.iter().zip(images) {
            if stopped() {
                return Err(Error::Interrupted);
            }
            match image {
                Ok(image) => {
                    let row = row(&job.name, &image, &detector.detect(&image)?);
                    if let Some(path) = &job.overlay {
                        draw(path, &image, &sheet.names, &row)?;
                    }
                    sheet.add(row, jobs)?;
                }
                Err(error) => {
                    meter.close();
                    super::complain(&error);
                    failed.push(Failure { image: job.path.clone(), error: error.to_string() });
                }
            }
            done += 1;
            meter.show(Progress { stage: "detect", done, total: todo.len(), loss: None });
        }
    }
    Ok(failed)
}

/// What would only fail after the first image.
fn check_out(out: &Path) -> Result<()> {
    let known = out.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv") || e.eq_ignore_ascii_case("json"));
    if !known {
        return Err(Error::Usage(format!("--out {}: must end in .csv or .json", out.display())));
    }
    if out.is_dir() {
        return Err(Error::input(out, "a folder, but a file is to be written here"));
    }
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match folder.metadata() {
        Err(e) => Err(Error::io(out, "write", e)),
        Ok(meta) if !meta.is_dir() => Err(Error::io(out, "write", std::io::ErrorKind::NotADirectory.into())),
        Ok(_) => Ok(()),
    }
}

fn jobs(args: &Args) -> Result<Vec<Job>> {
    let paths = expand_inputs(&args.images)?;
    let names = super::file_names(&paths)?;
    let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut stems: BTreeMap<String, usize> = BTreeMap::new(); // in lower case: not every file system tells
    paths.iter().for_each(|path| *stems.entry(stem(path).to_lowercase()).or_default() += 1);
    let inputs: HashSet<PathBuf> = paths.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let mut taken = HashSet::new();
    let mut jobs = Vec::new();
    for (path, name) in paths.iter().zip(names) {
        let alone = stems[&stem(path).to_lowercase()] == 1;
        let mut picture = if alone { stem(path) } else { name.clone() };
        while !taken.insert(picture.to_lowercase()) {
            picture.push('_');
        }
        let overlay = args.overlay.as_ref().map(|folder| folder.join(format!("{picture}.png")));
        if let Some(overlay) = overlay.as_ref().filter(|o| o.canonicalize().is_ok_and(|o| inputs.contains(&o))) {
            return Err(Error::input(overlay, "is one of the images; choose another --overlay"));
        }
        jobs.push(Job { path: path.clone(), name, overlay });
    }
    Ok(jobs)
}

fn row(name: &str, image: &GrayImage, found: &[Detection]) -> LabelRow {
    // Finite weights may still overflow: such a landmark is missing, not somewhere.
    let point = |d: &Detection| d.point.iter().all(|v| v.is_finite()).then_some(d.point);
    let score = |d: &Detection| Some(if point(d).is_some() { d.score.clamp(0.0, 1.0) } else { 0.0 });
    LabelRow {
        image: name.into(),
        width: image.width as u32,
        height: image.height as u32,
        points: found.iter().map(point).collect(),
        scores: found.iter().map(score).collect(),
    }
}

fn draw(path: &Path, image: &GrayImage, names: &[String], row: &LabelRow) -> Result<()> {
    let scale = (OVERLAY_SIDE as f64 / image.width.max(image.height) as f64).min(1.0);
    let [w, h] = [image.width, image.height].map(|extent| ((extent as f64 * scale).round() as usize).max(1));
    let image = image.resize_area(w, h);
    let points = names.iter().zip(&row.points).zip(&row.scores).filter_map(|((name, point), &score)| {
        let xy = scale_point((*point)?, row.size(), (w as f64, h as f64));
        Some(OverlayPoint { name: name.clone(), xy, score, truth: None })
    });
    let picture = overlay(&image.pixels, w, h, &points.collect::<Vec<_>>());
    write_png_rgb(path, picture.width as u32, picture.height as u32, &picture.data)
}

/// The landmarks so far, on their way into the file.
struct Sheet {
    out: PathBuf,
    names: Vec<String>,
    rows: BTreeMap<String, LabelRow>,
    /// When the file was last written.
    saved: Option<Instant>,
}

impl Sheet {
    /// An empty one, or what the file holds already.
    fn new(args: &Args, names: Vec<String>) -> Result<Self> {
        let mut rows = BTreeMap::new();
        if args.resume && args.out.is_file() {
            let labels = Labels::read(&args.out)?;
            if labels.names != names {
                let cause = format!(
                    "holds the landmarks {}, but the weights find {}; write into another --out",
                    labels.names.join(", "),
                    names.join(", ")
                );
                return Err(Error::input(&args.out, cause));
            }
            rows = labels.rows.into_iter().map(|row| (row.image.clone(), row)).collect();
        }
        Ok(Self { out: args.out.clone(), names, rows, saved: None })
    }

    fn add(&mut self, row: LabelRow, jobs: &[Job]) -> Result<()> {
        self.rows.insert(row.image.clone(), row);
        let due = self.saved.is_none_or(|saved| saved.elapsed() >= SAVE_EVERY);
        if due { self.save(jobs) } else { Ok(()) }
    }

    /// Writes the rows in the order of the images, then those of other images that the file had.
    fn save(&mut self, jobs: &[Job]) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let asked: HashSet<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
        let first = jobs.iter().filter_map(|job| self.rows.get(&job.name));
        let others = self.rows.values().filter(|row| !asked.contains(row.image.as_str()));
        let labels = Labels { names: self.names.clone(), rows: first.chain(others).cloned().collect() };
        labels.write(&self.out)?;
        self.saved = Some(Instant::now());
        Ok(())
    }
}
