//! Tuning files: variants that were the fastest on an adapter when `onemark tune` measured them.
//!
//! ```text
//! {"onemark": "0.1.0", "adapter": "Radeon 780M", "driver": "radv Mesa 25.0", "choices": [
//!     {"op": {"Conv2d": {..}}, "inputs": [[1,16,64,64,32], ..], "variant": "conv2d_large_vec4"}, ..]}
//! ```
//!
//! A device takes `tuning/<adapter>.json` below the user's cache folder for onemark (`$XDG_CACHE_HOME/onemark` or
//! `~/.cache/onemark`; `~/Library/Caches/onemark`; `%LOCALAPPDATA%\onemark`), or the file that the environment's
//! `ONEMARK_TUNING` names, none if that is empty; and only if adapter, driver and version are those that measured it. A choice
//! is taken only where the device could have taken that variant by itself, of which all have the same bits: no result depends on
//! tuning.

use super::info::DeviceInfo;
use super::shaders;
use crate::data::files::read_capped;
use crate::kernel::{Op, Shape};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A tuning file's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// The version that measured.
    pub onemark: String,
    /// The adapter's name.
    pub adapter: String,
    /// Its driver.
    pub driver: String,
    /// What was faster than what is chosen without a file.
    pub choices: Vec<Tuned>,
}

/// The variant of an operation at given shapes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    /// The operation.
    pub op: Op,
    /// Shapes of its inputs.
    pub inputs: Vec<Shape>,
    /// The shader variant.
    pub variant: String,
}

/// Variants by operation and shapes.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Choices(BTreeMap<String, String>);

/// Bytes that a file may have: choices for some ten thousand steps.
const MAX_BYTES: u64 = 8 << 20;
const VARIABLE: &str = "ONEMARK_TUNING";

impl Tuning {
    /// No choices yet, for an adapter.
    pub fn new(info: &DeviceInfo) -> Self {
        let onemark = env!("CARGO_PKG_VERSION").into();
        Self { onemark, adapter: info.name.clone(), driver: info.driver.clone(), choices: Vec::new() }
    }

    /// Where an adapter's file is looked for; none if the environment says so, or has no folder for it.
    pub fn path(info: &DeviceInfo) -> Option<PathBuf> {
        path(info, |name| std::env::var_os(name).map(PathBuf::from))
    }

    /// Reads a file for an adapter.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] if it is no tuning file, or of another adapter, driver or version.
    pub fn read(path: &Path, info: &DeviceInfo) -> Result<Self> {
        let bytes = read_capped(path, MAX_BYTES)?;
        let tuning: Self =
            serde_json::from_slice(&bytes).map_err(|e| Error::input(path, format!("no tuning file: {e}")))?;
        let own = Self::new(info);
        let pairs = [
            ("onemark", &tuning.onemark, &own.onemark),
            ("adapter", &tuning.adapter, &own.adapter),
            ("driver", &tuning.driver, &own.driver),
        ];
        if let Some((what, theirs, ours)) = pairs.into_iter().find(|(_, theirs, ours)| theirs != ours) {
            return Err(Error::input(path, format!("tuned for {what} {theirs}, this is {ours}; run `onemark tune`")));
        }
        let strange = tuning.choices.iter().find(|choice| shaders::find(&choice.variant).is_none());
        match strange {
            Some(choice) => Err(Error::input(path, format!("no tuning file: `{}` is no variant", choice.variant))),
            None => Ok(tuning),
        }
    }

    /// For look-ups.
    pub(crate) fn choices(&self) -> Choices {
        let entry = |choice: &Tuned| (key(&choice.op, &choice.inputs), choice.variant.clone());
        Choices(self.choices.iter().map(entry).collect())
    }
}

impl Choices {
    /// The variant for an operation, if one was chosen.
    pub fn get(&self, op: &Op, inputs: &[Shape]) -> Option<&str> {
        self.0.get(&key(op, inputs)).map(String::as_str)
    }
}

fn key(op: &Op, inputs: &[Shape]) -> String {
    serde_json::to_string(&(op, inputs)).expect("an operation is JSON")
}

fn path(info: &DeviceInfo, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    if let Some(file) = variable(VARIABLE) {
        return Some(file).filter(|file| !file.as_os_str().is_empty());
    }
    let set = |name: &str| variable(name).filter(|path| path.is_absolute());
    let cache = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        set("HOME").map(|home| home.join("Library/Caches"))
    } else {
        set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = info.name.chars().map(plain).collect();
    let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
    Some(cache?.join("onemark/tuning").join(words.join("-") + ".json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::conv2d_grad::Conv2dGradInput;

    fn info() -> DeviceInfo {
        DeviceInfo { name: "Radeon 780M (RADV)".into(), driver: "radv 25".into(), ..DeviceInfo::default() }
    }

    #[test]
    fn the_environment_says_where() {
        let at = |given: &[(&str, &str)]| {
            let given = given.to_vec();
            path(&info(), move |name| given.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
        };
        if cfg!(target_os = "linux") {
            let file = "onemark/tuning/radeon-780m-radv.json";
            assert_eq!(at(&[("HOME", "/home/a")]), Some(Path::new("/home/a/.cache").join(file)));
            assert_eq!(at(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "/c")]), Some(Path::new("/c").join(file)));
        }
        assert_eq!(at(&[(VARIABLE, "mine.json")]), Some("mine.json".into()));
        assert_eq!(at(&[("HOME", "/home/a"), (VARIABLE, "")]), None);
        assert_eq!(at(&[]), None);
    }

    #[test]
    fn files_of_others_and_damaged_ones_are_refused() {
        let op = Op::from(Conv2dGradInput { stride: 1, pad: 1, h: 4, w: 4 });
        let inputs = vec![[1, 1, 4, 4, 8].into(), [1, 8, 3, 3, 8].into()];
        let choice = Tuned { op: op.clone(), inputs: inputs.clone(), variant: "conv2d_grad_input_large_vec4".into() };
        let good = Tuning { choices: vec![choice.clone()], ..Tuning::new(&info()) };
        let file = std::env::temp_dir().join(format!("onemark-tuning-{}.json", std::process::id()));
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Tuning::read(&file, &info()).map_err(|e| e.to_string())
        };
        let json = |tuning: &Tuning| serde_json::to_string(tuning).unwrap();
        assert_eq!(read(&json(&good)), Ok(good.clone()));
        assert_eq!(good.choices().get(&op, &inputs), Some("conv2d_grad_input_large_vec4"));
        assert_eq!(good.choices().get(&op, &inputs[..1]), None);
        let other = Tuning { driver: "radv 24".into(), ..good.clone() };
        assert!(read(&json(&other)).unwrap_err().contains("tuned for driver radv 24, this is radv 25"));
        let other = Tuning { onemark: "0.0.1".into(), ..good.clone() };
        assert!(read(&json(&other)).unwrap_err().contains("tuned for onemark 0.0.1"));
        let other = Tuning { choices: vec![Tuned { variant: "conv9d".into(), ..choice }], ..good.clone() };
        assert!(read(&json(&other)).unwrap_err().contains("`conv9d` is no variant"));
        for text in ["", "[]", "{\"onemark\": 1}", &json(&good)[..40]] {
            assert!(read(text).unwrap_err().contains("no tuning file"), "{text}");
        }
        std::fs::remove_file(&file).unwrap();
        assert!(Tuning::read(&file, &info()).is_err());
    }
}
