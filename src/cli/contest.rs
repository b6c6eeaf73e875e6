//! The methods of a run side by side, on images whose truth is known.

use super::config;
use crate::data::gray::GrayImage;
use crate::data::labels::{LabelRow, Labels, scale_point};
use crate::detect::{Detector, Landmark};
use crate::device::Device;
use crate::eval::{Evaluation, Options, Reliability, evaluate};
use crate::learn::augment::Point;
use crate::learn::checkpoint::{CONFIG, RunDir};
use crate::learn::pipeline::{Observer, Progress, snapshot_file, weights_file};
use crate::model::{Kind, Model};
use crate::report::{Method, Phase, Report, Seesaw};
use crate::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// An image with its file name.
pub struct Named {
    /// File name.
    pub name: String,
    /// The image.
    pub image: GrayImage,
}

impl Named {
    /// Landmarks found in the image as a row of labels.
    pub fn row(&self, found: &[Landmark]) -> LabelRow {
        LabelRow {
            image: self.name.clone(),
            width: self.image.width as u32,
            height: self.image.height as u32,
            points: found.iter().map(|landmark| Some(landmark.point)).collect(),
            scores: found.iter().map(|landmark| Some(landmark.score)).collect(),
            ..LabelRow::default()
        }
    }
}

/// One method's results.
pub struct Contender {
    /// `copy`, `match`, `joint`, `single` or `fused`.
    pub name: &'static str,
    /// What it detected.
    pub detections: Labels,
    /// Errors.
    pub evaluation: Evaluation,
    /// Parameters of its landmark model.
    pub parameters: usize,
    /// Parameters of the matcher that it starts from.
    pub matcher_parameters: usize,
    /// Bytes of the largest arena among its detection programs.
    pub arena_bytes: u64,
    /// Milliseconds to detect all landmarks in one image; of another size than the image before, for which programs may have to be
    /// planned first, it counts only where there is no other.
    pub ms_per_image: f64,
}

/// One method in `summary.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    mre: f64,
    unit: &'static str,
    reliability: Option<Reliability>,
    parameters: usize,
    matcher_parameters: usize,
    arena_bytes: u64,
    ms_per_image: f64,
}

/// `summary.json`: what a demonstration or comparison found.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// By method.
    pub methods: BTreeMap<&'static str, Figures>,
    /// Number of landmarks.
    pub landmarks: usize,
    /// The device.
    pub device: String,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// What landmarks do to each other while what they share is trained.
    pub seesaw: Vec<Phase>,
    /// Mean error of the pseudo-labels, where the truth of training images is known.
    pub pseudo_labels: Option<LabelErrors>,
}

/// Mean error of pseudo-labels, in the unit of the methods' errors.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LabelErrors {
    first: f64,
    last: f64,
}

impl LabelErrors {
    /// As a report shows them.
    pub fn of(report: &Report) -> Option<Self> {
        let points = &report.pseudo_labels.as_ref()?.error.first()?.points;
        Some(Self { first: points.first()?.1, last: points.last()?.1 })
    }
}

impl Contender {
    fn figures(&self) -> Figures {
        Figures {
            mre: self.evaluation.all.mre,
            unit: self.evaluation.unit,
            reliability: self.evaluation.reliability.clone(),
            parameters: self.parameters,
            matcher_parameters: self.matcher_parameters,
            arena_bytes: self.arena_bytes,
            ms_per_image: self.ms_per_image,
        }
    }

    /// For the report.
    pub fn method(&self, landmarks: &[String]) -> Method {
        let (all, reliability) = (&self.evaluation.all, self.evaluation.reliability.as_ref());
        Method {
            name: self.name.into(),
            mre: all.mre,
            sd: all.sd,
            interval: all.mre_interval.map(|[low, high]| (low, high)),
            sdr: self.evaluation.thresholds.iter().copied().zip(all.sdr.iter().map(|v| v / 100.0)).collect(),
            parameters: self.parameters as u64,
            arena_bytes: self.arena_bytes,
            ms_per_image: self.ms_per_image,
            per_landmark: by_landmark(&self.evaluation, landmarks),
            reliability: reliability.map_or(vec![], |found| found.groups.iter().map(|g| (g.score, g.right)).collect()),
            trusted_mre: reliability.map_or(f64::NAN, |found| found.trusted_mre),
        }
    }
}

impl Summary {
    /// Of all contenders.
    pub fn new(contenders: &[Contender], landmarks: usize, device: &Device, seconds: f64, seesaws: &[Seesaw]) -> Self {
        let methods = contenders.iter().map(|c| (c.name, c.figures())).collect();
        let seesaw = seesaws.iter().flat_map(Seesaw::phases).collect();
        Self { methods, landmarks, device: device.name(), seconds, seesaw, pseudo_labels: None }
    }
}

/// Mean and standard deviation of the errors of each landmark, in the order of `landmarks`, whatever the truth's is; NaN
/// where the truth has none.
fn by_landmark(evaluation: &Evaluation, landmarks: &[String]) -> Vec<(f64, f64)> {
    let stats = |name: &String| evaluation.landmarks.iter().find(|stats| stats.name == *name);
    landmarks.iter().map(|name| stats(name).map_or((f64::NAN, f64::NAN), |s| (s.mre, s.sd))).collect()
}

/// Detects in all images; returns the labels and the milliseconds an image.
fn detect(
    detector: &mut Detector,
    images: &[Named],
    stage: &str,
    observer: &mut dyn Observer,
) -> Result<(Labels, f64)> {
    let names = detector.model().header.landmarks.clone();
    let mut rows = Vec::new();
    let (mut seconds, mut timed) = (0.0, 0);
    let mut known = None; // the size that programs are planned for
    for (index, named) in images.iter().enumerate() {
        let start = Instant::now();
        let found = detector.detect(&named.image)?;
        let size = [named.image.width, named.image.height];
        if known.replace(size) == Some(size) || index + 1 == images.len() && timed == 0 {
            seconds += start.elapsed().as_secs_f64();
            timed += 1;
        }
        rows.push(named.row(&found));
        observer.progress(Progress { stage, done: index + 1, total: images.len(), loss: None });
        if observer.stopped() {
            return Err(Error::Interrupted);
        }
    }
    Ok((Labels { names, rows }, 1e3 * seconds / f64::from(timed.max(1))))
}

/// The template's coordinates, scaled to each image: the baseline that looks at nothing.
fn copy(names: &[String], size: (f64, f64), annotation: &[Point], images: &[Named]) -> Labels {
    let row = |Named { name, image }: &Named| LabelRow {
        image: name.clone(),
        width: image.width as u32,
        height: image.height as u32,
        points: annotation
            .iter()
            .map(|&p| Some(scale_point(p, size, (image.width as f64, image.height as f64))))
            .collect(),
        ..LabelRow::default()
    };
    Labels { names: names.to_vec(), rows: images.iter().map(row).collect() }
}

/// Evaluates copying and every trained method of a run.
pub fn contest(
    run: &RunDir,
    device: &Device,
    images: &[Named],
    truth: &Labels,
    template: (&[Point], (f64, f64)),
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Vec<Contender>> {
    let mut contenders = Vec::new();
    for kind in Kind::ALL {
        let path = run.file(&weights_file(kind));
        if !path.is_file() {
            continue;
        }
        let model = Model::read(&path)?;
        if contenders.is_empty() {
            let detections = copy(&model.header.landmarks, template.1, template.0, images);
            let evaluation = evaluate(&detections, truth, options)?;
            contenders.push(Contender {
                name: "copy",
                detections,
                evaluation,
                parameters: 0,
                matcher_parameters: 0,
                arena_bytes: 0,
                ms_per_image: 0.0,
            });
        }
        let (parameters, matcher_parameters) = (model.parameters(), model.matcher_parameters());
        let mut detector = Detector::new(model, device);
        let (detections, ms_per_image) = detect(&mut detector, images, kind.name(), observer)?;
        let evaluation = evaluate(&detections, truth, options)?;
        contenders.push(Contender {
            name: kind.name(),
            detections,
            evaluation,
            parameters,
            matcher_parameters: if kind == Kind::Joint { 0 } else { matcher_parameters },
            arena_bytes: detector.arena_bytes(),
            ms_per_image,
        });
    }
    if contenders.is_empty() {
        return Err(Error::input(run.file(&weights_file(Kind::Match)), "is missing: the run holds no trained stage"));
    }
    Ok(contenders)
}

/// The stages that train what landmarks share, seen landmark by landmark: the errors of their snapshots, and what they cost
/// against single in the end.
#[expect(clippy::too_many_arguments, reason = "a comparison's parts, each of another kind")]
pub fn seesaws(
    run: &RunDir,
    device: &Device,
    images: &[Named],
    truth: &Labels,
    options: &Options,
    contenders: &[Contender],
    landmarks: &[String],
    observer: &mut dyn Observer,
) -> Result<Vec<Seesaw>> {
    let options = Options { resamples: 0, ..options.clone() };
    let wanted: std::collections::HashSet<&str> = images.iter().map(|named| named.name.as_str()).collect();
    let rows = truth.rows.iter().filter(|row| wanted.contains(row.image.as_str())).cloned().collect();
    let truth = Labels { names: truth.names.clone(), rows };
    let config = config::read(&run.file(CONFIG))?;
    let errors = |kind: Kind| {
        let contender = contenders.iter().find(|c| c.name == kind.name())?;
        Some(by_landmark(&contender.evaluation, landmarks).into_iter().map(|stats| stats.0))
    };
    let mut seesaws = Vec::new();
    for kind in [Kind::Joint, Kind::Fused] {
        let frozen = (0..config.fuse.steps).find(|&step| config.fuse.is_frozen(step, landmarks.len()));
        let frozen = frozen.filter(|_| kind == Kind::Fused).map(|step| step as f64);
        let mut seesaw = Seesaw { stage: kind.name().into(), frozen, ..Seesaw::default() };
        for (index, step) in config.snapshots(kind).all() {
            let path = run.file(&snapshot_file(kind, index));
            if !path.is_file() {
                continue;
            }
            let model = Model::read(&path)?;
            let (detections, _) = detect(&mut Detector::new(model, device), images, "seesaw", observer)?;
            let evaluation = evaluate(&detections, &truth, &options)?;
            seesaw.steps.push(step as f64);
            seesaw.errors.push(by_landmark(&evaluation, landmarks).iter().map(|stats| stats.0).collect());
        }
        if let (Some(own), Some(single)) = (errors(kind), errors(Kind::Single)) {
            seesaw.delta = own.zip(single).map(|(own, single)| own - single).collect();
        }
        seesaws.extend((!seesaw.errors.is_empty()).then_some(seesaw));
    }
    Ok(seesaws)
}
