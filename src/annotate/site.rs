//! Which requests are answered, and with what.
//!
//! | request | answer |
//! |---|---|
//! | `GET /TOKEN/`, `GET /TOKEN/main.js`, ... | the page |
//! | `GET /TOKEN/api/session` | all images, as JSON |
//! | `GET /TOKEN/api/images/3` | one image and its landmarks: see [`packed`] |
//! | `POST /TOKEN/api/save` | landmarks saved; 409 with the cause if another program has changed the file |
//!
//! Everything else gets a 403 or 404 that tells nothing.

use super::http::{Answer, Request, Response};
use super::page;
use super::session::{Opened, Outcome, Session};
use crate::data::gray::GrayImage;
use crate::{Error, Result};
use serde::Serialize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A session, and who may ask for it.
pub struct Site {
    token: String,
    hosts: Vec<String>,
    session: Mutex<Session>,
}

/// 128 random bits in hexadecimal digits.
///
/// # Errors
/// [`Error::Io`] if the system has none.
pub fn token() -> Result<String> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|e| Error::io("the random token", "make", e.into()))?;
    Ok(bits.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Site {
    /// A site on a port of the loopback interface, for those who know the token.
    pub fn new(session: Session, port: u16, token: String) -> Self {
        let mut hosts = vec![format!("127.0.0.1:{port}"), format!("localhost:{port}")];
        if port == 80 {
            hosts.extend(["127.0.0.1", "localhost"].map(String::from)); // browsers leave the port of HTTP away
        }
        Self { token, hosts, session: Mutex::new(session) }
    }

    /// The address of the page.
    pub fn url(&self) -> String {
        format!("http://{}/{}/", self.hosts[0], self.token)
    }

    /// The session; whoever has it, no save is under way.
    pub fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What follows the token in a path that has it.
    fn path<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let (token, path) = request.path.strip_prefix('/')?.split_once('/')?;
        same(token, &self.token).then_some(path)
    }

    fn save(&self, body: &[u8]) -> Result<Outcome> {
        let edited = serde_json::from_slice(body).map_err(|e| Error::Usage(format!("not a save: {e}")))?;
        self.session().save(&edited)
    }

    fn image(&self, index: usize) -> Result<Response> {
        let (opened, pixels) = self.session().open(index)?;
        let body = packed(&opened, &pixels).into();
        Ok(Response { status: 200, content_type: "application/octet-stream", body })
    }
}

impl Answer for Site {
    fn refuse(&self, head: &Request) -> Option<Response> {
        if !self.hosts.contains(&head.host) {
            return Some(Response::text(403, "not the address of this program\n")); // DNS rebinding
        }
        let cause = "this page has an address of its own: it is on the terminal\n";
        self.path(head).is_none().then(|| Response::text(403, cause))
    }

    fn answer(&self, request: &Request) -> Response {
        let nothing = || Response::text(404, "there is nothing here\n");
        let Some(path) = self.path(request) else { return nothing() };
        match (request.method.as_str(), path) {
            ("GET", "api/session") => json(200, &self.session().overview()),
            ("POST", "api/save") => match self.save(&request.body) {
                Ok(outcome @ Outcome::Conflict(_)) => json(409, &outcome),
                Ok(outcome) => json(200, &outcome),
                Err(error) => refused(&error),
            },
            ("GET", path) => match path.strip_prefix("api/images/").map(str::parse) {
                Some(Ok(index)) => self.image(index).unwrap_or_else(|error| refused(&error)),
                _ => page::file(path).unwrap_or_else(nothing),
            },
            _ => nothing(),
        }
    }
}

/// One answer for an image and its landmarks, so that they belong together: the length of the JSON (32 bits, little-endian),
/// the JSON, spaces up to an even length, and all pixels as 16 bits, little-endian: what the program sees, 65535 is 1.
///
/// No PNG: browsers show 8 bits of it, and a window on a 12-bit radiograph in a 16-bit file would have 16 greys.
fn packed(opened: &Opened, pixels: &GrayImage) -> Vec<u8> {
    let mut json = serde_json::to_vec(opened).unwrap_or_default(); // strings and finite numbers cannot fail
    json.resize(json.len().next_multiple_of(2), b' ');
    let mut bytes = Vec::with_capacity(4 + json.len() + 2 * pixels.pixels.len());
    bytes.extend((json.len() as u32).to_le_bytes());
    bytes.extend(json);
    bytes.extend(pixels.pixels.iter().flat_map(|v| ((v.clamp(0.0, 1.0) * 65535.0).round() as u16).to_le_bytes()));
    bytes
}

fn json(status: u16, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default(); // as above
    Response { status, content_type: "application/json", body: body.into() }
}

fn refused(error: &Error) -> Response {
    json(422, &serde_json::json!({ "error": error.to_string() }))
}

/// Compares without telling by the time it takes how much is right.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
