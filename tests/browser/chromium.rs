//! Scripts of this folder, which drive a headless Chromium.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

/// A program on the path.
fn found(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let at = |name: &&str| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    names.iter().find_map(at)
}

/// Runs a script; `None` where there is no browser to run it in, but not in CI.
pub fn run(script: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Option<Output> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let chromium = found(&["chromium", "chromium-browser", "google-chrome"]);
    let missing = match (&chromium, found(&["node"])) {
        (None, _) => Some("no Chromium"),
        (_, None) => Some("no Node"),
        _ if !scripts.join("node_modules").is_dir() => Some("no packages; npm ci --prefix tests/browser"),
        _ => None,
    };
    if let Some(missing) = missing {
        assert!(std::env::var_os("CI").is_none(), "nothing to test with: {missing}");
        // Not `println!`, which the test runner keeps to itself unless a test fails.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: {missing}\n").as_bytes());
        return None;
    }
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut node = Command::new("node");
    node.arg(scripts.join(script)).args(args);
    // Whoever hides Vulkan from the tests does not mean the browser's own software device.
    node.env_remove("VK_DRIVER_FILES").env_remove("VK_ICD_FILENAMES");
    Some(node.env("CHROMIUM", chromium?).output().unwrap())
}
