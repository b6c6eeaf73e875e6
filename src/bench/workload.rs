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
    /// A training step of each landmark's single model, one after another.
    StepApart,
    /// The detection of an image, with the fused model.
    Detect,
    /// The same with the single models, all at once.
    DetectSingle,
    /// The same with the single models one after another, behind one matcher.
    DetectApart,
    /// The same with a detector a landmark, each with a matcher of its own.
    DetectAlone,
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

    /// For one landmark.
    fn alone(&self) -> Self {
        Self { landmarks: 1, ..self.clone() }
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

    /// What fusion and lockstep are to be held against.
    pub const APART: [Self; 4] = [Self::StepApart, Self::DetectSingle, Self::DetectApart, Self::DetectAlone];

    /// The name in tables of kernels.
    pub fn row_name(self) -> String {
        match self {
            Self::Step(kind) => format!("step.{}", kind.name()),
            Self::StepApart => "step.apart".into(),
            Self::Detect => "detect.fused".into(),
            Self::DetectSingle => "detect.single".into(),
            Self::DetectApart => "detect.apart".into(),
            Self::DetectAlone => "detect.alone".into(),
        }
    }

    /// What makes its size.
    pub(super) fn shape(self, settings: &Settings) -> String {
        let (config, k) = (settings.config(), settings.landmarks);
        match self {
            Self::Step(Kind::Match) => format!("batch {}, {} points", config.matching.batch, config.matching.points),
            Self::Step(Kind::Joint) => format!("{k} landmarks, batch {}", config.joint.batch),
            Self::Step(Kind::Single) | Self::StepApart => format!("{k} landmarks, batch {}", config.single.batch),
            Self::Step(Kind::Fused) => format!("{k} landmarks, batch {}", config.fuse.batch),
            Self::Detect | Self::DetectSingle | Self::DetectApart | Self::DetectAlone => {
                format!("{k} landmarks, {} views", config.views)
            }
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
                let dataset = Dataset::new(&images, config.global_side, config.global_contrast);
                let mut training = MatchTraining::new(device, &config.matching, &dataset, config.seed)?;
                work(named(training.trainer.program()), &mut |step| training.step(step).map(Some))
            }
            Self::Step(Kind::Joint) => {
                let dataset = Dataset::new(&images, config.global_side, config.global_contrast);
                let labels = labels(&dataset, &points);
                let mut training = JointTraining::new(device, &config.joint, &dataset, 0, labels, config.seed)?;
                work(named(training.trainer.program()), &mut |step| training.step(step).map(mean))
            }
            Self::Step(Kind::Single) => {
                let dataset = Dataset::new(&images, config.local_side, 0.0);
                let (everyone, labels) = ((0..settings.landmarks).collect(), labels(&dataset, &points));
                let (single, crop) = (&config.single, &config.crop);
                let mut training =
                    SingleTraining::new(device, single, crop, &dataset, 0, everyone, labels, config.seed)?;
                work(named(training.trainer.program()), &mut |step| training.step(step).map(mean))
            }
            Self::Step(Kind::Fused) => {
                let dataset = Dataset::new(&images, config.local_side, 0.0);
                let labels = labels(&dataset, &points);
                let teacher = settings.start(Kind::Single).net;
                let (fuse, crop) = (&config.fuse, &config.crop);
                let mut training = FuseTraining::new(device, fuse, crop, &dataset, 0, &labels, &teacher, config.seed)?;
                work(named(training.trainer.program()), &mut |step| training.step(step).map(mean))
            }
            Self::StepApart => {
                let dataset = Dataset::new(&images, config.local_side, 0.0);
                let (single, crop) = (&config.single, &config.crop);
                let start = |(k, labels)| {
                    SingleTraining::new(device, single, crop, &dataset, 0, vec![k], vec![labels], config.seed)
                };
                let each = labels(&dataset, &points).into_iter().enumerate().map(start);
                let mut each = each.collect::<Result<Vec<SingleTraining>>>()?;
                let programs = each.iter().flat_map(|training| named(training.trainer.program())).collect();
                let mut losses = Vec::new();
                work(programs, &mut |step| {
                    losses.clear();
                    each.iter_mut().try_for_each(|training| training.step(step).map(|loss| losses.extend(loss)))?;
                    Ok(mean(&losses))
                })
            }
            Self::Detect | Self::DetectSingle => {
                let kind = if self == Self::Detect { Kind::Fused } else { Kind::Single };
                let given = settings.model.clone().filter(|_| self == Self::Detect);
                let model = given.unwrap_or_else(|| settings.start(kind));
                let programs = detection(&model.header, &images[..1])?;
                let mut detector = Detector::new(model, device);
                work(programs, &mut |step| detector.detect(&images[step % images.len()]).map(|_| None))
            }
            Self::DetectAlone => {
                let single = settings.alone().start(Kind::Single);
                let programs = detection(&single.header, &images[..1])?;
                let mut each: Vec<Detector> =
                    (0..settings.landmarks).map(|_| Detector::new(single.clone(), device)).collect();
                work(vec![programs; settings.landmarks].concat(), &mut |step| {
                    each.iter_mut().try_for_each(|detector| detector.detect(&images[step % images.len()]).map(drop))?;
                    Ok(None)
                })
            }
            Self::DetectApart => {
                let (matching, single) = (settings.start(Kind::Match), settings.alone().start(Kind::Single));
                let mut programs = detection(&matching.header, &images[..1])?;
                let closer = detection(&single.header, &images[..1])?.pop();
                programs.extend(std::iter::repeat_n(closer, settings.landmarks).flatten());
                let mut matcher = Detector::new(matching, device);
                let mut each: Vec<Detector> =
                    (0..settings.landmarks).map(|_| Detector::new(single.clone(), device)).collect();
                work(programs, &mut |step| {
                    let image = &images[step % images.len()];
                    let (coarse, local) = (matcher.detect(image)?, Dataset::new([image], config.local_side, 0.0));
                    let look = |(detector, coarse): (&mut Detector, _)| detector.closer(&local, &[coarse]).map(drop);
                    each.iter_mut().zip(coarse).try_for_each(look)?;
                    Ok(None)
                })
            }
        }
    }
}

/// The parameters of all programs together, and the bytes that they need beside the stored images.
pub(super) fn demand(programs: &Programs) -> (usize, u64) {
    let images = |program: &Program| 4 * program.regions.get(&Region::Data).map_or(0, |&len| len as u64);
    let programs = programs.iter().map(|(_, program)| program);
    let bytes = programs.clone().map(|program| program.total_bytes() - images(program)).sum();
    (programs.map(|program| program.parameters).sum(), bytes)
}

/// The programs of a model's detection, on an image of this size: the matcher's, and what looks closer.
pub fn detection(header: &Header, images: &[GrayImage]) -> Result<Programs> {
    let (config, k) = (&header.config, header.landmarks.len());
    let global = Dataset::new(images, config.global_side, config.global_contrast);
    let local = || Dataset::new(images, config.local_side, 0.0).shape();
    let mut programs = Vec::new();
    if header.kind != Kind::Joint {
        programs.push(("detect.match".into(), config.matching.look_program(global.shape())?));
        programs.push(("detect.locate".into(), config.matching.locate_program([global.width, global.height], k)?));
    }
    let closer = match header.kind {
        Kind::Match => None,
        Kind::Joint => Some(config.joint.look_program(global.shape(), k, 1)?),
        Kind::Single | Kind::Fused => Some(config.crop.look_program(local(), Region::Ema, header.extents(), k, 1)?),
    };
    programs.extend(closer.map(|program| (format!("detect.{}", header.kind.name()), program)));
    Ok(programs)
}

/// Every landmark's labels: where the phantoms have it.
fn labels(dataset: &Dataset, points: &[Vec<Point>]) -> Vec<PseudoLabels> {
    let stored = |k: usize| (0..points.len()).map(|image| dataset.stored(image, points[image][k])).collect();
    let label = |k| PseudoLabels {
        points: stored(k),
        weights: vec![1.0; points.len()],
        trust: vec![1.0; points.len()],
        expected: vec![None; points.len()],
    };
    (0..points.first().map_or(0, Vec::len)).map(label).collect()
}

fn mean(losses: &[f64]) -> Option<f64> {
    Some(losses.iter().sum::<f64>() / losses.len().max(1) as f64)
}
