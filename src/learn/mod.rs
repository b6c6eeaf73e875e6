//! The method: three stages from one annotated template and unlabeled images to a fused detector, and the joint baseline.

pub mod augment;
pub mod checkpoint;
pub mod config;
pub mod crops;
pub mod dataset;
pub mod fuse;
pub mod joint;
pub mod labels;
pub mod matching;
pub mod pipeline;
pub mod propose;
pub mod rounds;
pub mod shape;
pub mod shape_model;
pub mod single;
pub mod trainer;
