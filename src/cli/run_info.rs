//! `run.json`: what a run was made of, so that nothing else is trained into its folder.

use crate::data::files::read_capped;
use crate::data::gray::GrayImage;
use crate::data::labels::{MAX_FILE_BYTES, Point};
use crate::learn::checkpoint::RunDir;
use crate::learn::config::Config;
use crate::learn::pipeline::Task;
use crate::model::Kind;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a run was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The program's version.
    pub onemark: String,
    /// The command line that began the run.
    pub command: Vec<String>,
    /// The stages that were asked for, of all calls.
    #[serde(default)]
    pub stages: Vec<Kind>,
    /// Landmark names.
    pub landmarks: Vec<String>,
    /// File name of the annotated image.
    pub template: String,
    /// Its landmarks, in its pixels.
    pub annotation: Vec<Point>,
    /// Millimetres a pixel, if known.
    pub spacing: Option<f64>,
    /// All images, by file name.
    pub images: Vec<RunImage>,
}

/// An image of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunImage {
    /// File name.
    pub name: String,
    /// Width, pixels.
    pub width: usize,
    /// Height, pixels.
    pub height: usize,
    /// Hash of its pixels: a run that is resumed on other images would be neither run.
    pub hash: String,
}

impl RunInfo {
    /// The file in a run's folder.
    pub const FILE: &str = "run.json";

    /// Describes a task, of which some stages are asked for; `names` are its images' file names.
    pub fn new(task: &Task, names: &[String], stages: &[Kind]) -> Self {
        let image = |(image, name): (&GrayImage, &String)| RunImage {
            name: name.clone(),
            width: image.width,
            height: image.height,
            hash: hash(&image.pixels),
        };
        Self {
            onemark: env!("CARGO_PKG_VERSION").into(),
            command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
            stages: stages.into(),
            landmarks: task.landmarks.clone(),
            template: task.template_name.clone(),
            annotation: task.annotation.clone(),
            spacing: task.spacing,
            images: task.images.par_iter().zip(names).map(image).collect(),
        }
    }

    /// The command line that began the run, in one line.
    pub fn command_line(&self) -> String {
        std::iter::once("onemark").chain(self.command.iter().skip(1).map(String::as_str)).collect::<Vec<_>>().join(" ")
    }

    /// Whether an image, by its file name and its pixels, is one of those that were trained on.
    pub fn trained_on(&self, name: &str, image: &GrayImage) -> bool {
        self.images.iter().any(|own| own.name == name && own.hash == hash(&image.pixels))
    }

    /// Whether a folder holds no run yet, or this one.
    ///
    /// # Errors
    /// [`Error::Input`] with what differs.
    pub fn check(&self, run: &RunDir) -> Result<()> {
        if !run.has(Self::FILE) {
            return Ok(());
        }
        match Self::load(run)?.difference(self) {
            Some(what) => {
                let cause = format!("this run has another {what}; choose another --out");
                Err(Error::input(run.file(Self::FILE), cause))
            }
            None => Ok(()),
        }
    }

    /// Begins the run in a folder; one that was begun before is asked for these stages, too.
    pub fn write(&self, run: &RunDir, config: &Config) -> Result<()> {
        if !run.has(Self::FILE) {
            run.set_config(config)?;
            return run.write_json(Self::FILE, self);
        }
        let mut before = Self::load(run)?;
        let more: Vec<Kind> = self.stages.iter().copied().filter(|kind| !before.stages.contains(kind)).collect();
        if more.is_empty() {
            return Ok(());
        }
        before.stages.extend(more);
        run.write_json(Self::FILE, &before)
    }

    /// The description of the run in a folder.
    ///
    /// # Errors
    /// [`Error::Input`] if there is none.
    pub fn read(folder: &Path) -> Result<Self> {
        let run = RunDir::open(folder);
        if !run.has(Self::FILE) {
            return Err(Error::input(folder, format!("not a run: it has no {}", Self::FILE)));
        }
        Self::load(&run)
    }

    fn load(run: &RunDir) -> Result<Self> {
        let path = run.file(Self::FILE);
        serde_json::from_slice(&read_capped(&path, MAX_FILE_BYTES)?).map_err(|e| {
            Error::input(
                &path,
                format!("damaged: {e}; restore it, or train into another --out: the run is of what it says"),
            )
        })
    }

    /// What makes the other a description of another task.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let mm = |spacing: Option<f64>| spacing.map_or("none".into(), |mm| format!("{mm} mm a pixel"));
        let causes = [
            (self.landmarks != other.landmarks).then(|| "set of landmarks".into()),
            (self.template != other.template).then(|| format!("template, {:?}", self.template)),
            (self.annotation != other.annotation).then(|| "annotation of the template".into()),
            (self.spacing != other.spacing)
                .then(|| format!("spacing, {} (now {})", mm(self.spacing), mm(other.spacing))),
        ];
        causes.into_iter().flatten().next().or_else(|| self.difference_of_images(other))
    }

    /// What makes the other a description of a task on other images.
    pub fn difference_of_images(&self, other: &Self) -> Option<String> {
        let (n, now) = (self.images.len(), other.images.len());
        let image = self.images.iter().zip(&other.images).find(|(a, b)| a != b);
        let causes = [
            (n != now).then(|| format!("number of images, {n} (now {now})")),
            image.map(|(a, b)| match a.name == b.name {
                true => format!("image {:?}, one with other pixels", a.name),
                false => format!("image, {:?} (now {:?})", a.name, b.name),
            }),
        ];
        causes.into_iter().flatten().next()
    }
}

/// FNV-1a over whole pixels.
fn hash(pixels: &[f32]) -> String {
    let mix = |h: u64, v: &f32| (h ^ u64::from(v.to_bits())).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    format!("{:016x}", pixels.iter().fold(0xcbf2_9ce4_8422_2325, mix))
}
