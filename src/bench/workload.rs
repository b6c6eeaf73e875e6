//! The programs that training and detection run, on phantoms: nothing is learned, but every step costs what it costs.

use crate::Result;
use crate::data::gray::GrayImage;
use crate::data::phantom::phantom;
use crate::detect::Detector;
use crate::device::Device;
use crate::learn::augment::Point;
use crate::learn::config::Config;
use crate::learn::dataset::Dataset;
use crate::learn::fuse::FuseTraining;
use crate::learn::joint::JointTraining;
use crate::learn::labels::PseudoLabels;
use crate::learn::matching::{Features, MatchTraining};
use crate::learn::propose::TemplateFeatures;
use crate::learn::single::SingleTraining;
use crate::model::{Header, Kind, Model, VERSION};
use crate::plan::Program;
use crate::tape::Region;

/// Programs by name.
pub type Programs = Vec<(String, Program)>;

/// Does the step of this number; returns its loss, if it has one.
pub type Step<'a> = &'a mut dyn FnMut(usize) -> Result<Option<f64>>;

/// A program or two that run again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A training step of a method.
    Step(Kind),
    /// The detection of an image, with the fused model.
    Detect,
}

/// How large a workload is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Networks, crops, resolutions.
    pub config: Config,
    /// Landmarks.
    pub landmarks: usize,
    /// Samples a landmark and step, if not the configuration's.
    pub batch: Option<usize>,
    /// Images that are stored.
    pub images: usize,
    /// Their width and height, pixels.
    pub size: [usize; 2],
    /// What detects; the fused model as it starts, if none is given.
    pub model: Option<Model>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { config: Config::default(), landmarks: 4, batch: None, images: 4, size: [384, 480], model: None }
    }
}

impl Settings {
    /// With the batch in the configuration of every stage.
    fn config(&self) -> Config {
        let mut config = self.config.clone();
        if let Some(batch) = self.batch {
            (config.matching.batch, config.joint.batch) = (batch, batch);
            (config.single.batch, config.fuse.batch) = (batch, batch);
            config.single.template = config.single.template.min(batch);
            config.fuse.template = config.fuse.template.min(batch);
        }
        config
    }

    pub(super) fn batch_option(&self) -> String {
        self.batch.map(|batch| format!(" --batch {batch}")).unwrap_or_default()
    }

    /// Phantoms, and where their landmarks are; landmarks beyond a phantom's own are some of them again.
    fn phantoms(&self) -> Pictures {
        let [width, height] = self.size;
        let draw = |index| {
            let drawn = phantom(self.config.seed, index, width, height);
            let points = (0..self.landmarks).map(|k| drawn.points[k % drawn.points.len()]).collect();
            (GrayImage { width, height, pixels: drawn.pixels }, points)
        };
        let (images, points) = (0..self.images as u64).map(draw).unzip();
        Pictures { images, points }
    }

    /// Grey images of that size: enough where programs are planned but do not run.
    fn blanks(&self) -> Pictures {
        let [width, height] = self.size;
        let image = GrayImage { width, height, pixels: vec![0.5; width * height] };
        let points = vec![[width as f64 / 2.0, height as f64 / 2.0]; self.landmarks];
        Pictures { images: vec![image; self.images], points: vec![points; self.images] }
    }

    /// The method's model, as it starts.
    fn start(&self, kind: Kind) -> Model {
        let landmarks: Vec<String> = (0..self.landmarks).map(|k| format!("landmark{k}")).collect();
        let everyone: Vec<usize> = (0..self.landmarks).collect();
        let mut config = self.config();
        // Random networks have no shapes to learn from.
        config.shape.noise = 0.0;
        let header = Header {
            version: VERSION,
            kind,
            landmarks,
            spacing: None,
            template: "phantom".into(),
            images: self.images,
            onemark: env!("CARGO_PKG_VERSION").into(),
            config,
        };
        let (matching, net) = header.layouts();
        let (embedding, levels) = (header.config.matching.embedding, header.config.matching.unet().heads.len());
        let feature = vec![(embedding as f32).sqrt().recip(); self.landmarks * embedding];
        let points = everyone.iter().map(|&k| [10.0 + 10.0 * k as f64, 20.0 + 7.0 * k as f64]).collect();
        Model {
            matching: matching.init(header.config.seed, &[]),
            net: net.init(header.config.seed, &everyone),
            template: TemplateFeatures { points, features: Features(vec![feature; levels]) },
            shape: None,
            header,
        }
    }
}

/// Images, and the landmarks of each, in pixels.
struct Pictures {
    images: Vec<GrayImage>,
    points: Vec<Vec<Point>>,
}

impl Workload {
    /// All, in the order of tables.
    pub const ALL: [Self; 5] = [
        Self::Step(Kind::Match),
        Self::Step(Kind::Joint),
        Self::Step(Kind::Single),
        Self::Step(Kind::Fused),
        Self::Detect,
    ];

    /// The name in tables of kernels.
    pub fn row_name(self) -> String {
        match self {
            Self::Step(kind) => format!("step.{}", kind.name()),
            Self::Detect => "detect".into(),
        }
    }

    /// What makes its size.
    pub(super) fn shape(self, settings: &Settings) -> String {
        let (config, k) = (settings.config(), settings.landmarks);
        match self {
            Self::Step(Kind::Match) => format!("batch {}, {} points", config.matching.batch, config.matching.points),
            Self::Step(Kind::Joint) => format!("{k} landmarks, batch {}", config.joint.batch),
            Self::Step(Kind::Single) => format!("{k} landmarks, batch {}", config.single.batch),
            Self::Step(Kind::Fused) => format!("{k} landmarks, batch {}", config.fuse.batch),
            Self::Detect => format!("{k} landmarks, {} views", config.views),
        }
    }

    /// Prepares the workload and hands it to `work`: the programs that it runs, and a function that does a numbered step and
    /// returns its loss, if it has one.
    pub fn with<R>(
        self,
        device: &Device,
        settings: &Settings,
        work: impl FnOnce(Programs, Step) -> Result<R>,
    ) -> Result<R> {
        self.with_pictures(device, settings, settings.phantoms(), work)
    }

    /// The programs that it runs.
    pub fn programs(self, settings: &Settings) -> Result<Programs> {
        self.with_pictures(&Device::cpu(), settings, settings.blanks(), |programs, _| Ok(programs))
    }

    fn with_pictures<R>(
        self,
        device: &Device,
        settings: &Settings,
        Pictures { images, points }: Pictures,
        work: impl FnOnce(Programs, Step) -> Result<R>,
    ) -> Result<R> {
        let config = settings.config();
        let named = |program: &Program| vec![(self.row_name(), program.clone())];
        match self {
            Self::Step(Kind::Match) => {
                let dataset = Dataset::new(&images, config.global_side);
                let mut training = MatchTraining::new(device, &config.matching, &dataset, config.seed)?;
                work(named(training.trainer.program()), &mut |step| training.step(step).map(Some))
            }
            Self::Step(Kind::Joint) => {
                let dataset = Dataset::new(&images, config.global_side);
                let labels = labels(&dataset, &points);
                let mut training = JointTraining::new(device, &config.joint, &dataset, 0, labels, config.seed)?;
                work(named(training.trainer.program()), &mut |step| training.step(step).map(mean))
            }
            Self::Step(Kind::Single) => {
                let dataset = Dataset::new(&images, config.local_side);
                let (everyone, labels) = ((0..settings.landmarks).collect(), labels(&dataset, &points));
                let (single, crop) = (&config.single, &config.crop);
                let mut training =
                    SingleTraining::new(device, single, crop, &dataset, 0, everyone, labels, config.seed)?;
                work(named(training.trainer.program()), &mut |step| training.step(step).map(mean))
            }
            Self::Step(Kind::Fused) => {
                let dataset = Dataset::new(&images, config.local_side);
                let labels = labels(&dataset, &points);
                let teacher = settings.start(Kind::Single).net;
                let (fuse, crop) = (&config.fuse, &config.crop);
                let mut training = FuseTraining::new(device, fuse, crop, &dataset, 0, &labels, &teacher, config.seed)?;
                work(named(training.trainer.program()), &mut |step| training.step(step).map(mean))
            }
            Self::Detect => {
                let model = settings.model.clone().unwrap_or_else(|| settings.start(Kind::Fused));
                let programs = detection(&model.header, &images[..1])?;
                let mut detector = Detector::new(model, device);
                work(programs, &mut |step| detector.detect(&images[step % images.len()]).map(|_| None))
            }
        }
    }
}

/// The programs of a model's detection, on an image of this size: the matcher's, and what looks closer.
pub fn detection(header: &Header, images: &[GrayImage]) -> Result<Programs> {
    let (config, k) = (&header.config, header.landmarks.len());
    let global = Dataset::new(images, config.global_side).shape();
    let local = || Dataset::new(images, config.local_side).shape();
    let closer = match header.kind {
        Kind::Match => None,
        Kind::Joint => Some(config.joint.look_program(global, k, 1)?),
        Kind::Single | Kind::Fused => Some(config.crop.look_program(local(), Region::Ema, header.extents(), k, 1)?),
    };
    let matcher = match header.kind {
        Kind::Joint => None,
        _ => Some(("detect.match".into(), config.matching.locate_program(global, k)?)),
    };
    let closer = closer.map(|program| (format!("detect.{}", header.kind.name()), program));
    Ok(matcher.into_iter().chain(closer).collect())
}

/// Every landmark's labels: where the phantoms have it.
fn labels(dataset: &Dataset, points: &[Vec<Point>]) -> Vec<PseudoLabels> {
    let stored = |k: usize| (0..points.len()).map(|image| dataset.stored(image, points[image][k])).collect();
    let label =
        |k| PseudoLabels { points: stored(k), weights: vec![1.0; points.len()], expected: vec![None; points.len()] };
    (0..points.first().map_or(0, Vec::len)).map(label).collect()
}

fn mean(losses: Vec<f64>) -> Option<f64> {
    Some(losses.iter().sum::<f64>() / losses.len().max(1) as f64)
}
