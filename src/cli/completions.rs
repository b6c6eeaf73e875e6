//! `onemark completions`: what shells complete.

use crate::Result;
use clap::CommandFactory;

/// Print the completions of a shell, for its start-up file.
///
/// bash: `source <(onemark completions bash)`; zsh: the same, after `compinit`; fish: `onemark completions fish | source`.
#[derive(clap::Args)]
pub struct Args {
    /// The shell.
    shell: clap_complete::Shell,
}

pub fn run(args: Args) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "onemark", &mut script);
    super::print(String::from_utf8_lossy(&script))?;
    Ok(0)
}
