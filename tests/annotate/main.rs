//! `onemark annotate`: the server as a stranger meets it, and the page as a person uses it, in headless Chromium.

mod browser;
#[path = "../browser/chromium.rs"]
mod chromium;
mod program;
mod server;
