//! Whole files: written atomically, read up to a limit.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// How the names of temporary files end: nobody else's may be removed.
const TEMPORARY: &str = ".onemark-tmp";

/// Writes `path` whole or not at all: a temporary file beside it, fsync, rename, fsync of the folder.
///
/// A link is followed; a pipe or device such as `/dev/stdout` is written directly, for a rename would replace it.
///
/// # Errors
/// [`Error::Io`]; the temporary file is removed and an older `path` is as it was.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0); // two threads may write into one folder
    let path = path.as_ref();
    let io = |source| Error::io(path, "write", source);
    if path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        return File::options().write(true).open(path).and_then(|mut f| f.write_all(bytes)).map_err(io);
    }
    let target = path.canonicalize().unwrap_or_else(|_| path.into());
    let Some(name) = target.file_name().filter(|_| !target.is_dir()) else {
        return Err(Error::input(path, "a folder, but a file is to be written here"));
    };
    let parent = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temp_name = std::ffi::OsString::from(".");
    temp_name.push(name);
    temp_name.push(format!(".{}-{}{TEMPORARY}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    let temp: PathBuf = parent.join(temp_name);
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).open(&temp)?;
        // Who may read the old file may read the new one, and nobody else.
        if let Ok(old) = target.metadata() {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(bytes)?;
        flush(&file)?;
        std::fs::rename(&temp, &target)
    })();
    if let Err(source) = written {
        let _ = std::fs::remove_file(&temp);
        return Err(io(source));
    }
    // Makes the rename itself durable; not every system can open a folder, and the content is safe either way.
    let _ = File::open(parent).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Flushes a file to its disk, where its file system can: on macOS those of networks and of user programs may not.
fn flush(file: &File) -> std::io::Result<()> {
    // EINVAL, ENOTTY and ENOTSUP there.
    let cannot =
        |error: &std::io::Error| cfg!(target_vendor = "apple") && matches!(error.raw_os_error(), Some(22 | 25 | 45));
    file.sync_all().or_else(|error| if cannot(&error) { Ok(()) } else { Err(error) })
}

/// Removes what writes that were killed left in `folder`, of the files whose names `of` accepts.
///
/// A write that is still going on in another process fails by that, so `of` must only accept what this process alone writes.
///
/// # Errors
/// [`Error::Io`].
pub fn remove_leftovers(folder: impl AsRef<Path>, of: impl Fn(&str) -> bool) -> Result<()> {
    let io = |source| Error::io(folder.as_ref(), "read", source);
    for entry in folder.as_ref().read_dir().map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_name().to_str().and_then(written_as).is_some_and(&of) {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(|e| Error::io(path, "remove", e))?;
        }
    }
    Ok(())
}

/// The file that a temporary one was to become.
fn written_as(temporary: &str) -> Option<&str> {
    let (name, _writer) = temporary.strip_prefix('.')?.strip_suffix(TEMPORARY)?.rsplit_once('.')?;
    Some(name)
}

/// A hash of a file's bytes (FNV-1a, 64 bits), to tell whether it is still the same.
///
/// # Errors
/// [`Error::Io`].
pub fn fingerprint(path: impl AsRef<Path>) -> Result<String> {
    let io = |source| Error::io(path.as_ref(), "read", source);
    let mut file = File::open(path.as_ref()).map_err(io)?;
    let (mut hash, mut part) = (FNV_START, vec![0; 1 << 16]);
    loop {
        let n = file.read(&mut part).map_err(io)?;
        if n == 0 {
            return Ok(format!("{hash:016x}"));
        }
        hash = fnv1a(hash, &part[..n]);
    }
}

/// Where the hash [`fnv1a`] starts.
pub const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bits, from the hash of what comes before.
pub fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
/// [`Error::Io`], or [`Error::Input`] for a folder and for a larger file.
pub fn read_capped(path: impl AsRef<Path>, max: u64) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let io = |source| Error::io(path, "read", source);
    let file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if meta.is_dir() {
        return Err(Error::input(path, "a folder, but a file is needed"));
    }
    let mut bytes = Vec::new();
    if meta.len() <= max {
        bytes.reserve_exact(meta.len() as usize);
        file.take(max + 1).read_to_end(&mut bytes).map_err(io)?; // a pipe has no length, and a file may grow
    }
    if meta.len().max(bytes.len() as u64) > max {
        return Err(Error::input(path, format!("larger than {} MiB, the most that is read", max >> 20)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let folder = std::env::temp_dir().join(format!("onemark-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(write_atomic(&folder, b"").is_err() && write_atomic(folder.join("no/such"), b"").is_err());
        write_atomic(folder.join("whole"), b"1").unwrap();
        write_atomic(folder.join("whole"), b"23").unwrap();
        assert_eq!(read_capped(folder.join("whole"), 2).unwrap(), b"23");
        assert!(read_capped(folder.join("whole"), 1).unwrap_err().to_string().contains("larger than"));
        assert_eq!(fingerprint(folder.join("whole")).unwrap().len(), 16);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |file: &str| folder.join(file).metadata().unwrap().permissions().mode() & 0o777;
            std::fs::set_permissions(folder.join("whole"), std::fs::Permissions::from_mode(0o600)).unwrap();
            write_atomic(folder.join("whole"), b"4").unwrap();
            assert_eq!(mode("whole"), 0o600);
        }
        for name in [".whole.7-0.onemark-tmp", ".other.7-1.onemark-tmp", ".whole.7-2.tmp", "whole.7-3.onemark-tmp"] {
            std::fs::write(folder.join(name), b"").unwrap();
        }
        remove_leftovers(&folder, |name| name == "whole").unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4, "only what was to become `whole`");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
