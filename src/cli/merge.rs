//! `onemark merge`: parts of the single stage that were trained apart, put together.

use super::run_info::RunInfo;
use crate::data::files::{read_capped, write_atomic};
use crate::learn::checkpoint::{CONFIG, RunDir};
use crate::learn::dataset::Dataset;
use crate::learn::pipeline::{PROPOSALS, log_file, weights_file};
use crate::learn::rounds::{self, Rounds};
use crate::model::{Kind, Model};
use crate::{Error, Result};
use std::path::PathBuf;

/// Put together what `onemark train --part` left in several folders.
///
/// All must be of the same images, landmarks and settings, with the same matcher. Once every landmark of a round is there, the
/// round is finished: the last one leaves the single models, with the bytes of a training in one piece.
#[derive(clap::Args)]
pub struct Args {
    /// Folders of runs that trained parts.
    #[arg(required = true)]
    parts: Vec<PathBuf>,
    /// Folder of the run that gets them; begun as a copy of the first part's if it is not there.
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
}

const MAX_BYTES: u64 = 16 << 30;

pub fn run(args: Args) -> Result<u8> {
    let to = RunDir::create(&args.out)?;
    let (matcher, log) = (weights_file(Kind::Match), log_file(Kind::Match));
    if !to.has(RunInfo::FILE) {
        let first = RunDir::open(&args.parts[0]);
        for name in [CONFIG, &matcher, &log, PROPOSALS, RunInfo::FILE] {
            write_atomic(to.file(name), &read_capped(first.file(name), MAX_BYTES)?)?;
        }
    }
    let info = RunInfo::read(&args.out)?;
    for part in &args.parts {
        let from = RunDir::open(part);
        info.same(&RunInfo::read(part)?).map_err(|what| {
            Error::input(
                part,
                format!("is of another {what} than {}; only parts of one run are merged", args.out.display()),
            )
        })?;
        for name in [CONFIG, &matcher] {
            if read_capped(from.file(name), MAX_BYTES)? != read_capped(to.file(name), MAX_BYTES)? {
                let cause = format!("differs from that of {}; only parts of one run are merged", args.out.display());
                return Err(Error::input(from.file(name), cause));
            }
        }
        for name in from.names()?.iter().filter(|name| rounds::is_part(name)) {
            write_atomic(to.file(name), &read_capped(from.file(name), MAX_BYTES)?)?;
        }
    }

    // The settings as trained: with the resolutions that fit these images.
    let header = Model::read(&to.file(&matcher))?.header;
    let sizes: Vec<[usize; 2]> = info.images.iter().map(|image| [image.width, image.height]).collect();
    let local = Dataset::blank(&sizes, header.config.local_side);
    let template = info.images.iter().position(|image| image.name == info.template);
    let template =
        template.ok_or_else(|| Error::input(to.file(RunInfo::FILE), "names a template that is no image of it"))?;
    let (k, total) = (info.landmarks.len(), header.config.single.rounds.len());
    let stage = Rounds::new(&to, &header.config, &local, template, k);
    let round = stage.next();
    let missing = if round < total { stage.missing(round, 0..k)? } else { vec![] };
    let text = if !missing.is_empty() {
        let list = missing.iter().map(|gap| format!("{}..{}", gap.start, gap.end)).collect::<Vec<_>>().join(", ");
        format!("round {} of {total}: landmarks {list} are still to be trained", round + 1)
    } else if round < total {
        stage.finish(round)?;
        match round + 1 < total {
            true => {
                format!("round {} of {total} is finished; train the parts of the next in copies of this run", round + 1)
            }
            false => format!("{}", to.file(&weights_file(Kind::Single)).display()),
        }
    } else {
        "all rounds were finished before".into()
    };
    super::print(text + "\n")?;
    Ok(0)
}
