//! The method: three stages from one annotated template and unlabeled images to a fused detector, and the joint baseline.
//!
//! What a detector does with a trained model is always here; training itself comes with the feature `train`.

pub mod augment;
#[cfg(feature = "train")]
pub mod checkpoint;
pub mod config;
pub mod crops;
pub mod dataset;
pub mod fuse;
pub mod joint;
#[cfg(feature = "train")]
pub mod labels;
pub mod matching;
pub mod optimizer;
#[cfg(feature = "train")]
pub mod pipeline;
pub mod propose;
#[cfg(feature = "train")]
pub mod rounds;
pub mod shape;
pub mod shape_model;
pub mod single;
#[cfg(feature = "train")]
pub mod trainer;
pub mod updates;
