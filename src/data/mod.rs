//! Images and labels.

pub mod files;
pub mod gray;
#[cfg(feature = "cli")]
pub mod images;
pub mod labels;
pub mod phantom;
