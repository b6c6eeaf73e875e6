//! `onemark convert`: landmark files from one format to another.

use crate::data::images::expand_inputs;
use crate::data::labels::formats::{self, FORMATS, Format, Images, LabelFile, Spacing};
use crate::{Error, Result};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;

/// Convert landmark files between formats.
///
/// What a format cannot hold is said on stderr. `train`, `eval` and `compare` read all of these formats too, and `detect`
/// writes them.
#[derive(clap::Args)]
pub struct Args {
    /// Landmark file, or folder of files with one image each; the format is told by the content.
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// File or folder to write; the format is told by the ending. What is there is not replaced.
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Format of IN, where its content does not tell: one of those of --to, or fcsv.
    #[arg(long, value_name = "FORMAT", value_parser = format_parser(|_| true), hide_possible_values = true)]
    from: Option<&'static Format>,
    /// Format of OUT.
    #[arg(long, value_name = "FORMAT", value_parser = writable())]
    to: Option<&'static Format>,
    /// Images: files, folders or patterns, for formats that hold no image sizes.
    #[arg(long, value_name = "IMAGES", num_args = 1..)]
    images: Vec<String>,
    /// New names of the landmarks, in their order.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    names: Vec<String>,
    /// Millimetres a pixel, for positions in millimetres (3D Slicer) and the scale of TPS.
    #[arg(long, value_name = "MM")]
    spacing: Option<f64>,
    /// Say nothing on stderr but errors.
    #[arg(long, short)]
    quiet: bool,
}

/// A format by its name, of those that can be written.
pub fn writable() -> impl TypedValueParser<Value = &'static Format> {
    format_parser(Format::is_written)
}

fn format_parser(of: fn(&Format) -> bool) -> impl TypedValueParser<Value = &'static Format> {
    let value = |format: &&'static Format| PossibleValue::new(format.name).help(format.about());
    let values: Vec<_> = FORMATS.iter().filter(|format| of(format)).collect();
    let names = PossibleValuesParser::new(values.iter().map(value));
    names.map(|name| Format::named(&name).expect("one of the possible values"))
}

pub fn run(args: Args) -> Result<u8> {
    let say = |notes: &[String], path: &PathBuf| {
        if !args.quiet {
            notes.iter().for_each(|note| super::note(format!("{}: {note}", path.display())));
        }
    };
    let to = args.to.map_or_else(|| Format::of_ending(&args.output), Ok)?;
    if args.spacing.is_some_and(|mm| !(mm.is_finite() && mm > 0.0)) {
        return Err(Error::Usage("--spacing must be above 0".into()));
    }
    let files = if args.images.is_empty() { vec![] } else { expand_inputs(&args.images)? };
    super::file_names(&files)?;
    let images = Images::of_files(&files);
    let file = LabelFile::open(&args.input, args.from)?;
    let from = file.format();
    let in_pixels = |format: &Format| matches!(format.spacing, Spacing::Unused | Spacing::Held);
    if args.spacing.is_some() && in_pixels(from) && in_pixels(to) {
        return Err(Error::Usage(format!("--spacing: {} and {} are in pixels", from.title, to.title)));
    }
    let found = file.read(&images, args.spacing)?;
    say(&found.notes, &args.input);
    let mut labels = found.labels;
    if !args.names.is_empty() {
        if args.names.len() != labels.names.len() {
            let (n, k) = (args.names.len(), labels.names.len());
            return Err(Error::Usage(format!("--names: {n} names for {k} landmarks, {}", labels.names.join(", "))));
        }
        labels.names = args.names;
    }
    let images: Vec<&str> = labels.rows.iter().map(|row| row.image.as_str()).collect();
    formats::refuse_existing(&formats::targets(&args.output, to, &labels.names, &images)?)?;
    say(&formats::write(&labels, &args.output, to, args.spacing)?, &args.output);
    Ok(0)
}
