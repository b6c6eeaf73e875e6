//! The files of the page, kept in the program.

use super::http::Response;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: [(&str, &str, &str); 18] = [
    ("", HTML, include_str!("page/index.html")),
    ("style.css", CSS, include_str!("page/style.css")),
    ("icon.svg", SVG, include_str!("page/icon.svg")),
    ("main.js", JAVASCRIPT, include_str!("page/main.js")),
    ("app.js", JAVASCRIPT, include_str!("page/app.js")),
    ("api.js", JAVASCRIPT, include_str!("page/api.js")),
    ("actions.js", JAVASCRIPT, include_str!("page/actions.js")),
    ("annotation.js", JAVASCRIPT, include_str!("page/annotation.js")),
    ("dialogs.js", JAVASCRIPT, include_str!("page/dialogs.js")),
    ("dom.js", JAVASCRIPT, include_str!("page/dom.js")),
    ("keys.js", JAVASCRIPT, include_str!("page/keys.js")),
    ("marks.js", JAVASCRIPT, include_str!("page/marks.js")),
    ("panel.js", JAVASCRIPT, include_str!("page/panel.js")),
    ("picture.js", JAVASCRIPT, include_str!("page/picture.js")),
    ("pointer.js", JAVASCRIPT, include_str!("page/pointer.js")),
    ("saving.js", JAVASCRIPT, include_str!("page/saving.js")),
    ("score.js", JAVASCRIPT, include_str!("page/score.js")),
    ("view.js", JAVASCRIPT, include_str!("page/view.js")),
];

/// The file of this name.
pub fn file(name: &str) -> Option<Response> {
    let (_, content_type, text) = FILES.iter().find(|(known, ..)| *known == name)?;
    Some(Response { status: 200, content_type, body: text.as_bytes().into() })
}
