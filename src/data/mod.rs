//! Images and labels.

#[cfg(feature = "dicom")]
mod dicom;
pub mod files;
pub mod gray;
#[cfg(feature = "cli")]
pub mod images;
#[cfg(feature = "cli")]
pub mod inputs;
#[cfg(feature = "cli")]
mod jpeg;
#[cfg(feature = "train")]
pub mod labels;
#[cfg(feature = "train")]
pub mod phantom;
pub mod point;
