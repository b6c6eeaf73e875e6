//! The landmarks of `onemark detect` on their way into the file, and what a later `--resume` needs to know of them.
//!
//! Rows say nothing of the weights and pixels that they come from. So while images are left, a file beside the rows says
//! it, and `--resume` keeps a row only by its word. It is written after the rows, and an old one is removed before the
//! first of them: at no moment does it speak for a row that it does not know.

use super::detect::Job;
use crate::data::files::{fingerprint, read_capped, remove_leftovers, write_atomic};
use crate::data::labels::{LabelRow, Labels, MAX_FILE_BYTES};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SAVE_EVERY: Duration = Duration::from_secs(3);

/// What the rows come from.
#[derive(Serialize, Deserialize)]
struct Origin {
    /// The program's version.
    onemark: String,
    /// Fingerprint of the weights.
    weights: String,
    /// The score below which points were left out.
    min_score: Option<f64>,
    /// By file name, those with a row.
    images: BTreeMap<String, Seen>,
}

/// An image that has a row.
#[derive(Serialize, Deserialize)]
struct Seen {
    /// Fingerprint of the file.
    file: String,
    /// Where its picture was drawn.
    overlay: Option<PathBuf>,
}

/// The rows so far.
pub struct Sheet {
    out: PathBuf,
    names: Vec<String>,
    rows: BTreeMap<String, LabelRow>,
    origin: Origin,
    /// When the file was last written.
    saved: Option<Instant>,
}

impl Sheet {
    /// An empty one, about to replace what the file holds.
    pub fn new(out: &Path, weights: &Path, min_score: Option<f64>, names: &[String]) -> Result<Self> {
        let (onemark, weights) = (env!("CARGO_PKG_VERSION").into(), fingerprint(weights)?);
        let origin = Origin { onemark, weights, min_score, images: BTreeMap::new() };
        Ok(Self { out: out.into(), names: names.into(), rows: BTreeMap::new(), origin, saved: None })
    }

    /// Takes over the rows of the file that the same weights and score found in the same images; returns how many others are to be made
    /// again.
    ///
    /// # Errors
    /// [`Error::Input`] for a file with rows that cannot be kept and would be lost.
    pub fn resume(&mut self, jobs: &[Job]) -> Result<usize> {
        if !self.out.is_file() {
            return Ok(0);
        }
        let labels = Labels::read(&self.out)?;
        if labels.names != self.names {
            let cause = format!(
                "holds the landmarks {}, but the weights find {}; write into another --out",
                labels.names.join(", "),
                self.names.join(", ")
            );
            return Err(Error::input(&self.out, cause));
        }
        let lost = |cause: &str| {
            let remedy = "--resume would lose them; write into another --out, or delete the file to begin anew";
            Error::input(&self.out, format!("{cause}: {remedy}"))
        };
        let path = self.origin_file();
        if !path.is_file() {
            return Err(lost("finished, or corrected since: nothing beside it says which weights its rows are from"));
        }
        let mut before: Origin = serde_json::from_slice(&read_capped(&path, MAX_FILE_BYTES)?)
            .map_err(|e| lost(&format!("{} is damaged ({e}), which says what its rows are from", path.display())))?;
        if (&before.onemark, &before.weights) != (&self.origin.onemark, &self.origin.weights) {
            return Err(lost("its rows are from other weights, or another version of the program"));
        }
        if before.min_score != self.origin.min_score {
            let said =
                |score: Option<f64>| score.map_or("no --min-score".into(), |score| format!("--min-score {score}"));
            let (old, new) = (said(before.min_score), said(self.origin.min_score));
            return Err(lost(&format!("its rows were found with {old}, not {new}")));
        }
        let named: HashSet<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
        let stranger = |row: &&LabelRow| !before.images.contains_key(&row.image) && !named.contains(row.image.as_str());
        if let Some(row) = labels.rows.iter().find(stranger) {
            return Err(lost(&format!("its row of {:?} is not of this detection", row.image)));
        }
        let changed = |job: &&Job| {
            let seen = before.images.get(&job.name);
            seen.is_some_and(|seen| !job.path.is_file() || fingerprint(&job.path).map_or(true, |now| now != seen.file))
        };
        let changed: HashSet<&str> = jobs.par_iter().filter(changed).map(|job| job.name.as_str()).collect();
        before.images.retain(|name, _| !changed.contains(name.as_str()));
        let all = labels.rows.len();
        let rows = labels.rows.into_iter().filter(|row| before.images.contains_key(&row.image));
        self.rows = rows.map(|row| (row.image.clone(), row)).collect();
        before.images.retain(|name, _| self.rows.contains_key(name));
        self.origin = before;
        Ok(all - self.rows.len())
    }

    /// Removes what an earlier detection left beside the file, but not what still speaks for the rows.
    pub fn tidy(&self) -> Result<()> {
        if self.rows.is_empty() {
            self.complete()?;
        }
        let names = [&self.out, &self.origin_file()].map(|path| path.file_name().map(ToOwned::to_owned));
        let folder = self.out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        remove_leftovers(folder, |name| names.iter().flatten().any(|own| own == name))
    }

    /// Landmark names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether an image has its row.
    pub fn has(&self, job: &Job) -> bool {
        self.rows.contains_key(&job.name)
    }

    /// The row of an image that has one.
    pub fn row(&self, job: &Job) -> &LabelRow {
        &self.rows[&job.name]
    }

    /// Whether the picture of an image's row is there.
    pub fn drawn(&self, job: &Job, picture: &Path) -> bool {
        picture.is_file() && self.origin.images[&job.name].overlay.as_deref() == Some(picture)
    }

    /// Notes that an image's row has its picture.
    pub fn mark_drawn(&mut self, job: &Job) {
        if let Some(seen) = self.origin.images.get_mut(&job.name) {
            seen.overlay = job.overlay.clone();
        }
    }

    /// Adds the row of an image, whose file has a fingerprint, and whose picture, if it is to have one, is drawn.
    pub fn add(&mut self, job: &Job, file: String, row: LabelRow, jobs: &[Job]) -> Result<()> {
        let seen = Seen { file, overlay: job.overlay.clone() };
        self.origin.images.insert(job.name.clone(), seen);
        self.rows.insert(job.name.clone(), row);
        let due = self.saved.is_none_or(|saved| saved.elapsed() >= SAVE_EVERY);
        if due { self.save(jobs) } else { Ok(()) }
    }

    /// The rows in the order of the images, then those of other images that the file had.
    pub fn labels(&self, jobs: &[Job]) -> Labels {
        let asked: HashSet<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
        let first = jobs.iter().filter_map(|job| self.rows.get(&job.name));
        let others = self.rows.values().filter(|row| !asked.contains(row.image.as_str()));
        Labels { names: self.names.clone(), rows: first.chain(others).cloned().collect() }
    }

    /// Writes the rows, then their origin.
    pub fn save(&mut self, jobs: &[Job]) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.labels(jobs).write(&self.out)?;
        let origin = serde_json::to_vec(&self.origin).map_err(|e| Error::input(self.origin_file(), e.to_string()))?;
        write_atomic(self.origin_file(), &origin)?;
        self.saved = Some(Instant::now());
        Ok(())
    }

    /// All images have their rows: nothing is left to resume.
    pub fn complete(&self) -> Result<()> {
        let path = self.origin_file();
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, "remove", e)),
            _ => Ok(()),
        }
    }

    /// The file that says what the rows come from.
    fn origin_file(&self) -> PathBuf {
        let mut name = self.out.clone().into_os_string();
        name.push(".resume.json");
        name.into()
    }
}
