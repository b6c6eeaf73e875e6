//! `onemark export`: a model for other hosts than this program.

use super::outputs::keep_inputs;
use crate::Result;
use crate::data::files::write_atomic;
use crate::export::{bundle, onnx};
use crate::model::Model;
use std::path::PathBuf;

/// Write a model for another host.
#[derive(clap::Args)]
pub struct Args {
    /// Weights that `onemark train` wrote.
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// What is written.
    #[arg(long, value_enum)]
    format: Format,
    /// Where it goes; replaced if it is there.
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One file for ONNX runtimes: a grey image of any size in, landmarks and scores out.
    Onnx,
    /// A folder for WebGPU: plans, shaders and weights, and a page that detects in the browser.
    Bundle,
}

pub fn run(args: Args) -> Result<u8> {
    keep_inputs([&args.out], [&args.weights])?;
    let model = Model::read(&args.weights)?;
    match args.format {
        Format::Onnx => write_atomic(&args.out, &onnx::export(&model)?)?,
        Format::Bundle => bundle::export(&model, &args.out)?,
    }
    Ok(0)
}
