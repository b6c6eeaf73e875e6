//! `onemark compare`: the methods of a run side by side on images with known truth, and the seesaw of training
//! what landmarks share.

use super::config;
use super::contest::{LabelErrors, Named, Summary, contest, seesaws};
use super::demo::{conclusion, table};
use super::eval::Length;
use super::outputs::keep_inputs;
use super::pages;
use super::progress::watch_interrupts;
use super::pseudo_labels;
use super::run_info::{RunImage, RunInfo};
use crate::data::files::write_atomic;
use crate::data::images::Image;
use crate::data::inputs::expand_inputs;
use crate::data::labels::formats::{Images, refuse_existing};
use crate::data::labels::{LabelRow, Labels, same_shape, scale_spacing};
use crate::eval::{Options, Spacing};
use crate::learn::checkpoint::{CONFIG, RunDir};
use crate::learn::pipeline::Observer;
use crate::model::Kind;
use crate::report::{Provenance, Report};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Images whose errors are followed through joint training, at most.
const SEESAW_IMAGES: usize = 40;

/// Compare the methods of a run on images with annotations.
///
/// Errors, sizes and times of copying the template, match, joint, single and fused, as far as the run has them, and the
/// seesaw of joint training and of the fusion. Writes report.html, summary.json and one landmark file a method. The template itself is left
/// out; other training images that the annotations name also tell how far their pseudo-labels are off.
#[derive(clap::Args)]
#[command(override_usage = "onemark compare [OPTIONS] <RUN> --images <IMAGES>... --truth <FILE>")]
pub struct Args {
    /// Folder of a run of `train` or `demo`.
    run: PathBuf,
    /// Images: files, folders or patterns; those that the truth does not name are left out.
    #[arg(long, value_name = "IMAGES", required = true, num_args = 1..)]
    images: Vec<String>,
    /// Their annotations: a landmark file of any format that `onemark convert` knows.
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    #[command(flatten)]
    length: Length,
    /// Folder of the results [default: RUN/compare].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    compute: super::Compute,
}

/// Runs the subcommand.
pub fn run(args: Args) -> Result<u8> {
    watch_interrupts(args.compute.quiet);
    let Args { run, images, truth, length, out, compute } = args;
    let out = out.unwrap_or_else(|| run.join("compare"));
    compute.install(|| {
        let mut meter = compute.meter();
        let result = compare(&run, &images, &truth, length, &out, &compute, &mut meter);
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

fn compare(
    run: &Path,
    inputs: &[String],
    truth_path: &Path,
    length: Length,
    out: &Path,
    compute: &super::Compute,
    observer: &mut dyn Observer,
) -> Result<(Summary, String)> {
    let (run, info) = (RunDir::open(run), RunInfo::read(run)?);
    let config = config::read(&run.file(CONFIG))?;
    let paths = expand_inputs(inputs)?;
    if [CONFIG, RunInfo::FILE].iter().any(|name| out.join(name).exists()) {
        return Err(Error::input(out, "holds a run, whose report would be replaced; choose another --out"));
    }
    let tables = Kind::ALL.map(|kind| format!("{}.csv", kind.name()));
    let files = ["report.html", "summary.json", "copy.csv"].into_iter().chain(tables.iter().map(String::as_str));
    let files: Vec<PathBuf> = files.map(|name| out.join(name)).collect();
    keep_inputs(&files, paths.iter().map(PathBuf::as_path).chain([truth_path]))?;
    if !out.join("summary.json").exists() {
        refuse_existing(&files)?; // they are of no comparison
    }
    let device = &compute.select()?;
    let start = Instant::now();
    let to = RunDir::create(out)?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // The ends of a ruler need not be trained landmarks.
    let ruler: Vec<String> = length.ruler().into_iter().filter(|name| !info.landmarks.contains(name)).collect();
    let mut known = compute.read_labels(truth_path, &Images::of_files(&paths), length.spacing)?;
    known = known.select(&[&info.landmarks[..], &ruler].concat());
    let lacks: Vec<&str> =
        info.landmarks.iter().filter(|name| !known.names.contains(name)).map(String::as_str).collect();
    if !lacks.is_empty() {
        compute.note(format!("{}: has no {}: errors are those of the others", truth_path.display(), lacks.join(", ")));
    }
    // The template itself is no test: its truth was the training's one annotation.
    known.rows.retain(|row| row.image != info.template);
    let paths = paths.into_iter().filter(|path| known.row(&name(path)).is_some());
    let paths: Vec<PathBuf> = paths.collect();
    let mut images = Vec::new();
    for (name, Image { gray, spacing }) in super::file_names(&paths)?.into_iter().zip(super::read_images(&paths)?) {
        let size = (gray.width as f64, gray.height as f64);
        if let Some(row) = known.rows.iter_mut().find(|row| row.image == name) {
            row.spacing = row.spacing.or(spacing.map(|spacing| scale_spacing(spacing, size, row.size())));
        }
        images.push(Named { name, image: gray });
    }
    let rows = known.rows.iter().filter(|row| images.iter().any(|named| named.name == row.image)).cloned().collect();
    let truth = Labels { names: known.names.clone(), rows };
    if images.is_empty() {
        return Err(Error::input(truth_path, "has no row for any of the images (the template does not count)"));
    }

    let spacing = length.spacing(&Labels::default(), &truth, |text| compute.note(text));
    let options = Options { spacing, skip: ruler, truth_path: truth_path.into(), ..Options::default() };
    let template = info.images.iter().find(|image| image.name == info.template);
    let template = template.ok_or_else(|| Error::input(run.file(RunInfo::FILE), "does not list its own template"))?;
    let size = (template.width as f64, template.height as f64);
    let contenders = contest(&run, device, &images, &truth, (&info.annotation, size), &options, observer)?;
    let followed = &images[..images.len().min(SEESAW_IMAGES)];
    let seesaws = seesaws(&run, device, followed, &truth, &options, &contenders, &info.landmarks, observer)?;
    let seconds = start.elapsed().as_secs_f64();
    let mut summary = Summary::new(&contenders, info.landmarks.len(), device, seconds, &seesaws);

    let seen = match images.iter().filter(|named| info.trained_on(&named.name, &named.image)).count() {
        0 => String::new(),
        n => format!(", {n} of which were trained on"),
    };
    if !seen.is_empty() {
        compute.note(format!("{} images{seen}, without their annotations", images.len()));
    }
    let mut report = Report {
        title: format!("onemark compare: {} images{seen}, template {}", images.len(), info.template),
        conclusion: conclusion(&contenders),
        unit: options.spacing.unit().into(),
        landmarks: info.landmarks.clone(),
        methods: contenders.iter().map(|c| c.method(&info.landmarks)).collect(),
        seesaws,
        provenance: Provenance {
            command: super::command_line(),
            config: toml::to_string(&config).expect("settings are TOML"),
            device: device.name(),
            seconds,
            versions: vec![("onemark".into(), env!("CARGO_PKG_VERSION").into())],
        },
        ..Report::default()
    };
    let unit = match options.spacing {
        Spacing::Pixels => Some(1.0),
        Spacing::MmPerPixel(mm) => Some(mm),
        Spacing::Stated => info.spacing,
        // Millimetres that differ by image have no one length for a training curve.
        Spacing::Between { .. } => None,
    };
    let native = info.images.iter().map(|image| image.width.max(image.height)).max().unwrap_or(1);
    pages::add_training(&mut report, &run, native, unit)?;
    let shape = |image: &RunImage| (image.width as f64, image.height as f64);
    let trained = |row: &LabelRow| info.images.iter().find(|image| image.name == row.image).map(shape);
    known.rows.retain(|row| {
        let fits = trained(row).is_none_or(|size| same_shape(row.size(), size));
        if !fits {
            compute.note(format!(
                "{}: {:?} was trained on in another shape; the errors of pseudo-labels are without it",
                truth_path.display(),
                row.image
            ));
        }
        fits
    });
    pseudo_labels::add_errors(&mut report, &run, &info, &known, &options)?;
    summary.pseudo_labels = LabelErrors::of(&report);
    if let Some(best) = contenders.last() {
        pages::add_gallery(&mut report, best, &images, &truth, 6);
    }
    // What cannot be put together has left nothing that the next try would have to spare.
    for contender in &contenders {
        contender.detections.write(to.file(&format!("{}.csv", contender.name)))?;
    }
    pages::write(&to, &report)?;
    let json = serde_json::to_vec_pretty(&summary).expect("a summary is JSON");
    write_atomic(to.file("summary.json"), &json)?;
    Ok((summary, table(&contenders)))
}
