//! The weights file: one `.safetensors` that holds all a detector needs.
//!
//! Tensors `match.*` are the parameters of the matcher, `template.*` what it searches for, `shape.*` how landmarks vary together,
//! `net.*` the parameters of the landmark model. The metadata's one key `onemark` is a [`Header`] in JSON, whose last member
//! `checksum` is the FNV-1a hash of what stands before it and of all tensors' bytes, by name. A file of another layout, version or
//! landmark count is refused with the first tensor that does not fit, and a damaged one whatever fits.

use crate::data::files::{FNV_START, fnv1a, read_capped, write_atomic};
use crate::learn::config::Config;
use crate::learn::matching::Features;
use crate::learn::propose::TemplateFeatures;
use crate::learn::shape_model::ShapeModel;
use crate::nn::{Extents, UNet};
use crate::tape::{Layout, Region, Tape};
use crate::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Version of the file's layout, and of the defaults of settings that it may leave out.
pub const VERSION: u32 = 4;

/// Largest weights file that is read, bytes.
const MAX_BYTES: u64 = 1 << 30;

/// Which of the methods a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Stage 1 alone.
    Match,
    /// One network for all landmarks.
    Joint,
    /// One crop model a landmark.
    Single,
    /// Shared crop model with adapters.
    Fused,
}

impl Kind {
    /// All, in the order of tables.
    pub const ALL: [Self; 4] = [Self::Match, Self::Joint, Self::Single, Self::Fused];

    /// The name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Joint => "joint",
            Self::Single => "single",
            Self::Fused => "fused",
        }
    }
}

/// What a weights file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub version: u32,
    /// The method.
    pub kind: Kind,
    /// Landmark names in order.
    pub landmarks: Vec<String>,
    /// The settings it was trained with: networks, crops, resolutions.
    pub config: Config,
    /// Millimetres a pixel of the training images, if known.
    pub spacing: Option<f64>,
    /// The annotated image.
    pub template: String,
    /// Images that were trained on.
    pub images: usize,
    /// The program's version.
    pub onemark: String,
}

/// A trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What it is.
    pub header: Header,
    /// Flat parameters of the matcher.
    pub matching: Vec<f32>,
    /// The template's landmarks and features.
    pub template: TemplateFeatures,
    /// How landmarks vary together; none if the settings go without.
    pub shape: Option<ShapeModel>,
    /// Flat parameters of the landmark model; empty for [`Kind::Match`].
    pub net: Vec<f32>,
}

impl Header {
    /// Landmark extents of the crop model, for the kinds that have one.
    pub fn extents(&self) -> Extents {
        let k = self.landmarks.len();
        match self.kind {
            Kind::Fused => Extents::fused(k, self.config.fuse.rank, self.config.fuse.position),
            _ => Extents::distinct(k),
        }
    }

    /// The layouts of the matcher's and the landmark model's parameters.
    pub fn layouts(&self) -> (Layout, Layout) {
        let mut tape = Tape::new();
        UNet::declare(&mut tape, Region::Teacher, &self.config.matching.unet(), Extents::SHARED);
        match self.kind {
            Kind::Match => {}
            Kind::Joint => {
                let unet = self.config.joint.unet(self.landmarks.len());
                UNet::declare(&mut tape, Region::Params, &unet, Extents::SHARED);
            }
            Kind::Single | Kind::Fused => {
                UNet::declare(&mut tape, Region::Params, &self.config.crop.unet(), self.extents());
            }
        }
        (tape.layout(Region::Teacher), tape.layout(Region::Params))
    }
}

struct NamedTensor {
    name: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Model {
    /// Parameters of the landmark model; of the matcher, for [`Kind::Match`].
    pub fn parameters(&self) -> usize {
        let (matching, net) = self.header.layouts();
        if self.header.kind == Kind::Match { matching.count() } else { net.count() }
    }

    /// Parameters of the matcher that finds the crops: every method needs them.
    pub fn matcher_parameters(&self) -> usize {
        self.header.layouts().0.count()
    }

    fn tensors(&self) -> Vec<NamedTensor> {
        let (matching, net) = self.header.layouts();
        let mut tensors = Vec::new();
        for (prefix, layout, flat) in [("match", matching, &self.matching), ("net", net, &self.net)] {
            for (index, parameter) in layout.parameters.iter().enumerate() {
                tensors.push(NamedTensor {
                    name: format!("{prefix}.{}", parameter.name),
                    shape: parameter.shape.dims().into(),
                    values: layout.extract(flat, index),
                });
            }
        }
        let k = self.header.landmarks.len();
        let points = self.template.points.iter().flatten().map(|&v| v as f32).collect();
        tensors.push(NamedTensor { name: "template.points".into(), shape: vec![k, 2], values: points });
        for (level, features) in self.template.features.0.iter().enumerate() {
            let shape = vec![k, features.len() / k.max(1)];
            tensors.push(NamedTensor { name: format!("template.features{level}"), shape, values: features.clone() });
        }
        if let Some(shape) = &self.shape {
            let f32s = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v as f32).collect();
            let mut add = |name: &str, shape: Vec<usize>, values: &mut dyn Iterator<Item = f64>| {
                tensors.push(NamedTensor { name: name.into(), shape, values: f32s(values) });
            };
            add("shape.mean", vec![k, 2], &mut shape.mean.iter().flatten().copied());
            add("shape.covariance", vec![2 * k, 2 * k], &mut shape.covariance.iter().copied());
            add("shape.noise", vec![1], &mut std::iter::once(shape.noise));
        }
        tensors
    }

    /// Writes the file; a crash leaves the old one or the new one.
    pub fn write(&self, path: &Path) -> Result<()> {
        let tensors = self.tensors();
        let header = serde_json::to_string(&self.header).expect("a header is JSON");
        let header = header.strip_suffix('}').expect("a header is an object");
        let of_tensors = tensors.iter().map(|tensor| (tensor.name.as_str(), bytemuck::cast_slice(&tensor.values)));
        let header = format!("{header}{CHECKSUM}{}\"}}", checksum(header, of_tensors));
        let metadata = HashMap::from([("onemark".to_string(), header)]);
        let bytes = serialize(&tensors, metadata).map_err(|cause| Error::input(path, cause))?;
        write_atomic(path, &bytes)
    }

    /// Reads a file that [`Model::write`] wrote; anything else is an error that says what does not fit.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(path, &read_capped(path, MAX_BYTES)?)
    }

    /// Whether a file says that it has the layout of another version of this program.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read.
    #[cfg(feature = "train")]
    pub(crate) fn is_of_another_layout(path: &Path) -> Result<bool> {
        let bytes = read_capped(path, MAX_BYTES)?;
        let metadata = SafeTensors::read_metadata(&bytes).ok().and_then(|(_, metadata)| metadata.metadata().clone());
        Ok(metadata.and_then(|map| version(map.get("onemark")?)).is_some_and(|found| found != u64::from(VERSION)))
    }

    /// As [`Model::read`], of a file that is in memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::parse(Path::new("weights in memory"), bytes)
    }

    /// Errors name `path`.
    fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let refuse = |cause: String| Error::input(path, cause);
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| match e {
            SafeTensorError::MetadataIncompleteBuffer => {
                refuse("damaged: it ends too soon; copy or train it again".into())
            }
            e => refuse(format!("not a safetensors file ({e}); expected weights written by `onemark train`")),
        })?;
        if metadata.info("state0").is_some() {
            return Err(refuse(
                "a checkpoint of a stage in training, no weights; its run's folder says how far it is".into(),
            ));
        }
        let text = metadata
            .metadata()
            .as_ref()
            .and_then(|map| map.get("onemark"))
            .ok_or_else(|| refuse("a safetensors file of another program: it has no `onemark` header".into()))?;
        let found = version(text);
        if found != Some(VERSION.into()) {
            let found = found.map_or("none".into(), |v| v.to_string());
            return Err(refuse(format!("its layout has version {found}, this program reads {VERSION}; train again")));
        }
        let header: Header =
            serde_json::from_str(text).map_err(|e| refuse(format!("its header cannot be read: {e}; train again")))?;
        if header.landmarks.is_empty() || header.landmarks.len() > 10_000 {
            return Err(refuse(format!("it names {} landmarks", header.landmarks.len())));
        }
        if header.images < 2 {
            return Err(refuse(format!("it says that {} images trained it; train again", header.images)));
        }
        let mut names = HashSet::new();
        if let Some(name) = header.landmarks.iter().find(|name| name.is_empty() || !names.insert(name.as_str())) {
            return Err(refuse(format!("its landmark {name:?} has no name or the name of another; train again")));
        }
        if let Some(mm) = header.spacing.filter(|mm| !(mm.is_finite() && *mm > 0.0)) {
            return Err(refuse(format!("its spacing is {mm} mm a pixel, but must be above 0; train again")));
        }
        header.config.faults().map_err(|fault| refuse(format!("its header's {}: {}", fault.key, fault.cause)))?;
        let (matching, net) = header.layouts();
        if (matching.count() + net.count()) as u64 > bytes.len() as u64 / 4 {
            return Err(refuse("damaged: its header announces more parameters than it holds".into()));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| refuse(format!("damaged: {e}")))?;
        let sum = |header| checksum(header, tensors.iter().map(|(name, tensor)| (name, tensor.data())));
        let whole = text.rsplit_once(CHECKSUM).is_some_and(|(header, rest)| rest == format!("{}\"}}", sum(header)));
        let tensor = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
            let view = tensors.tensor(name).map_err(|_| refuse(format!("tensor `{name}` is missing")))?;
            if view.dtype() != Dtype::F32 || view.shape() != shape {
                let cause = format!("tensor `{name}` is {:?} {:?}, not F32 {shape:?}", view.dtype(), view.shape());
                return Err(refuse(cause));
            }
            let values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
            match values.iter().all(|v| v.is_finite()) {
                true => Ok(values),
                false => Err(refuse(format!("tensor `{name}` holds a number that is not finite"))),
            }
        };
        let k = header.landmarks.len();
        let flat = |prefix: &str, layout: &Layout| -> Result<Vec<f32>> {
            let mut flat = vec![0.0; layout.len()];
            for (index, parameter) in layout.parameters.iter().enumerate() {
                let values = tensor(&format!("{prefix}.{}", parameter.name), &parameter.shape.dims())?;
                layout.insert(&mut flat, index, &values);
            }
            Ok(flat)
        };
        let points = tensor("template.points", &[k, 2])?;
        let points = points.chunks(2).map(|p| [f64::from(p[0]), f64::from(p[1])]).collect();
        let levels = header.config.matching.unet().heads;
        let features =
            levels.iter().enumerate().map(|(level, &(_, e))| tensor(&format!("template.features{level}"), &[k, e]));
        let features = Features(features.collect::<Result<_>>()?);
        let doubles = |name: &str, shape: &[usize]| -> Result<Vec<f64>> {
            Ok(tensor(name, shape)?.into_iter().map(f64::from).collect())
        };
        let positive = |name: &str| match doubles(name, &[1])?[0] {
            v if v > 0.0 => Ok(v),
            _ => Err(refuse(format!("tensor `{name}` holds a number that is not above 0"))),
        };
        let shape = match header.config.shape.noise > 0.0 {
            true => Some(ShapeModel::new(
                doubles("shape.mean", &[k, 2])?.chunks(2).map(|p| [p[0], p[1]]).collect(),
                doubles("shape.covariance", &[2 * k, 2 * k])?,
                positive("shape.noise")?,
                header.images,
            )),
            false => None,
        };
        if shape.as_ref().is_some_and(|shape| !shape.apart.iter().all(|v| v.is_finite())) {
            return Err(refuse("tensor `shape.covariance` is no covariance: not positive definite".into()));
        }
        let (matching, net) = (flat("match", &matching)?, flat("net", &net)?);
        // At last, since what does not fit says more.
        if !whole {
            return Err(refuse("damaged: its checksum does not fit what it holds; copy or train it again".into()));
        }
        Ok(Self { shape, matching, net, template: TemplateFeatures { points, features }, header })
    }
}

/// The version of the layout that a header's text says.
fn version(header: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(header).ok()?["version"].as_u64()
}

/// What stands between a header's other members and its checksum.
const CHECKSUM: &str = r#","checksum":""#;

/// Of a header's text and of tensors' names and bytes, in whatever order they come.
fn checksum<'a>(header: &str, tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort_unstable();
    let parts = tensors.into_iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes]);
    format!("{:016x}", parts.fold(fnv1a(FNV_START, header.as_bytes()), fnv1a))
}

fn serialize(tensors: &[NamedTensor], metadata: HashMap<String, String>) -> Result<Vec<u8>, String> {
    let mut views = Vec::new();
    for t in tensors {
        let view = TensorView::new(Dtype::F32, t.shape.clone(), bytemuck::cast_slice(&t.values));
        views.push((t.name.as_str(), view.map_err(|e| e.to_string())?));
    }
    safetensors::serialize(views, Some(metadata)).map_err(|e| e.to_string())
}
