//! The settings of a run: defaults, a TOML file over them, `--set` over that.

use crate::data::files::read_capped;
use crate::data::labels::utf8;
use crate::learn::config::{Config, Fault};
use crate::nearest::edits;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

const MAX_BYTES: u64 = 1 << 20;

/// What the command line says of settings.
#[derive(clap::Args)]
pub struct Settings {
    /// Settings as TOML; `config.toml` in a run's folder shows all keys.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, over those of the file, such as single.steps=200; may be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of everything random, as --set seed=N [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
}

impl Settings {
    /// The settings over `base`.
    ///
    /// # Errors
    /// [`Error::Input`] with the place in the file, [`Error::Usage`] for what `--set` says.
    pub fn apply(&self, base: Config) -> Result<Config> {
        let mut config = base;
        // Where each key was set last, to blame it for what does not fit.
        let mut origin: BTreeMap<String, Option<usize>> = BTreeMap::new();
        if let Some(path) = &self.config {
            let (table, lines) = parse(path)?;
            for (key, value) in leaves(&table) {
                let line = lines.get(&key).copied().unwrap_or(1);
                assign(&mut config, &key, value)
                    .map_err(|cause| Error::input_at(path, format!("line {line}"), cause))?;
                origin.insert(key, Some(line));
            }
        }
        let seed = self.seed.map(|seed| format!("seed={seed}"));
        for set in self.set.iter().chain(&seed) {
            let usage = |cause: String| Error::Usage(format!("--set {set}: {cause}"));
            let (key, text) = set.split_once('=').ok_or_else(|| usage("expected KEY=VALUE".into()))?;
            assign(&mut config, key.trim(), value(text.trim())).map_err(usage)?;
            origin.insert(key.trim().into(), None);
        }
        config.faults().map_err(|Fault { key, cause }| match (&self.config, origin.get(&key)) {
            (Some(path), Some(Some(line))) => Error::input_at(path, format!("line {line}, {key}"), cause),
            (Some(path), None) => Error::input_at(path, key, cause),
            _ => Error::Usage(format!("{key}: {cause}")),
        })?;
        Ok(config)
    }
}

/// Reads the settings of a run.
///
/// # Errors
/// As [`Settings::apply`]; [`Error::Input`] too if one is missing: a run has all, and a default would be another run's.
pub fn read(path: &Path) -> Result<Config> {
    let held: BTreeSet<String> = leaves(&parse(path)?.0).into_iter().map(|(key, _)| key).collect();
    if let Some((key, _)) = leaves(&table(&Config::default())).iter().find(|(key, _)| !held.contains(key)) {
        let cause = format!("damaged: it has no `{key}`; restore it, or train into another --out");
        return Err(Error::input(path, cause));
    }
    Settings { config: Some(path.into()), set: vec![], seed: None }.apply(Config::default())
}

/// The first key in which two settings differ, with both values.
pub fn difference(a: &Config, b: &Config) -> Option<(String, Value, Value)> {
    let pairs = leaves(&table(a)).into_iter().zip(leaves(&table(b)));
    pairs.map(|((key, a), (_, b))| (key, a, b)).find(|(_, a, b)| a != b)
}

fn table(config: &Config) -> Table {
    Table::try_from(config).expect("settings are TOML")
}

/// A TOML file's table, and the line of each of its keys.
fn parse(path: &Path) -> Result<(Table, BTreeMap<String, usize>)> {
    let text = utf8(read_capped(path, MAX_BYTES)?, path)?;
    let line = |at: usize| 1 + text.as_bytes()[..at.min(text.len())].iter().filter(|&&b| b == b'\n').count();
    let bad = |e: toml::de::Error| {
        Error::input_at(path, format!("line {}", line(e.span().map_or(0, |s| s.start))), e.message())
    };
    let spans = DeTable::parse(&text).map_err(bad)?;
    let mut lines = BTreeMap::new();
    mark(spans.get_ref(), "", &line, &mut lines);
    Ok((text.parse().map_err(bad)?, lines))
}

fn mark(table: &DeTable, prefix: &str, line: &impl Fn(usize) -> usize, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        lines.insert(path.clone(), line(key.span().start));
        if let DeValue::Table(inner) = value.get_ref() {
            mark(inner, &format!("{path}."), line, lines);
        }
    }
}

/// All values by dotted key; a table without any is one itself.
fn leaves(table: &Table) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) if !inner.is_empty() => {
                all.extend(leaves(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            value => all.push((key.clone(), value.clone())),
        }
    }
    all
}

/// A value as TOML has it; a word needs no quotes.
fn value(text: &str) -> Value {
    let parsed = format!("v = {text}").parse::<Table>().ok().filter(|table| table.len() == 1);
    parsed.and_then(|mut table| table.remove("v")).unwrap_or_else(|| Value::String(text.into()))
}

/// Sets one key, or says why not.
fn assign(config: &mut Config, key: &str, value: Value) -> Result<(), String> {
    let mut settings = table(config);
    let mut parts = key.split('.').peekable();
    let mut inside = &mut settings;
    while let Some(part) = parts.next() {
        let unknown = || format!("unknown key `{key}`; did you mean `{}`?", nearest(key));
        match (inside.get_mut(part).ok_or_else(unknown)?, parts.peek()) {
            (Value::Table(inner), Some(_)) => inside = inner,
            (Value::Table(_), None) if value.as_table().is_some_and(Table::is_empty) => return Ok(()),
            (Value::Table(_), None) => return Err(format!("`{key}` is a section, not a value")),
            (_, Some(_)) => return Err(unknown()),
            (slot, None) => {
                *slot = match (&*slot, value) {
                    (Value::Float(_), Value::Integer(i)) => Value::Float(i as f64),
                    (_, value) => value,
                };
                break;
            }
        }
    }
    *config = settings
        .try_into()
        .map_err(|e: toml::de::Error| format!("`{key}`: {}", e.message().lines().next().unwrap_or_default()))?;
    Ok(())
}

/// The key or section that `key` is most likely a misspelling of.
fn nearest(key: &str) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_string();
    let mut known: Vec<String> = leaves(&table(&Config::default())).into_iter().map(|(key, _)| key).collect();
    if !key.contains('.') {
        known.extend(table(&Config::default()).keys().cloned());
    }
    // A key in the wrong section is as likely as two slips in its name.
    let cost = |k: &String| {
        let whole = edits(key, k);
        (whole.min(2 + 2 * edits(&last(key), &last(k))), whole)
    };
    known.into_iter().min_by_key(cost).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[&str]) -> Result<Config, String> {
        let set = pairs.iter().map(|s| s.to_string()).collect();
        Settings { config: None, set, seed: None }.apply(Config::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn values_keep_the_rest_of_their_section() {
        let config = set(&["match.augment.rotation=3", "crop.channels=[8, 16]", "initial_labels=random"]).unwrap();
        assert_eq!((config.matching.augment.rotation, config.matching.augment.blur), (3.0, 0.0));
        assert_eq!(config.crop.channels, [8, 16]);
        let (key, a, b) = difference(&config, &Config::default()).unwrap();
        assert_eq!(
            (key.as_str(), a.to_string(), b.to_string()),
            ("crop.channels", "[8, 16]".into(), "[16, 32, 64]".into())
        );
        assert_eq!(difference(&config, &config), None);
        let text = toml::to_string(&config).unwrap();
        assert_eq!(text.parse::<Table>().unwrap().try_into::<Config>().unwrap(), config);
    }

    #[test]
    fn faults_say_what_was_meant() {
        for (pair, expected) in [
            ("single.stpes=3", "unknown key `single.stpes`; did you mean `single.steps`?"),
            ("singel.steps=3", "did you mean `single.steps`?"),
            ("lr=3", ".optimizer.lr`?"),
            ("singel=3", "did you mean `single`?"),
            ("single=3", "`single` is a section"),
            ("single.steps.x=3", "unknown key"),
            ("single.steps=-3", "--set single.steps=-3: `single.steps`: invalid value"),
            ("single.steps=many", "`single.steps`: invalid type: string \"many\""),
            ("initial_labels=none", "`initial_labels`: unknown variant `none`"),
            ("single.steps=0", "single.steps: 0 is not between"),
            ("steps", "expected KEY=VALUE"),
        ] {
            let message = set(&[pair]).unwrap_err();
            assert!(message.contains(expected), "{pair}: {message}");
        }
    }
}
