//! `onemark detect`: weights and images in, landmarks out.

use super::outputs::keep_inputs;
use super::progress::{stopped, watch_interrupts};
use super::sheet::Sheet;
use crate::data::files::{fingerprint, remove_leftovers};
use crate::data::gray::GrayImage;
use crate::data::images::{Image, check_file, read_gray, read_image, write_png_rgb};
use crate::data::inputs::expand_inputs;
use crate::data::labels::formats::{self, Format};
use crate::data::labels::{LabelRow, Labels, scale_point};
use crate::detect::{Detector, Landmark};
use crate::kernel::Element;
use crate::learn::pipeline::Progress;
use crate::model::Model;
use crate::report::overlay::{OverlayPoint, overlay};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Find landmarks in images.
///
/// Positions are in pixels of each image as a viewer shows it, turned upright, pixel centres at integers, with scores in [0, 1].
/// Where the image says how many millimetres a pixel has (DICOM), so do the columns pixel_width_mm and pixel_height_mm.
/// FILE is written after the first image and every few seconds; until all images are done, FILE.resume.json beside it says
/// what --resume may keep. In other formats than .csv and .json, FILE is written at the end, and until all images are done
/// the landmarks are in FILE.resume.csv.
#[derive(clap::Args)]
pub struct Args {
    /// Images: files, folders or patterns such as 'scans/*.png' (PNG, JPEG, TIFF, BMP, DICOM); `-` reads more of them from stdin, one
    /// a line.
    #[arg(required = true)]
    images: Vec<String>,
    /// Weights that `onemark train` wrote.
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Where the landmarks go. A .csv or .json of detections is replaced if it is there; no other file is, nor one with points that a
    /// person placed.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Format of FILE, where its ending does not tell; `onemark convert --help` describes them.
    #[arg(long, value_name = "FORMAT", value_parser = super::convert::writable(), hide_possible_values = true)]
    format: Option<&'static Format>,
    /// Folder for a picture of each image with its landmarks, none of the images' own; 1200 pixels long at most. Pictures of their
    /// names are replaced.
    #[arg(long, value_name = "DIR")]
    overlay: Option<PathBuf>,
    /// Leave out points whose score is below S, from 0 to 1, rather than guess: empty x and y beside their score in CSV, what says
    /// `missing` in other formats, no mark in pictures. `eval --allow-missing` counts them as missed.
    #[arg(long, value_name = "S", value_parser = score)]
    min_score: Option<f64>,
    /// How weights and what layers leave to each other are stored: f16 takes half the memory, on GPUs that have it. Sums are in
    /// f32 either way.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Element,
    /// Go on with a detection that was stopped: keep what FILE has by the same weights and --min-score of images that have not
    /// changed. One that is finished, or by others, is left alone: exit code 3.
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    compute: super::Compute,
}

fn score(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|score| (0.0..=1.0).contains(score)).ok_or_else(|| "a score is from 0 to 1".into())
}

/// The images that are named, with those that stdin lists in the place of `-`.
fn listed(images: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for image in images {
        if image == "-" {
            let text = std::io::read_to_string(std::io::stdin()).map_err(|e| Error::io("stdin", "read", e))?;
            all.extend(text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(String::from));
        } else {
            all.push(image.clone());
        }
    }
    Ok(all)
}

/// Longer side of a picture, at most.
const OVERLAY_SIDE: usize = 1200;
/// The mean score of an image below which something is wrong with all of it.
const DOUBTFUL: f64 = 0.4;
/// Images that are read side by side, before they are looked at one by one.
const READ_AHEAD: usize = 4;

/// An image, and what belongs to it.
pub struct Job {
    /// Where it is.
    pub path: PathBuf,
    /// Its file name, by which its row goes.
    pub name: String,
    /// Where its picture is wanted.
    pub overlay: Option<PathBuf>,
}

#[derive(Serialize)]
struct Summary {
    /// `--out`, if it was written: it is not where no image could be read.
    out: Option<PathBuf>,
    images: usize,
    detected: usize,
    skipped: usize,
    failed: Vec<Failure>,
    /// Points that were left out for their score.
    left_out: usize,
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
    let format = args.format.map_or_else(|| Format::of_ending(&args.out), Ok)?;
    check_out(&args.out, format)?;
    if args.min_score.is_some() && !format.takes_missing() {
        return Err(Error::Usage(format!(
            "--min-score may leave points out, and {} takes no missing ones",
            format.title
        )));
    }
    let model = Model::read(&args.weights)?;
    let jobs = jobs(args)?;
    let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    let files = formats::targets(&args.out, format, &model.header.landmarks, &names)?;
    // Rows are kept natively until all images are done: other formats lose what --resume needs.
    let direct = format.is_native() && Format::of_ending(&args.out).is_ok_and(|of| of.name == format.name);
    let rows = if direct { args.out.clone() } else { beside(&args.out) };
    let pictures = jobs.iter().filter_map(|job| job.overlay.as_ref());
    keep_inputs(files.iter().chain([&rows]).chain(pictures), jobs.iter().map(|job| &job.path).chain([&args.weights]))?;
    // Without rows to go on with, --resume would begin anew.
    let replaces = if args.resume { rows.is_file() } else { files == [args.out.clone()] };
    if !replaces || !direct && !args.resume {
        formats::refuse_existing(&files)?;
    } else if !args.resume && rows.is_file() {
        refuse_corrected(&rows)?;
    }
    let mut sheet = Sheet::new(&rows, &args.weights, args.min_score, &model.header.landmarks)?;
    if args.resume {
        let again = sheet.resume(&jobs)?;
        if again > 0 {
            let cause = "of a save that was cut short, or of images that have changed: found again";
            args.compute.note(format!("{}: rows {cause} ({again})", args.out.display()));
        }
    }
    sheet.tidy()?;
    if let Some(folder) = &args.overlay {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", e))?;
        let pictures: HashSet<String> = jobs.iter().filter_map(Job::picture).collect();
        remove_leftovers(folder, |name| pictures.contains(name))?;
    }
    let (done, todo): (Vec<&Job>, Vec<&Job>) = jobs.iter().partition(|job| sheet.has(job));
    let looked = redraw(&done, &mut sheet).and_then(|()| match todo.is_empty() {
        true => Ok(vec![]),
        false => look(args, model, &todo, &jobs, &mut sheet),
    });
    let saved = sheet.save(&jobs); // whatever stopped it
    let failed = looked?;
    saved?;
    let found = sheet.labels(&jobs);
    if !direct && !found.rows.is_empty() {
        let kept = |e: Error| Error::input(&args.out, format!("not written, but {} is: {e}", rows.display()));
        let notes = formats::write(&found, &args.out, format, None).map_err(kept)?;
        notes.iter().for_each(|note| args.compute.note(format!("{}: {note}", args.out.display())));
    }
    if failed.is_empty() {
        sheet.complete()?;
        if !direct {
            std::fs::remove_file(&rows).map_err(|e| Error::io(&rows, "remove", e))?;
        }
    }
    let points = || found.rows.iter().flat_map(|row| &row.points);
    let (all, left_out) = (points().count(), points().filter(|point| point.is_none()).count());
    let summary = Summary {
        out: (!found.rows.is_empty()).then(|| args.out.clone()),
        images: jobs.len(),
        detected: todo.len() - failed.len(),
        skipped: jobs.len() - todo.len(),
        failed,
        left_out,
        seconds: start.elapsed().as_secs_f64(),
    };
    let doubtful: Vec<&LabelRow> = found.rows.iter().filter(|row| mean_score(row) < DOUBTFUL).collect();
    if let Some(row) = doubtful.first() {
        args.compute.note(format!(
            "{} of {} images have a mean score below {DOUBTFUL}, such as {}: turned, mirrored, dark, or not what the weights know?",
            doubtful.len(),
            found.rows.len(),
            row.image
        ));
    }
    if args.compute.json {
        super::print_json(&summary)?;
    } else {
        let found = jobs.len() - summary.failed.len();
        let out = summary.out.map_or("nothing written".into(), |out| out.display().to_string());
        args.compute.note(format!("{out}: {found} of {} images", jobs.len()));
        if let Some(score) = args.min_score {
            args.compute.note(format!("{left_out} of {all} points left out: score below {score}"));
        }
    }
    Ok(if summary.failed.is_empty() { 0 } else { 3 })
}

fn mean_score(row: &LabelRow) -> f64 {
    let (n, sum) = row.scores.iter().flatten().fold((0, 0.0), |(n, sum), score| (n + 1, sum + score));
    sum / f64::from(n)
}

/// Draws the pictures that images with a row lack.
fn redraw(done: &[&Job], sheet: &mut Sheet) -> Result<()> {
    for job in done {
        if stopped() {
            return Err(Error::Interrupted);
        }
        if let Some(path) = job.overlay.as_ref().filter(|path| !sheet.drawn(job, path)) {
            draw(path, &read_gray(&job.path)?, sheet.names(), sheet.row(job))?;
            sheet.mark_drawn(job);
        }
    }
    Ok(())
}

/// Looks at images one by one; returns those that cannot be read.
fn look(args: &Args, model: Model, todo: &[&Job], jobs: &[Job], sheet: &mut Sheet) -> Result<Vec<Failure>> {
    let mut detector = Detector::new(model, &args.compute.select_storing(args.precision)?);
    let mut meter = args.compute.meter();
    let (mut done, mut failed) = (0, Vec::new());
    for batch in todo.chunks(READ_AHEAD) {
        let images: Vec<Result<(String, Image)>> = batch.par_iter().map(|job| read(&job.path)).collect();
        for (job, image) in batch.iter().zip(images) {
            if stopped() {
                return Err(Error::Interrupted);
            }
            match image {
                Ok((file, image)) => {
                    let row = row(&job.name, &image, &detector.detect(&image.gray)?, args.min_score.unwrap_or(0.0));
                    if let Some(path) = &job.overlay {
                        draw(path, &image.gray, sheet.names(), &row)?;
                    }
                    sheet.add(job, file, row, jobs)?;
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

/// An image and its file's fingerprint, which is taken first: should the file change meanwhile, --resume looks at it again.
fn read(path: &Path) -> Result<(String, Image)> {
    check_file(path)?;
    Ok((fingerprint(path)?, read_image(path)?))
}

/// Where the rows are until all images are done, where that is not FILE itself.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.components().as_path().to_path_buf().into_os_string(); // without a slash at the end
    name.push(".resume.csv");
    name.into()
}

/// Detections may be replaced, not what a person placed.
fn refuse_corrected(file: &Path) -> Result<()> {
    let remedy = "would be lost; move the file, or write into another --out";
    let labels = Labels::read(file).map_err(|e| {
        Error::input(file, format!("is there already, holds other things than landmarks ({e}), and {remedy}"))
    })?;
    let placed = |row: &&LabelRow| {
        row.points
            .iter()
            .enumerate()
            .any(|(k, point)| point.is_some() && row.scores.get(k).copied().flatten().is_none())
    };
    match labels.rows.iter().find(placed) {
        Some(row) => {
            let cause = format!("holds points without a score, which a person placed, and {remedy}");
            Err(Error::input_at(file, format!("image {:?}", row.image), cause))
        }
        None => Ok(()),
    }
}

/// What would only fail after the first image.
fn check_out(out: &Path, format: &Format) -> Result<()> {
    if out.is_dir() && !format.per_image {
        return Err(Error::input(out, "a folder, but a file is to be written here"));
    }
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match folder.metadata() {
        Err(e) => Err(Error::io(out, "write", e)),
        Ok(meta) if !meta.is_dir() => Err(Error::io(out, "write", std::io::ErrorKind::NotADirectory.into())),
        Ok(_) => Ok(()),
    }
}

/// Pictures beside images would be taken for images when the same folder or pattern is read again.
fn check_overlay(folder: &Path, images: &[PathBuf]) -> Result<()> {
    let Ok(folder_path) = folder.canonicalize() else { return Ok(()) }; // not there yet
    let inside = |image: &&PathBuf| image.canonicalize().is_ok_and(|image| image.parent() == Some(&folder_path));
    match images.iter().find(inside) {
        Some(image) => {
            let cause = format!(
                "--overlay would put pictures beside {}, one of the images; choose another folder",
                image.display()
            );
            Err(Error::input(folder, cause))
        }
        None => Ok(()),
    }
}

impl Job {
    /// The file name of its picture.
    fn picture(&self) -> Option<String> {
        Some(self.overlay.as_ref()?.file_name()?.to_string_lossy().into_owned())
    }
}

fn jobs(args: &Args) -> Result<Vec<Job>> {
    let paths = expand_inputs(&listed(&args.images)?)?;
    if let Some(folder) = &args.overlay {
        check_overlay(folder, &paths)?;
    }
    let names = super::file_names(&paths)?;
    let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut stems: BTreeMap<String, usize> = BTreeMap::new(); // in lower case: not every file system tells
    paths.iter().for_each(|path| *stems.entry(stem(path).to_lowercase()).or_default() += 1);
    let mut taken = HashSet::new();
    let mut jobs = Vec::new();
    for (path, name) in paths.iter().zip(names) {
        let alone = stems[&stem(path).to_lowercase()] == 1;
        let mut picture = if alone { stem(path) } else { name.clone() };
        while !taken.insert(picture.to_lowercase()) {
            picture.push('_');
        }
        let overlay = args.overlay.as_ref().map(|folder| folder.join(format!("{picture}.png")));
        jobs.push(Job { path: path.clone(), name, overlay });
    }
    Ok(jobs)
}

/// What was found, without the points whose score is below `least`.
fn row(name: &str, image: &Image, found: &[Landmark], least: f64) -> LabelRow {
    LabelRow {
        image: name.into(),
        width: image.gray.width as u32,
        height: image.gray.height as u32,
        spacing: image.spacing,
        points: found.iter().map(|landmark| (landmark.score >= least).then_some(landmark.point)).collect(),
        scores: found.iter().map(|landmark| Some(landmark.score)).collect(),
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
