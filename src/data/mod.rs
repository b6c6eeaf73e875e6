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
pub mod labels;
pub mod phantom;
