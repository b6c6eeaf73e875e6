//! Images and labels.

pub mod files;
pub mod gray;
#[cfg(feature = "cli")]
pub mod images;
#[cfg(feature = "cli")]
mod jpeg;
#[cfg(feature = "train")]
pub mod labels;
#[cfg(feature = "train")]
pub mod phantom;
pub mod point;
