//! `onemark init`: all settings with their defaults, each under a comment that says what it is.
//!
//! The comments are those in the code, by way of the settings' JSON schema: there is no second text to keep in step.

use crate::data::files::write_atomic;
use crate::learn::config::Config;
use crate::{Error, Result};
use serde_json::Value;
use std::path::PathBuf;

/// Write a file with all settings, their defaults and what each means, for `onemark train --config`.
#[derive(clap::Args)]
pub struct Args {
    /// Where to; never replaced if it is there.
    #[arg(default_value = "onemark.toml")]
    file: PathBuf,
}

pub fn run(args: Args) -> Result<u8> {
    if args.file.exists() {
        return Err(Error::input(&args.file, "is there already; remove it, or name another file"));
    }
    write_atomic(&args.file, settings().as_bytes())?;
    super::print(format!("{}\n", args.file.display()))?;
    Ok(0)
}

/// A setting, or the head of a section.
struct Entry {
    /// Its dotted key.
    key: String,
    /// Its default as TOML; none for the head of a section.
    value: Option<String>,
    /// What the code says of it.
    doc: String,
}

/// All settings in the order of the code.
fn entries() -> Vec<Entry> {
    let schema = schemars::schema_for!(Config).to_value();
    let defaults = toml::to_string(&Config::default()).expect("settings are TOML");
    let mut section = String::new();
    let mut all = Vec::new();
    for line in defaults.lines().filter(|line| !line.is_empty()) {
        let (key, value) = match line.split_once(" = ") {
            Some((name, value)) => (section.clone() + name, Some(value.into())),
            None => {
                let name = line.trim_matches(['[', ']']);
                section = format!("{name}.");
                (name.into(), None)
            }
        };
        all.push(Entry { doc: doc(&schema, &key), key, value });
    }
    all
}

/// The comment of a key, and those of its values where they are a few words.
fn doc(root: &Value, key: &str) -> String {
    let mut at = root;
    for part in key.split('.') {
        at = &resolve(at, root)["properties"][part];
    }
    let text = |of: &Value| of["description"].as_str().unwrap_or_default().replace('\n', " ");
    let choices = resolve(at, root)["oneOf"].as_array();
    let choices = choices.into_iter().flatten().map(|choice| format!(" {}: {}", choice["const"], text(choice)));
    std::iter::once(text(at)).chain(choices).collect()
}

/// What a property's `$ref` refers to.
fn resolve<'a>(property: &'a Value, root: &'a Value) -> &'a Value {
    match property["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => root.pointer(pointer).unwrap_or(property),
        None => property,
    }
}

/// The commented file.
fn settings() -> String {
    let mut text =
        String::from("# Settings of `onemark train`, with their defaults. What is left out keeps its default.\n\n");
    for Entry { key, value, doc } in entries() {
        if value.is_none() {
            text.push('\n');
        }
        wrapped(&doc, 100).iter().for_each(|words| text += &format!("# {words}\n"));
        text += &match (value, key.rsplit('.').next()) {
            (Some(value), Some(name)) => format!("{name} = {value}\n"),
            _ => format!("[{key}]\n"),
        };
    }
    text
}

/// Words in lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("one line at least");
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(word.into());
        } else {
            let space = if line.is_empty() { "" } else { " " };
            *line += &format!("{space}{word}");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference page.
    fn reference() -> String {
        let mut text = String::from(
            "# Settings\n\nMade from the code's comments by a test of `src/cli/init.rs`; `onemark init` writes the same as a file to \
             edit. A\nsetting is given by `--config FILE` or `--set section.key=value`.\n\n| setting | default | what it is |\n|---|---|---|\n",
        );
        for Entry { key, value, doc } in entries() {
            text += &match value {
                None => format!("| **{key}** | | {doc} |\n"),
                Some(value) => format!("| `{key}` | `{value}` | {doc} |\n"),
            };
        }
        text
    }

    #[test]
    fn the_file_means_the_defaults_and_explains_everything() {
        let config: Config = toml::from_str(&settings()).unwrap();
        assert_eq!(config, Config::default());
        let bare: Vec<String> = entries().into_iter().filter(|e| e.doc.is_empty()).map(|e| e.key).collect();
        assert!(bare.is_empty(), "without a comment: {bare:?}");
        assert!(settings().lines().all(|line| line.len() <= 120));
    }

    #[test]
    fn the_reference_is_that_of_this_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
        if std::env::var_os("ONEMARK_WRITE_DOCS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == reference(), "docs/settings.md is old: ONEMARK_WRITE_DOCS=1 cargo test --lib reference");
    }
}
