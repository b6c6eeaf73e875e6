//! Outputs that would replace what is read: refused before work begins.

use crate::{Error, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Refuses outputs that are one of the inputs, by whatever path or link; of a folder, its files are.
///
/// # Errors
/// [`Error::Input`] that names it.
pub fn keep_inputs(
    outputs: impl IntoIterator<Item = impl AsRef<Path>>,
    inputs: impl IntoIterator<Item = impl AsRef<Path>>,
) -> Result<()> {
    let real = |path: &Path| path.canonicalize().ok();
    let inputs: HashSet<PathBuf> = inputs.into_iter().filter_map(|path| real(path.as_ref())).collect();
    for output in outputs {
        let output = output.as_ref();
        // A pipe or a device, such as a terminal, is not replaced.
        let Some(found) = real(output).filter(|found| found.is_file()) else { continue };
        if inputs.contains(&found) || found.parent().is_some_and(|folder| inputs.contains(folder)) {
            return Err(Error::input(output, "is one of the inputs and would be replaced; write elsewhere"));
        }
    }
    Ok(())
}
