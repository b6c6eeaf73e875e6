//! Images and labels.

pub mod files;
pub mod gray;
#[cfg(feature = "cli")]
pub mod images;
#[cfg(feature = "cli")]
mod jpeg;
pub mod labels;
pub mod phantom;
