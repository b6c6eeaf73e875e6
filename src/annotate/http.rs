//! As much of HTTP/1.1 as a page of this machine needs: a thread and a request a connection, bodies of stated length.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The longest head of a request, bytes.
const MAX_HEAD: usize = 16 << 10;
/// The longest body of a request, bytes: far more than the landmarks of an image take.
const MAX_BODY: usize = 16 << 20;
/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent with every answer. Nothing but the page's own files may be loaded, and nothing may be kept or framed.
const HEADERS: &str = "Connection: close\r\n\
     Cache-Control: no-store\r\n\
     Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
     Cross-Origin-Opener-Policy: same-origin\r\n\
     Cross-Origin-Resource-Policy: same-origin\r\n\
     Referrer-Policy: no-referrer\r\n\
     X-Content-Type-Options: nosniff\r\n";

/// A request.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path, without a query.
    pub path: String,
    /// The `Host` header.
    pub host: String,
    /// The body, empty if there is none.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Cow<'static, [u8]>,
}

impl Response {
    /// A line of text, for whoever is no page of ours.
    pub fn text(status: u16, text: &'static str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: text.as_bytes().into() }
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let Self { status, content_type, body } = self;
        let length = body.len();
        // Reasons are for people; nobody reads them here.
        let head =
            format!("HTTP/1.1 {status} -\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{HEADERS}\r\n");
        to.write_all(head.as_bytes())?;
        to.write_all(body)?;
        to.flush()
    }
}

/// Who answers.
pub trait Answer: Send + Sync + 'static {
    /// The answer to a request that is none of this site's, told before its body is read.
    fn refuse(&self, head: &Request) -> Option<Response>;
    /// The answer to any other.
    fn answer(&self, request: &Request) -> Response;
}

/// Answers requests, each on a thread of its own, until the first connection after `stop` is set.
pub fn serve(listener: &TcpListener, stop: &AtomicBool, answer: &Arc<impl Answer>) {
    for stream in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let answer = Arc::clone(answer);
        let started = stream.and_then(|stream| {
            // A client that goes away in the midst is its own affair.
            std::thread::Builder::new().spawn(move || _ = converse(stream, &*answer))
        });
        if started.is_err() {
            std::thread::sleep(Duration::from_millis(50)); // out of threads or files: others must end first
        }
    }
}

fn converse(mut stream: TcpStream, site: &impl Answer) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let response =
        read(&mut stream, |head| site.refuse(head))?.map_or_else(|refusal| refusal, |request| site.answer(&request));
    response.write(&mut stream)
}

/// Reads a request, or what refuses it.
fn read(from: &mut impl Read, refuse: impl Fn(&Request) -> Option<Response>) -> io::Result<Result<Request, Response>> {
    let no = |status| Ok(Err(Response::text(status, "not a request that this program answers\n")));
    let mut bytes = Vec::new();
    let (mut request, length, head) = loop {
        let mut part = [0; 4096];
        let n = from.read(&mut part)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&part[..n]);
        match parse(&bytes) {
            Ok(Some(parsed)) => break parsed,
            Ok(None) if bytes.len() > MAX_HEAD => return no(431),
            Ok(None) => {}
            Err(status) => return no(status),
        }
    };
    if let Some(refusal) = refuse(&request) {
        return Ok(Err(refusal));
    }
    if length > MAX_BODY {
        return no(413);
    }
    request.body = bytes.split_off(head);
    let missing = length.saturating_sub(request.body.len());
    from.take(missing as u64).read_to_end(&mut request.body)?;
    if request.body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    request.body.truncate(length);
    Ok(Ok(request))
}

/// The request of a whole head, the length of its body and that of the head; `None` if more is to come.
fn parse(bytes: &[u8]) -> Result<Option<(Request, usize, usize)>, u16> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    let end = match head.parse(bytes).map_err(|_| 400u16)? {
        httparse::Status::Complete(end) => end,
        httparse::Status::Partial => return Ok(None),
    };
    let header = |name: &str| {
        let mut values = head.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
        match (values.next(), values.next()) {
            (value, None) => value.map(|v| std::str::from_utf8(v).map_err(|_| 400u16)).transpose(),
            _ => Err(400), // given twice
        }
    };
    if header("transfer-encoding")?.is_some() {
        return Err(411);
    }
    let length = match header("content-length")? {
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().map_err(|_| 413u16)?,
        Some(_) => return Err(400),
        None => 0,
    };
    let path = head.path.unwrap_or_default();
    let request = Request {
        method: head.method.unwrap_or_default().into(),
        path: path.split_once('?').map_or(path, |(path, _query)| path).into(),
        host: header("host")?.ok_or(400u16)?.into(),
        body: Vec::new(),
    };
    Ok(Some((request, length, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that come a few at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(into.len()).min(self.0.len());
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn a_request_is_read_however_it_comes() {
        let text = b"POST /t/save?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8\r\ncontent-length: 5\r\n\r\nabcdeNEXT";
        for step in [1, 2, 7, 68, 4096] {
            let request = read(&mut Trickle(text, step), |_| None).unwrap().unwrap();
            let expected = ("POST", "/t/save", "127.0.0.1:8", &b"abcde"[..]);
            assert_eq!((&*request.method, &*request.path, &*request.host, &*request.body), expected);
        }
    }

    #[test]
    fn other_talk_is_refused() {
        let status = |text: &str| read(&mut Trickle(text.as_bytes(), 4096), |_| None).unwrap().unwrap_err().status;
        assert_eq!(status("\u{16}\u{3}\u{1} tls \r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400, "no host");
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
        assert_eq!(status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"), 400);
        assert_eq!(status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16777217\r\n\r\n"), 413);
        assert_eq!(status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n"), 413);
        assert_eq!(status("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 411);
        assert_eq!(status(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000))), 431);
        for cut in ["", "GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab"] {
            assert!(read(&mut Trickle(cut.as_bytes(), 4096), |_| None).is_err(), "{cut:?}");
        }
    }

    #[test]
    fn who_is_refused_need_not_send_a_body() {
        let head = b"POST /guess/api/save HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n";
        let refuse = |head: &Request| (head.path != "/t/api/save").then(|| Response::text(403, "no\n"));
        assert_eq!(read(&mut Trickle(head, 4096), refuse).unwrap().unwrap_err().status, 403);
    }
}
