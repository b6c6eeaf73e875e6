//! Tests on a device: each kernel against its twin, and whole programs. `ONEMARK_TEST_DEVICE=gpu:1` chooses the device.

mod parity;
mod program;
mod translation;

use super::{Adapter, GpuExecutor, select};
use std::io::Write;

fn skip(why: &str) {
    // Not `println!`, which the test runner keeps to itself unless a test fails.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// The device that tests run on; without any, tests are skipped, but not in CI.
pub(crate) fn adapter() -> Option<Adapter> {
    let spec = std::env::var("ONEMARK_TEST_DEVICE").unwrap_or_else(|_| "gpu".into());
    match select(&spec) {
        Ok(adapter) => Some(adapter),
        Err(error) if std::env::var_os("CI").is_some() => panic!("no device to test on: {error}"),
        Err(_) => {
            skip("no Vulkan or Metal device");
            None
        }
    }
}

/// The same, if it has f16.
pub(crate) fn half_adapter() -> Option<Adapter> {
    let adapter = adapter()?;
    if !adapter.info.f16 {
        skip("the device has no f16 shaders");
    }
    Some(adapter).filter(|adapter| adapter.info.f16)
}

/// An executor on it.
fn executor() -> Option<GpuExecutor> {
    adapter().map(|adapter| GpuExecutor::new(&adapter).expect("the device opens"))
}
