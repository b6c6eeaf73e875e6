//! What a page works on: images, one open at a time, and the file of their landmarks.

use super::file::{LandmarkFile, Save};
use crate::data::gray::GrayImage;
use crate::data::images::read_gray;
use crate::data::labels::{LabelRow, Point};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Images and their landmarks.
pub struct Session {
    images: Vec<Image>,
    file: LandmarkFile,
}

struct Image {
    path: PathBuf,
    /// Its file name, by which its row goes.
    name: String,
    /// Width and height in pixels, once it was opened.
    size: Option<(u32, u32)>,
}

/// A landmark of the open image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Landmark {
    /// Its name.
    pub name: String,
    /// Its place in pixels of the image, pixel centres at integers.
    pub point: Option<Point>,
    /// The score of the detection, if it is one.
    pub score: Option<f64>,
}

/// What the page shows of all images.
#[derive(Serialize)]
pub struct Overview {
    out: String,
    images: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    /// Whether the file has a row for it.
    annotated: bool,
    /// The lowest score of its landmarks.
    score: Option<f64>,
}

/// What the page shows of one image.
#[derive(Serialize)]
pub struct Opened {
    name: String,
    width: u32,
    height: u32,
    version: u64,
    may_rename: bool,
    landmarks: Vec<Landmark>,
}

/// What the page sends to save.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edited {
    image: usize,
    version: u64,
    force: bool,
    landmarks: Vec<Landmark>,
}

/// What becomes of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Someone else has changed the file: the cause.
    Conflict(String),
    /// Saved.
    Saved {
        /// As [`Opened::version`].
        version: u64,
        /// Whether names may still be changed.
        may_rename: bool,
        /// The lowest score that is left.
        score: Option<f64>,
        /// Where what the file held before is kept, if it was not from here.
        copy: Option<String>,
    },
}

impl Session {
    /// A session over images, each with its file name; `landmarks` are read if given, else those called `names` are new.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Input`] for a file that cannot be read, and an `out` that is another file and there.
    pub fn new(
        images: Vec<(PathBuf, String)>,
        landmarks: Option<&Path>,
        names: Vec<String>,
        out: &Path,
    ) -> Result<Self> {
        let file = match landmarks {
            Some(source) => LandmarkFile::open(source, out)?,
            None => LandmarkFile::create(out, names)?,
        };
        let images = images.into_iter().map(|(path, name)| Image { path, name, size: None }).collect();
        Ok(Self { images, file })
    }

    /// Whether the file has a row for any of the images.
    pub fn is_begun(&self) -> bool {
        self.images.iter().any(|image| self.file.labels().row(&image.name).is_some())
    }

    /// What all images are called, and how they are.
    pub fn overview(&self) -> Overview {
        let listed = |image: &Image| {
            let row = self.file.labels().row(&image.name);
            Listed { name: image.name.clone(), annotated: row.is_some(), score: row.and_then(lowest_score) }
        };
        Overview { out: self.file.path().display().to_string(), images: self.images.iter().map(listed).collect() }
    }

    /// Reads an image and its landmarks, as they are on disk now.
    ///
    /// # Errors
    /// Those of [`read_gray`] and of the landmark file; [`Error::Usage`] if there is no such image.
    pub fn open(&mut self, index: usize) -> Result<(Opened, GrayImage)> {
        let image = self.images.get_mut(index).ok_or_else(|| Error::Usage(format!("no image {index}")))?;
        let pixels = read_gray(&image.path)?;
        let (width, height) = (pixels.width as u32, pixels.height as u32);
        self.file.refresh()?;
        let landmarks = self.file.landmarks(&image.name, (width, height))?;
        image.size = Some((width, height));
        let (name, may_rename) = (image.name.clone(), self.file.may_rename(&image.name));
        Ok((Opened { name, width, height, version: self.file.version(), may_rename, landmarks }, pixels))
    }

    /// Refuses points outside the image, which training would refuse. Those that the file has already may stay.
    fn check_inside(&self, image: &str, size: (u32, u32), landmarks: &[Landmark]) -> Result<()> {
        let before = self.file.landmarks(image, size)?;
        let placed = landmarks.iter().filter(|landmark| !before.contains(landmark));
        let outside = placed.filter_map(|l| Some((&l.name, l.point?))).find(|&(_, point)| !inside(point, size));
        match outside {
            Some((name, [x, y])) => {
                let cause = format!("({x}, {y}) is outside the {}x{} image; move the point into it", size.0, size.1);
                Err(Error::input_at(self.file.path(), format!("image {image:?}, landmark {name:?}"), cause))
            }
            None => Ok(()),
        }
    }

    /// Saves the landmarks of an image that was opened.
    ///
    /// # Errors
    /// [`Error::Usage`] for an image that was not opened, [`Error::Input`] for a point outside it; those of the landmark file.
    pub fn save(&mut self, edited: &Edited) -> Result<Outcome> {
        let opened = self.images.get(edited.image).and_then(|image| Some((image.name.clone(), image.size?)));
        let (name, size) = opened.ok_or_else(|| Error::Usage(format!("image {} is not open", edited.image)))?;
        self.check_inside(&name, size, &edited.landmarks)?;
        Ok(match self.file.save(&name, size, &edited.landmarks, edited.version, edited.force)? {
            Save::Conflict(cause) => Outcome::Conflict(cause),
            Save::Done(copy) => Outcome::Saved {
                version: self.file.version(),
                may_rename: self.file.may_rename(&name),
                score: self.file.labels().row(&name).and_then(lowest_score),
                copy: copy.map(|path| path.display().to_string()),
            },
        })
    }
}

/// Whether a point is on a pixel of an image of `width` x `height`.
fn inside([x, y]: Point, (width, height): (u32, u32)) -> bool {
    let inside = |v: f64, extent: u32| (-0.5..=f64::from(extent) - 0.5).contains(&v); // false for NaN
    inside(x, width) && inside(y, height)
}

fn lowest_score(row: &LabelRow) -> Option<f64> {
    row.scores.iter().flatten().copied().min_by(f64::total_cmp)
}
