//! Every way in which `onemark` fails, typed, each with the exit code that the command line gives it.
//!
//! A message names the file, the place in it, the cause and (where there is one) the remedy, in one line.

use std::path::{Path, PathBuf};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Arguments that contradict each other or name something unknown (exit code 2).
    #[error("{0}")]
    Usage(String),

    /// A file that cannot be used: what, where in it, and why (exit code 3).
    #[error("{}: {place}{cause}", .path.display())]
    Input {
        /// The file or folder.
        path: PathBuf,
        /// The place inside it, ending in `: `, or empty.
        place: String,
        /// The cause and, where there is one, the remedy.
        cause: String,
    },

    /// The operating system refused to read or write (exit code 3).
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: `read`, `write`, `create`, ...
        action: &'static str,
        /// The system's word for it.
        source: std::io::Error,
    },

    /// No usable device, or not the one that was asked for (exit code 4).
    #[error("no usable device: {0}")]
    NoDevice(String),

    /// The program needs more than the device has (exit code 4).
    #[error("out of memory on {device}: the plan needs {needed} bytes{limit}; its largest tensors are {largest}")]
    OutOfMemory {
        /// The device's name.
        device: String,
        /// The plan's own estimate, in bytes.
        needed: u64,
        /// What the device grants, as a phrase, or empty where it does not say.
        limit: String,
        /// The largest tensors with their sizes.
        largest: String,
    },

    /// A shape or a dispatch beyond the device's limits (exit code 4).
    #[error("{device} cannot run this program: {cause}")]
    Limits {
        /// The device's name.
        device: String,
        /// Which limit, its value and what was asked for.
        cause: String,
    },

    /// The device went away while it worked (exit code 5).
    #[error("device lost: {0}")]
    DeviceLost(String),

    /// The device did not answer in time (exit code 5).
    #[error("{device} did not finish within {seconds} s (doing {doing})")]
    Timeout {
        /// The device's name.
        device: String,
        /// How long was waited.
        seconds: u64,
        /// What it was doing.
        doing: String,
    },

    /// Shapes that do not fit together: a fault in the network that was recorded (exit code 6).
    #[error("{op}: {cause}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// Which shapes, and what was expected.
        cause: String,
    },

    /// A check of results failed (exit code 6).
    #[error("verification failed: {0}")]
    Verification(String),

    /// Stopped by the user; the run can be resumed (exit code 7).
    #[error("interrupted; train and detect go on with --resume, demo with the same command")]
    Interrupted,
}

impl Error {
    /// An [`Error::Input`] about a whole file.
    pub fn input(path: impl AsRef<Path>, cause: impl Into<String>) -> Self {
        Self::Input { path: path.as_ref().into(), place: String::new(), cause: cause.into() }
    }

    /// An [`Error::Input`] about a place inside a file, such as `line 3, column "nasion_x"`.
    pub fn input_at(path: impl AsRef<Path>, place: impl std::fmt::Display, cause: impl Into<String>) -> Self {
        Self::Input { path: path.as_ref().into(), place: format!("{place}: "), cause: cause.into() }
    }

    /// An [`Error::Io`]; `action` completes "cannot ...".
    pub fn io(path: impl AsRef<Path>, action: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().into(), action, source }
    }

    /// The process exit code: 2 usage, 3 bad input, 4 no device, 5 device lost, 6 verification failed, 7 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Input { .. } | Self::Io { .. } => 3,
            Self::NoDevice(_) | Self::OutOfMemory { .. } | Self::Limits { .. } => 4,
            Self::DeviceLost(_) | Self::Timeout { .. } => 5,
            Self::Shape { .. } | Self::Verification(_) => 6,
            Self::Interrupted => 7,
        }
    }
}
