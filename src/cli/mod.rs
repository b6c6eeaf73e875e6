//! The command line.
pub mod contest;
pub mod demo;
pub mod pages;
