//! The command line.
pub mod compare;
pub mod contest;
pub mod demo;
pub mod pages;
