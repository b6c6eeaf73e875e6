//! A run's folder: finished stages, and the checkpoint of the one in progress.
//!
//! Every file is written whole under a temporary name, synced and renamed: a crash, a kill or a full disk at any moment
//! leaves the last checkpoint readable.

use super::config::Config;
use super::labels::{Positions, PseudoLabels, UpdateLog};
use super::trainer::STATE;
use crate::data::files::{read_capped, remove_leftovers, write_atomic};
use crate::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a stage wrote down while it trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageLog {
    /// Loss of each step and landmark (one number a step for match).
    pub losses: Vec<Vec<f64>>,
    /// By landmark, where the pseudo-labels were before their first update.
    pub start: Vec<Positions>,
    /// Updates of pseudo-labels.
    pub updates: Vec<UpdateLog>,
}

/// What the training of a stage took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// Wall-clock seconds, over all calls that ended by themselves or were interrupted.
    pub seconds: f64,
    /// The device of the last.
    pub device: String,
}

/// The file of what stages took, in a run's folder: [`StageTime`] by stage.
pub const TIMES: &str = "times.json";

/// The state of a stage between two steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The stage.
    pub stage: String,
    /// Which part of the stage trains: its round, first landmark and number of landmarks.
    pub at: [usize; 3],
    /// Steps done.
    pub step: usize,
    /// Its pseudo-labels.
    pub labels: Vec<PseudoLabels>,
    /// Its log so far.
    pub log: StageLog,
    /// Parameters, moments and average.
    #[serde(skip)]
    pub state: Vec<Vec<f32>>,
}

impl Checkpoint {
    /// Whether it is of a model of `len` numbers, these pseudo-labels and so many steps; why not.
    pub fn fits(&self, len: usize, labels: Option<&[PseudoLabels]>, steps: usize) -> Result<(), String> {
        let expected = labels.unwrap_or_default();
        let alike = |(a, b): (&PseudoLabels, &PseudoLabels)| a.fits(b.points.len());
        if self.state.len() != STATE.len() || self.state.iter().any(|values| values.len() != len) {
            return Err("its parameters are of another model".into());
        }
        if self.labels.len() != expected.len() || !self.labels.iter().zip(expected).all(alike) {
            return Err("its pseudo-labels are of other images or landmarks".into());
        }
        match self.step > steps {
            true => Err(format!("it stands at step {} of {steps}", self.step)),
            false => Ok(()),
        }
    }
}

/// The settings of a run in its folder, as they were asked for; its weights have them with the resolutions that fit its images.
pub const CONFIG: &str = "config.toml";
/// The file of a stage's checkpoint in a run's folder: each stage has its own, so that none costs another its steps.
pub fn checkpoint_file(stage: &str) -> String {
    format!("checkpoint-{stage}.safetensors")
}

/// The largest file of a run that is read.
pub const MAX_BYTES: u64 = 16 << 30;

/// The folder of a run.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Held while it is written to; nothing for who only reads, and where the file system has no locks.
    _lock: Option<Arc<File>>,
}

impl RunDir {
    /// Opens or creates a folder to write into; what a killed write left there is removed.
    ///
    /// # Errors
    /// [`Error::Input`] if another process has it open so.
    pub fn create(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|e| Error::io(path, "create", e))?;
        // The folder itself, or where the system does not open folders a file in it.
        let lock = match cfg!(windows) {
            true => File::options().write(true).create(true).truncate(false).open(path.join(".lock")).ok(),
            false => File::open(path).ok(),
        };
        if let Some(Err(TryLockError::WouldBlock)) = lock.as_ref().map(File::try_lock) {
            return Err(Error::input(
                path,
                "another onemark writes into this folder; wait for it, or name another --out",
            ));
        }
        remove_leftovers(path, |_| true)?;
        Ok(Self { path: path.into(), _lock: lock.map(Arc::new) })
    }

    /// A folder to read from, of a run that may be going on.
    pub fn open(path: &Path) -> Self {
        Self { path: path.into(), _lock: None }
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether a file is there.
    pub fn has(&self, name: &str) -> bool {
        self.file(name).is_file()
    }

    /// The names of all its files.
    pub fn names(&self) -> Result<Vec<String>> {
        let io = |e| Error::io(&self.path, "read", e);
        let entries = self.path.read_dir().map_err(io)?.collect::<Result<Vec<_>, _>>().map_err(io)?;
        Ok(entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    /// Writes a value as JSON.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let json = serde_json::to_vec(value).map_err(|e| Error::input(self.file(name), e.to_string()))?;
        write_atomic(self.file(name), &json)
    }

    /// Reads a value that [`RunDir::write_json`] wrote.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.file(name);
        if !path.is_file() {
            return Err(Error::input(
                path,
                "is missing; delete the weights of its stage, and resume to train that stage again",
            ));
        }
        let remedy = "; delete it and the weights of its stage, and resume to train that stage again";
        serde_json::from_slice(&read_capped(&path, MAX_BYTES)?).map_err(|e| Error::input(&path, format!("{e}{remedy}")))
    }

    /// Writes the settings beside the results.
    pub fn set_config(&self, config: &Config) -> Result<()> {
        let path = self.file(CONFIG);
        let text = toml::to_string(config).map_err(|e| Error::input(&path, e.to_string()))?;
        write_atomic(&path, text.as_bytes())
    }

    /// Saves the state of the stage in progress.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<()> {
        let path = self.file(&checkpoint_file(&checkpoint.stage));
        let refuse = |e: safetensors::SafeTensorError| Error::input(&path, e.to_string());
        let header = serde_json::to_string(checkpoint).map_err(|e| Error::input(&path, e.to_string()))?;
        // In a tensor, since safetensors limits its metadata, and a log grows with the steps.
        let text = TensorView::new(Dtype::U8, vec![header.len()], header.as_bytes()).map_err(refuse)?;
        let mut views = vec![("header".to_string(), text)];
        for (index, values) in checkpoint.state.iter().enumerate() {
            let view = TensorView::new(Dtype::F32, vec![values.len()], bytemuck::cast_slice(values)).map_err(refuse)?;
            views.push((format!("state{index}"), view));
        }
        write_atomic(&path, &safetensors::serialize(views, None).map_err(refuse)?)
    }

    /// The state that a stage goes on from, if there is one.
    pub fn checkpoint(&self, stage: &str) -> Result<Option<Checkpoint>> {
        let name = checkpoint_file(stage);
        if !self.has(&name) {
            return Ok(None);
        }
        let path = self.file(&name);
        let remedy = "; delete it to train the stage from its start";
        let refuse = |cause: String| Error::input(&path, format!("damaged: {cause}{remedy}"));
        let bytes = read_capped(&path, MAX_BYTES)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| refuse(e.to_string()))?;
        let header = tensors.tensor("header").map_err(|e| refuse(e.to_string()))?;
        let mut checkpoint: Checkpoint = serde_json::from_slice(header.data()).map_err(|e| refuse(e.to_string()))?;
        for index in 0..tensors.len() - 1 {
            let view = tensors.tensor(&format!("state{index}")).map_err(|e| refuse(e.to_string()))?;
            checkpoint.state.push(bytemuck::pod_collect_to_vec(view.data()));
        }
        Ok(Some(checkpoint))
    }

    /// What the stages took so far.
    pub fn times(&self) -> Result<BTreeMap<String, StageTime>> {
        if !self.has(TIMES) {
            return Ok(BTreeMap::new());
        }
        let path = self.file(TIMES);
        serde_json::from_slice(&read_capped(&path, 1 << 20)?)
            .map_err(|e| Error::input(&path, format!("{e}; delete it: it only says what stages took")))
    }

    /// Adds to what a stage took.
    pub fn add_time(&self, stage: &str, seconds: f64, device: &str) -> Result<()> {
        let mut times = self.times()?;
        let time = times.entry(stage.into()).or_default();
        time.seconds = (1e3 * (time.seconds + seconds)).round() / 1e3;
        time.device = device.into();
        self.write_json(TIMES, &times)
    }

    /// Removes a file that is not needed any more.
    pub fn remove(&self, name: &str) -> Result<()> {
        match std::fs::remove_file(self.file(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(self.file(name), "remove", e)),
            _ => Ok(()),
        }
    }

    /// Removes the checkpoint of a finished stage.
    pub fn clear_checkpoint(&self, stage: &str) -> Result<()> {
        self.remove(&checkpoint_file(stage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_written_by_one_at_a_time() {
        let folder = std::env::temp_dir().join(format!("onemark-lock-{}", std::process::id()));
        let first = RunDir::create(&folder).unwrap();
        let other = first.clone();
        drop(first);
        let error = RunDir::create(&folder).unwrap_err().to_string();
        assert!(error.contains("another onemark writes into this folder"), "{error}");
        RunDir::open(&folder);
        drop(other);
        RunDir::create(&folder).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }
}
