//! `onemark compare`: the methods of a run side by side on images with known truth, and the seesaw of joint training.

use super::contest::{Contender, Named, Summary, contest, seesaw};
use super::demo::{conclusion, table};
use super::pages;
use crate::data::images::{expand_inputs, read_gray};
use crate::data::labels::{Labels, write_atomic};
use crate::device::Device;
use crate::eval::{Options, Spacing};
use crate::learn::checkpoint::RunDir;
use crate::learn::pipeline::{Observer, TEMPLATE, TemplateRecord};
use crate::report::{Provenance, Report};
use crate::{Error, Result};
use rayon::prelude::*;
use std::path::Path;
use std::time::Instant;

/// Images whose errors are followed through joint training, at most.
const SEESAW_IMAGES: usize = 40;

/// Compares; writes `report.html`, `summary.json` and one CSV a method into `out`. Returns the summary and the table.
#[expect(clippy::too_many_arguments, reason = "the arguments of one command, each of another kind")]
pub fn compare(
    run: &Path,
    inputs: &[String],
    truth_path: &Path,
    spacing: Spacing,
    out: &Path,
    device: &Device,
    command: &str,
    observer: &mut dyn Observer,
) -> Result<(Summary, String)> {
    let start = Instant::now();
    if !run.join(TEMPLATE).is_file() {
        return Err(Error::input(run, "holds no run of `onemark train`"));
    }
    let run = RunDir::create(run)?;
    let record: TemplateRecord = run.read_json(TEMPLATE)?;
    let truth = Labels::read(truth_path)?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // The template itself is no test: its truth was the training's one annotation.
    let rows: Vec<_> = truth.rows.iter().filter(|row| row.image != record.image).cloned().collect();
    let truth = Labels { names: truth.names, rows };
    let paths = expand_inputs(inputs)?.into_iter().filter(|path| truth.row(&name(path)).is_some());
    let images: Vec<Named> = paths
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|path| Ok(Named { name: name(&path), image: read_gray(&path)? }))
        .collect::<Result<_>>()?;
    let rows = truth.rows.iter().filter(|row| images.iter().any(|named| named.name == row.image)).cloned().collect();
    let truth = Labels { names: truth.names, rows };
    if images.is_empty() {
        return Err(Error::input(truth_path, "has no row for any of the images (the template does not count)"));
    }

    let options = Options { spacing, truth_path: truth_path.into(), ..Options::default() };
    let size = (record.size[0] as f64, record.size[1] as f64);
    let contenders = contest(&run, device, &images, &truth, (&record.points, size), &options, observer)?;
    let followed = &images[..images.len().min(SEESAW_IMAGES)];
    let seesaw = seesaw(&run, device, followed, &truth, &options, &contenders, observer)?;
    let seconds = start.elapsed().as_secs_f64();
    let summary = Summary::new(&contenders, record.landmarks.len(), device, seconds);

    let to = RunDir::create(out)?;
    for contender in &contenders {
        contender.detections.write(to.file(&format!("{}.csv", contender.name)))?;
    }
    let mut report = Report {
        title: format!("onemark compare: {} images, template {}", images.len(), record.image),
        conclusion: conclusion(&contenders),
        unit: options.spacing.unit().into(),
        landmarks: record.landmarks.clone(),
        methods: contenders.iter().map(Contender::method).collect(),
        seesaw,
        provenance: Provenance {
            command: command.into(),
            config: toml::to_string(&run.config()?).expect("settings are TOML"),
            device: device.name(),
            seconds,
            versions: vec![("onemark".into(), env!("CARGO_PKG_VERSION").into())],
        },
        ..Report::default()
    };
    let unit = match options.spacing {
        Spacing::MmPerPixel(mm) => mm,
        // Millimetres that differ by image have no one length for a training curve.
        Spacing::Pixels | Spacing::Between { .. } => 1.0,
    };
    pages::add_training(&mut report, &run, unit)?;
    if let Some(best) = contenders.last() {
        pages::add_gallery(&mut report, best, &images, &truth, 6);
    }
    pages::write(&to, &report)?;
    let json = serde_json::to_vec_pretty(&summary).expect("a summary is JSON");
    write_atomic(to.file("summary.json"), &json)?;
    Ok((summary, table(&contenders)))
}
