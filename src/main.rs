//! The `onemark` program: parses its arguments and hands over to [`onemark::cli`].

use clap::Parser;
use onemark::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(code) => code.into(),
        Err(error) => {
            cli::complain(&error);
            error.exit_code().into()
        }
    }
}
