//! The command line: one file a subcommand, and here what they share.
//!
//! Results go to stdout or into files, everything else to stderr. A failure is one line on stderr and an exit code.

mod annotate;
mod bench;
mod compare;
mod completions;
mod config;
mod contest;
mod convert;
mod demo;
mod detect;
mod devices;
mod doctor;
mod eval;
mod export;
mod init;
mod inspect;
mod man;
mod merge;
mod outputs;
mod pages;
mod profile;
mod progress;
mod pseudo_labels;
mod run_info;
mod sheet;
mod train;
mod tune;

use crate::data::images::{Image, read_image};
use crate::data::labels::Labels;
use crate::data::labels::formats::{Images, LabelFile};
use crate::device::Device;
use crate::kernel::Element;
use crate::timing;
use crate::{Error, Result};
use clap::{Parser, Subcommand};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Anatomical landmark detection from one annotated image.
#[derive(Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 2 usage, 3 bad input, 4 no device, 5 device lost, \
                        6 verification failed, 7 interrupted and resumable.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Annotate(annotate::Args),
    Train(train::Args),
    Merge(merge::Args),
    Detect(detect::Args),
    Eval(eval::Args),
    Compare(compare::Args),
    Convert(convert::Args),
    Bench(bench::Args),
    Tune(tune::Args),
    Profile(profile::Args),
    Devices(devices::Args),
    Inspect(inspect::Args),
    Export(export::Args),
    Init(init::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Does what the arguments say; returns the exit code.
pub fn run(cli: Cli) -> Result<u8> {
    match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Annotate(args) => annotate::run(args),
        Command::Train(args) => train::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Detect(args) => detect::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Tune(args) => tune::run(args),
        Command::Profile(args) => profile::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Export(args) => export::run(args),
        Command::Init(args) => init::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}

/// Options of every command that computes.
#[derive(clap::Args)]
pub struct Compute {
    /// Where to compute: auto, cpu, gpu, gpu:NUMBER or gpu:NAME.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: String,
    /// CPU threads [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Say nothing on stderr but errors.
    #[arg(long, short)]
    pub quiet: bool,
    /// Progress on stderr: a line for people, or a JSON object a line for programs.
    #[arg(long, value_enum, default_value = "text", value_name = "FORM", conflicts_with = "quiet")]
    pub progress: progress::Form,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

impl Compute {
    /// Runs `work` on the CPU threads that were asked for.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        IN_JSON.store(self.progress == progress::Form::Json, Ordering::Relaxed);
        let Some(threads) = self.threads else { return work() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build();
        pool.map_err(|e| Error::Usage(format!("cannot start {threads} threads: {e}")))?.install(work)
    }

    /// The device that was asked for; says which it is.
    pub fn select(&self) -> Result<Device> {
        self.select_storing(Element::F32)
    }

    /// The same, with what it computes stored like this.
    pub fn select_storing(&self, storage: Element) -> Result<Device> {
        let (device, why) = Device::select(&self.device)?;
        self.note(format!("device: {why}"));
        let device = device.storing(storage)?;
        device.notes().iter().for_each(|note| self.note(note));
        Ok(if traced() { device.observed(Arc::new(trace)) } else { device })
    }

    /// What shows how far the work is.
    pub fn meter(&self) -> progress::Meter {
        progress::Meter::new(if self.quiet { None } else { Some(self.progress) })
    }

    /// Labels of any format; says what was left out or assumed. The spacing, millimetres a pixel, is for formats in millimetres.
    pub fn read_labels(&self, path: &Path, images: &Images, spacing: Option<f64>) -> Result<Labels> {
        let found = LabelFile::open(path, None)?.read(images, spacing)?;
        found.notes.iter().for_each(|note| self.note(format!("{}: {note}", path.display())));
        Ok(found.labels)
    }

    /// A line on stderr, unless quiet.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            note(text);
        }
    }
}

/// Whether a name contains one of these parts, if there are any.
fn named(parts: &[String], name: &str) -> bool {
    parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()))
}

/// A time on the command line.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "not between 0 and 3600".into())
}

/// Whether `ONEMARK_TRACE=1` asks for a line on stderr for every step that a device does.
fn traced() -> bool {
    std::env::var("ONEMARK_TRACE").is_ok_and(|value| value != "0")
}

fn trace(run: &timing::Run) {
    timing::lines(run).iter().for_each(note);
}

/// Whether a program reads stderr: all of it is then an object a line.
static IN_JSON: AtomicBool = AtomicBool::new(false);

/// A line on stderr; that it cannot be written is no reason to stop.
pub fn note(text: impl AsRef<str>) {
    say("note", "", text.as_ref());
}

/// An error on stderr, in one line.
pub fn complain(error: &Error) {
    say("error", "error: ", &error.to_string());
}

/// A line on stderr, for people behind a prefix, for programs under a key.
fn say(key: &str, prefix: &str, text: &str) {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = match IN_JSON.load(Ordering::Relaxed) {
        true => serde_json::json!({ key: text }).to_string(),
        false => format!("{prefix}{text}"),
    };
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Text to stdout. Whoever reads may stop reading.
pub fn print(text: impl AsRef<str>) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_ref().as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::io("stdout", "write", e)),
        _ => Ok(()),
    }
}

/// A value to stdout as JSON.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value).map_err(|e| Error::input("stdout", e.to_string()))?;
    print(json + "\n")
}

/// The file names of images: labels go by them, so they must differ.
pub fn file_names(paths: &[PathBuf]) -> Result<Vec<String>> {
    let mut seen: HashMap<&str, &Path> = HashMap::new();
    let mut names = Vec::new();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Error::input(path, "its file name is not UTF-8; rename it"))?;
        if let Some(first) = seen.insert(name, path) {
            let cause = format!("has the file name of {}, and labels go by file names; rename one", first.display());
            return Err(Error::input(path, cause));
        }
        names.push(name.to_string());
    }
    Ok(names)
}

/// The command line as it was typed.
pub fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    std::iter::once("onemark".to_string()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Reads images side by side; fails with the first that cannot be read, and names the others.
pub fn read_images(paths: &[PathBuf]) -> Result<Vec<Image>> {
    let images: Vec<Result<Image>> = paths.par_iter().map(read_image).collect();
    let failed: Vec<&Path> =
        paths.iter().zip(&images).filter(|(_, image)| image.is_err()).map(|(path, _)| &**path).collect();
    if failed.len() > 1 {
        let names = failed[1..].iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        note(format!("{} other images cannot be read either: {names}", failed.len() - 1));
    }
    images.into_iter().collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_arguments_are_consistent() {
        <super::Cli as clap::CommandFactory>::command().debug_assert();
    }
}
