//! `onemark merge`: parts of the single stage that were trained apart, put together.

use super::run_info::RunInfo;
use crate::data::files::{read_capped, write_atomic};
use crate::learn::checkpoint::{CONFIG, MAX_BYTES, RunDir};
use crate::learn::dataset::Dataset;
use crate::learn::pipeline::{PROPOSALS, log_file, weights_file};
use crate::learn::rounds::{Part, Rounds, is_part_of, parts_among, round_file};
use crate::model::{Kind, Model};
use crate::{Error, Result};
use std::collections::BTreeMap;
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

pub fn run(args: Args) -> Result<u8> {
    let begun = args.out.join(RunInfo::FILE).is_file();
    let folder = if begun { &args.out } else { &args.parts[0] };
    if !begun && args.out.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::input(&args.out, "holds files, but no run; empty it, or name another --out"));
    }
    let (run, info) = (RunDir::open(folder), RunInfo::read(folder)?);
    let matcher = weights_file(Kind::Match);
    // The settings as trained: with the resolutions that fit these images.
    let header = Model::read(&run.file(&matcher))?.header;
    let sizes: Vec<[usize; 2]> = info.images.iter().map(|image| [image.width, image.height]).collect();
    let local = Dataset::blank(&sizes, header.config.local_side);
    let template = info.images.iter().position(|image| image.name == info.template);
    let template =
        template.ok_or_else(|| Error::input(run.file(RunInfo::FILE), "names a template that is no image of it"))?;
    let (k, total) = (info.landmarks.len(), header.config.single.rounds.len());
    let round = Rounds::new(&run, &header.config, &local, template, k).next();
    if !begun && round == total {
        return Err(Error::input(folder, "all its rounds are finished: there is nothing to merge"));
    }

    // All is read and compared before anything is written.
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    if !begun {
        let rounds = (0..round).map(round_file);
        let names = [CONFIG, &matcher, &log_file(Kind::Match), PROPOSALS, RunInfo::FILE].map(String::from);
        for name in names.into_iter().chain(rounds) {
            files.insert(name.clone(), read_capped(run.file(&name), MAX_BYTES)?);
        }
    }
    for part in &args.parts {
        let from = RunDir::open(part);
        if let Some(what) = info.difference(&RunInfo::read(part)?) {
            let cause = format!("is of another {what} than {}; only parts of one run are merged", folder.display());
            return Err(Error::input(part, cause));
        }
        // Those of other rounds are of no use here.
        let names = from.names()?;
        let parts: Vec<&String> = names.iter().filter(|name| is_part_of(round, name)).collect();
        let labels = (round > 0 && !parts.is_empty()).then(|| round_file(round - 1));
        for name in [CONFIG, &matcher].into_iter().chain(labels.as_deref()) {
            if read_capped(from.file(name), MAX_BYTES)? != read_capped(run.file(name), MAX_BYTES)? {
                let cause = format!("differs from that of {}; only parts of one run are merged", folder.display());
                return Err(Error::input(from.file(name), cause));
            }
        }
        for name in parts {
            let bytes = read_capped(from.file(name), MAX_BYTES)?;
            serde_json::from_slice::<Part>(&bytes)
                .map_err(|e| Error::input(from.file(name), format!("damaged: {e}; train this part again")))?;
            let there = match begun && run.has(name) {
                true => Some(read_capped(run.file(name), MAX_BYTES)?),
                false => None,
            };
            if files.get(name).or(there.as_ref()).is_some_and(|other| *other != bytes) {
                let cause = "another folder has a part of this name with another content; delete one of the two";
                return Err(Error::input(from.file(name), cause));
            }
            files.insert(name.clone(), bytes);
        }
    }
    let held = if begun { run.names()? } else { vec![] };
    parts_among(held.iter().chain(files.keys()), round, k).map_err(|(name, cause)| {
        let from = args.parts.iter().chain([&args.out]).map(|folder| folder.join(&name)).find(|path| path.is_file());
        Error::input(from.unwrap_or_else(|| name.into()), cause)
    })?;
    let to = RunDir::create(&args.out)?;
    let last = files.remove_entry(RunInfo::FILE); // with it the folder is a run
    for (name, bytes) in files.into_iter().chain(last) {
        write_atomic(to.file(&name), &bytes)?;
    }

    let stage = Rounds::new(&to, &header.config, &local, template, k);
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
