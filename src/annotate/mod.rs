//! Landmarks placed and reviewed by a person, on a page that this program serves to a browser of the same machine.
//!
//! ```text
//! browser -> http -> site (who may ask, and what) -> session (images) -> file (landmarks on disk)
//! ```
//!
//! Who listens on the port is the loopback interface alone; every address begins with a random token, and the `Host` header
//! must be ours, so that no other page of the browser gets an answer, and of other users of the machine only those who can see
//! the address, which is an argument of the browser's command.

mod file;
pub mod http;
mod page;
mod session;
mod site;

pub use session::Session;
pub use site::{Site, token};
