//! The `onemark` program: parses its arguments and hands over to [`onemark::cli`].

use clap::Parser;
use onemark::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    quiet_vulkan();
    match cli::run(cli::Cli::parse()) {
        Ok(code) => code.into(),
        Err(error) => {
            cli::complain(&error);
            error.exit_code().into()
        }
    }
}

/// Mesa's device-select layer asks a display server which GPU it uses, and complains on stderr where there is none.
#[allow(unsafe_code)]
fn quiet_vulkan() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the process has no other thread yet, so that nobody reads the environment meanwhile.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
