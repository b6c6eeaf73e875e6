//! `onemark man`: the manual page, of the program or of one subcommand.

use crate::{Error, Result};
use clap::CommandFactory;

/// Print a manual page in roff: `onemark man | man -l -`.
#[derive(clap::Args)]
pub struct Args {
    /// The subcommand whose page is wanted [default: that of the program].
    subcommand: Option<String>,
}

pub fn run(args: Args) -> Result<u8> {
    let mut program = super::Cli::command();
    program.build();
    let command = match &args.subcommand {
        None => program,
        Some(name) => {
            let known = program.get_subcommands().map(|c| c.get_name().to_string()).collect::<Vec<_>>().join(", ");
            let found = program.find_subcommand(name).cloned();
            found.ok_or_else(|| Error::Usage(format!("no subcommand `{name}`; there are {known}")))?
        }
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(|e| Error::io("stdout", "write", e))?;
    super::print(String::from_utf8_lossy(&page))?;
    Ok(0)
}
