//! Landmark files: the native CSV and the same content as JSON.
//!
//! ```text
//! image,width,height,sella_x,sella_y,sella_score,nasion_x,nasion_y,nasion_score
//! 151.jpg,774,960,340.1,409.9,0.93,,,0.02
//! ```
//!
//! Coordinates are pixels of the image whose size the row states, x to the right and y down, pixel centres at
//! integers: the image covers `-0.5 ..= width - 0.5`. An empty cell is a missing point. Scores are in `[0, 1]`.
//! Cells are quoted as in RFC 4180; columns may stand in any order and unknown ones are ignored.
//! A file that ends in `.json` holds the same as
//! `{"names": [..], "images": [{"image", "width", "height", "points": {name: {"x", "y", "score"}}}]}`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// The largest label file that is read.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// The widest CSV header, and the most points of a JSON file: what keeps a hostile file from exhausting memory.
const MAX_COLUMNS: usize = 1 << 16;
const MAX_POINTS: usize = 1 << 26;

/// `[x, y]` in pixels of the image whose size the row states, pixel centres at integers.
pub type Point = [f64; 2];

/// The landmarks of a set of images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    /// Landmark names, unique, in the file's order.
    pub names: Vec<String>,
    /// One row an image; `image` is unique.
    pub rows: Vec<LabelRow>,
}

/// The landmarks of one image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelRow {
    /// The image's file name.
    pub image: String,
    /// Width in pixels of the image that the coordinates refer to, at least 1.
    pub width: u32,
    /// Height, likewise.
    pub height: u32,
    /// One entry a name of [`Labels::names`]; `None` is a missing point.
    pub points: Vec<Option<Point>>,
    /// Scores in `[0, 1]`, one entry a name; empty when the file has none.
    pub scores: Vec<Option<f64>>,
}

impl LabelRow {
    /// `(width, height)` as [`scale_point`] takes it.
    pub fn size(&self) -> (f64, f64) {
        (self.width.into(), self.height.into())
    }
}

/// Carries `p` from an image of size `from` to the same image at size `to`, both `(width, height)`.
///
/// Pixel centres are at integers, so edges, not centres, coincide: `x' = (x + 0.5) * to / from - 0.5`.
pub fn scale_point(p: Point, from: (f64, f64), to: (f64, f64)) -> Point {
    [(p[0] + 0.5) * (to.0 / from.0) - 0.5, (p[1] + 0.5) * (to.1 / from.1) - 0.5]
}

impl Labels {
    /// Reads a `.json` file as JSON and any other as CSV.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Input`] with line and column (CSV, JSON syntax) or image and landmark (JSON content)
    /// for anything that is not stated in the [module's documentation](self), a file without rows and a file over
    /// [`MAX_FILE_BYTES`] included.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read_capped(path, MAX_FILE_BYTES)?;
        let text = std::str::from_utf8(&bytes).map_err(|e| {
            let line = 1 + bytes[..e.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            Error::input_at(path, format!("line {line}"), "not UTF-8; save the file as UTF-8")
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text); // spreadsheets put a byte order mark first
        if is_json(path) { Self::from_json(text, path) } else { Self::from_csv(text, path) }
    }

    /// Writes JSON if `path` ends in `.json`, else CSV. Whole or not at all: see [`write_atomic`].
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Input`] for content that [`Labels::read`] would refuse.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.check(path)?;
        let text = if is_json(path) { self.to_json() } else { self.to_csv() };
        write_atomic(path, text.as_bytes())
    }

    /// Only these landmarks, in the file's order.
    pub fn select(&self, names: &[String]) -> Self {
        let kept: Vec<usize> = (0..self.names.len()).filter(|&k| names.contains(&self.names[k])).collect();
        let row = |row: &LabelRow| LabelRow {
            points: kept.iter().map(|&k| row.points[k]).collect(),
            scores: kept.iter().filter_map(|&k| row.scores.get(k).copied()).collect(),
            ..row.clone()
        };
        Self { names: kept.iter().map(|&k| self.names[k].clone()).collect(), rows: self.rows.iter().map(row).collect() }
    }

    /// The row of `image`, compared as written.
    pub fn row(&self, image: &str) -> Option<&LabelRow> {
        self.rows.iter().find(|row| row.image == image)
    }

    /// The template's row: that of `image`, with every landmark present, finite and inside the image.
    ///
    /// `path` is the file these labels come from, for the message; `image` is the image's file name.
    ///
    /// # Errors
    /// [`Error::Input`] that names the landmark and the remedy.
    pub fn template(&self, path: impl AsRef<Path>, image: &str) -> Result<&LabelRow> {
        let path = path.as_ref();
        let row = self.row(image).ok_or_else(|| {
            let have = list(self.rows.iter().map(|row| row.image.as_str()));
            Error::input(path, format!("no row for the template image {image:?}; the file has {have}"))
        })?;
        for (k, name) in self.names.iter().enumerate() {
            let at = |cause| Error::input_at(path, format!("image {image:?}, landmark {name:?}"), cause);
            let [x, y] = row.points.get(k).copied().flatten().ok_or_else(|| {
                at("missing; the template needs every landmark: annotate it, or remove its columns".into())
            })?;
            let inside = |v: f64, extent: f64| (-0.5..=extent - 0.5).contains(&v); // false for NaN
            if !inside(x, row.size().0) || !inside(y, row.size().1) {
                return Err(at(format!(
                    "({x}, {y}) is outside the {}x{} image; correct the point, or the row's width and height",
                    row.width, row.height
                )));
            }
        }
        Ok(row)
    }

    /// The CSV text, with score columns if any row has scores. Numbers are the shortest that read back the same.
    pub fn to_csv(&self) -> String {
        let with_scores = self.rows.iter().any(|row| !row.scores.is_empty());
        let mut csv = String::from("image,width,height");
        for name in &self.names {
            for suffix in if with_scores { &["_x", "_y", "_score"][..] } else { &["_x", "_y"] } {
                csv.push(',');
                push_cell(&mut csv, &format!("{name}{suffix}"));
            }
        }
        csv.push('\n');
        for row in &self.rows {
            push_cell(&mut csv, &row.image);
            let _ = write!(csv, ",{},{}", row.width, row.height); // writing to a String cannot fail
            for k in 0..self.names.len() {
                let _ = match row.points.get(k).copied().flatten() {
                    Some([x, y]) => write!(csv, ",{x},{y}"),
                    None => write!(csv, ",,"),
                };
                let _ = match row.scores.get(k).copied().flatten() {
                    Some(score) => write!(csv, ",{score}"),
                    None => write!(csv, "{}", if with_scores { "," } else { "" }),
                };
            }
            csv.push('\n');
        }
        csv
    }

    /// The JSON text. A missing point has no entry, or one with a score alone.
    pub fn to_json(&self) -> String {
        let images = self.rows.iter().map(|row| {
            let points = self.names.iter().enumerate().filter_map(|(k, name)| {
                let [x, y] = row.points.get(k).copied().flatten().map_or([None; 2], |p| p.map(Some));
                let score = row.scores.get(k).copied().flatten();
                (x.is_some() || score.is_some()).then(|| (name.clone(), Some(JsonPoint { x, y, score })))
            });
            JsonImage {
                image: row.image.clone(),
                width: row.width,
                height: row.height,
                points: JsonPoints(points.collect()),
            }
        });
        let file = JsonFile { names: self.names.clone(), images: images.collect() };
        serde_json::to_string_pretty(&file).unwrap_or_default() + "\n" // strings, numbers and string keys cannot fail
    }

    /// Parses CSV; `path` is for messages.
    ///
    /// # Errors
    /// As [`Labels::read`].
    pub fn from_csv(text: &str, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let at_line = |(line, cause): (usize, String)| Error::input_at(path, format!("line {line}"), cause);
        let mut records = Records { rest: text, line: 1 };
        let (line, header) = records.next_record(MAX_COLUMNS).map_err(at_line)?.ok_or_else(|| {
            Error::input(path, "empty; a label file begins with image,width,height,<name>_x,<name>_y")
        })?;
        let columns = Columns::of(&header).map_err(|cause| at_line((line, cause)))?;
        let with_scores = columns.landmarks.iter().any(|l| l.score.is_some());

        let mut rows: Vec<LabelRow> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        while let Some((line, cells)) = records.next_record(header.len()).map_err(at_line)? {
            if cells.len() < header.len() {
                return Err(at_line((line, format!("{} cells, but the header has {}", cells.len(), header.len()))));
            }
            let at = |column: usize, cause: String| {
                Error::input_at(path, format!("line {line}, column {}", shown(&header[column])), cause)
            };
            let number = |column: usize| number(&cells[column]).map_err(|cause| at(column, cause));
            let size = |column: usize| match number(column)? {
                Some(v) if v >= 1.0 && v <= u32::MAX.into() && v.fract() == 0.0 => Ok(v as u32),
                _ => Err(at(column, format!("{} is not a size in whole pixels, 1 or more", shown(&cells[column])))),
            };
            let image = cells[columns.image].to_string();
            if image.is_empty() {
                return Err(at(columns.image, "empty; it must be the image's file name".into()));
            }
            if let Some(first) = seen.insert(image.clone(), line) {
                return Err(at(columns.image, format!("{} has a row already, at line {first}", shown(&image))));
            }
            let (width, height) = (size(columns.width)?, size(columns.height)?);
            let mut points = Vec::with_capacity(columns.landmarks.len());
            let mut scores = Vec::with_capacity(if with_scores { columns.landmarks.len() } else { 0 });
            for l in &columns.landmarks {
                points.push(match (number(l.x)?, number(l.y)?) {
                    (Some(x), Some(y)) => Some([x, y]),
                    (None, None) => None,
                    (x, _) => return Err(at(if x.is_none() { l.x } else { l.y }, "empty, but its twin is not".into())),
                });
                if with_scores {
                    let score = l.score.map_or(Ok(None), number)?;
                    if let (Some(column), Some(s)) = (l.score, score)
                        && !(0.0..=1.0).contains(&s)
                    {
                        return Err(at(column, format!("{s} is not a score in 0..1")));
                    }
                    scores.push(score);
                }
            }
            rows.push(LabelRow { image, width, height, points, scores });
        }
        if rows.is_empty() {
            return Err(Error::input(path, "nothing after the header; a label file has one row an image"));
        }
        Ok(Self { names: columns.landmarks.into_iter().map(|l| l.name).collect(), rows })
    }

    /// Parses JSON; `path` is for messages.
    ///
    /// # Errors
    /// As [`Labels::read`].
    pub fn from_json(text: &str, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let JsonFile { names, images } = serde_json::from_str(text).map_err(|e| {
            let cause = e.to_string();
            // The place is said once, in front; a hostile string is quoted at any length.
            let cause: String = cause.split(" at line ").next().unwrap_or_default().chars().take(200).collect();
            Error::input_at(path, format!("line {}, column {}", e.line(), e.column()), cause)
        })?;
        if names.len().saturating_mul(images.len()) > MAX_POINTS {
            return Err(Error::input(path, format!("more than {MAX_POINTS} points")));
        }
        let index: HashMap<&str, usize> = names.iter().enumerate().map(|(k, name)| (name.as_str(), k)).collect();
        let with_scores = images.iter().flat_map(|i| &i.points.0).any(|(_, p)| p.is_some_and(|p| p.score.is_some()));
        let mut rows = Vec::with_capacity(images.len());
        for JsonImage { image, width, height, points: JsonPoints(entries) } in images {
            let mut points = vec![None; names.len()];
            let mut scores = vec![None; if with_scores { names.len() } else { 0 }];
            let mut seen = HashSet::new();
            for (name, p) in &entries {
                let at = |cause: &str| {
                    let place = format!("image {}, landmark {}", shown(&image), shown(name));
                    Error::input_at(path, place, cause)
                };
                let k = *index.get(name.as_str()).ok_or_else(|| at("not among \"names\""))?;
                if !seen.insert(k) {
                    return Err(at("given twice"));
                }
                let Some(p) = p else { continue };
                points[k] = match (p.x, p.y) {
                    (Some(x), Some(y)) => Some([x, y]),
                    (None, None) => None,
                    _ => return Err(at("one of \"x\" and \"y\" is missing")),
                };
                if with_scores {
                    scores[k] = p.score;
                }
            }
            rows.push(LabelRow { image, width, height, points, scores });
        }
        let labels = Self { names, rows };
        labels.check(path)?;
        Ok(labels)
    }

    /// The rules of the CSV reader, for labels that come from JSON or were made in code.
    fn check(&self, path: &Path) -> Result<()> {
        let fail = |place: String, cause: &str| Err(Error::input_at(path, place, cause));
        if self.names.is_empty() || self.rows.is_empty() {
            return Err(Error::input(path, "no landmarks or no images"));
        }
        let (mut names, mut images) = (HashSet::new(), HashSet::new());
        for name in &self.names {
            if name.is_empty() || !names.insert(name) {
                return fail(format!("landmark {}", shown(name)), "a name must be unique and not empty");
            }
        }
        for row in &self.rows {
            let image = format!("image {}", shown(&row.image));
            if row.image.is_empty() || !images.insert(&row.image) {
                return fail(image, "a file name must be unique and not empty");
            }
            if row.width == 0 || row.height == 0 {
                return fail(image, "width and height must be 1 or more");
            }
            if row.points.len() != names.len() || !(row.scores.is_empty() || row.scores.len() == names.len()) {
                return fail(image, "the number of points or scores is not that of the landmarks");
            }
            let bad_point = |p: &Option<Point>| p.is_some_and(|p| !p.iter().all(|v| v.is_finite()));
            let bad_score = |s: &Option<f64>| s.is_some_and(|s| !(0.0..=1.0).contains(&s));
            if let Some(k) = row.points.iter().position(bad_point) {
                return fail(format!("{image}, landmark {}", shown(&self.names[k])), "not finite");
            }
            if let Some(k) = row.scores.iter().position(bad_score) {
                return fail(format!("{image}, landmark {}", shown(&self.names[k])), "its score is not in 0..1");
            }
        }
        Ok(())
    }
}

/// Writes `path` whole or not at all: a temporary file beside it, fsync, rename, fsync of the folder.
///
/// A link is followed; a pipe or device such as `/dev/stdout` is written directly, for a rename would replace it.
///
/// # Errors
/// [`Error::Io`]; the temporary file is removed and an older `path` is as it was.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0); // two threads may write into one folder
    let path = path.as_ref();
    let io = |source| Error::io(path, "write", source);
    if path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        return File::options().write(true).open(path).and_then(|mut f| f.write_all(bytes)).map_err(io);
    }
    let target = path.canonicalize().unwrap_or_else(|_| path.into());
    let Some(name) = target.file_name().filter(|_| !target.is_dir()) else {
        return Err(Error::input(path, "a folder, but a file is to be written here"));
    };
    let parent = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temp_name = std::ffi::OsString::from(".");
    temp_name.push(name);
    temp_name.push(format!(".{}.{}.tmp", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    let temp: PathBuf = parent.join(temp_name);
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).open(&temp)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temp, &target)
    })();
    if let Err(source) = written {
        let _ = std::fs::remove_file(&temp);
        return Err(io(source));
    }
    // Makes the rename itself durable; not every system can open a folder, and the content is safe either way.
    let _ = File::open(parent).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
/// [`Error::Io`], or [`Error::Input`] for a folder and for a larger file.
pub fn read_capped(path: impl AsRef<Path>, max: u64) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let io = |source| Error::io(path, "read", source);
    let file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if meta.is_dir() {
        return Err(Error::input(path, "a folder, but a file is needed"));
    }
    let mut bytes = Vec::new();
    if meta.len() <= max {
        bytes.reserve_exact(meta.len() as usize);
        file.take(max + 1).read_to_end(&mut bytes).map_err(io)?; // a pipe has no length, and a file may grow
    }
    if meta.len().max(bytes.len() as u64) > max {
        return Err(Error::input(path, format!("larger than {} MiB, the most that is read", max >> 20)));
    }
    Ok(bytes)
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"))
}

/// RFC 4180 records; a line ends in LF, CRLF or CR, and empty lines are skipped.
struct Records<'a> {
    rest: &'a str,
    line: usize,
}

/// A record: the line on which it begins, and its cells.
type Record<'a> = (usize, Vec<Cow<'a, str>>);

impl<'a> Records<'a> {
    /// The next record, or `None` at the end. A fault comes with its line.
    fn next_record(&mut self, max_cells: usize) -> Result<Option<Record<'a>>, (usize, String)> {
        while self.end_line() {}
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (first_line, mut cells) = (self.line, Vec::new());
        loop {
            cells.push(self.cell()?);
            if cells.len() > max_cells {
                return Err((first_line, format!("more than {max_cells} cells")));
            }
            let Some(rest) = self.rest.strip_prefix(',') else { break };
            self.rest = rest;
        }
        self.end_line();
        Ok(Some((first_line, cells)))
    }

    fn cell(&mut self) -> Result<Cow<'a, str>, (usize, String)> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let (cell, rest) = self.rest.split_at(self.rest.find([',', '\r', '\n', '"']).unwrap_or(self.rest.len()));
            self.rest = rest;
            let stray = (self.line, "a quote inside an unquoted cell; quote the cell and double the quote".into());
            return if rest.starts_with('"') { Err(stray) } else { Ok(cell.into()) };
        };
        let bytes = quoted.as_bytes();
        let mut end = 0; // of the cell: the first quote that is not doubled
        loop {
            match bytes[end..].iter().position(|&b| b == b'"') {
                Some(k) => end += k,
                None => return Err((self.line, "a quote is opened and never closed".into())),
            }
            if bytes.get(end + 1) != Some(&b'"') {
                break;
            }
            end += 2;
        }
        let (cell, rest) = (&quoted[..end], &quoted[end + 1..]);
        self.line += cell.matches('\n').count();
        self.rest = rest;
        if !rest.is_empty() && !rest.starts_with([',', '\r', '\n']) {
            return Err((self.line, "text after a closing quote; double the quotes inside a quoted cell".into()));
        }
        Ok(if cell.contains('"') { cell.replace("\"\"", "\"").into() } else { cell.into() })
    }

    fn end_line(&mut self) -> bool {
        let rest = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix(['\r', '\n']));
        self.line += usize::from(rest.is_some());
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

/// Where the header puts what.
struct Columns {
    image: usize,
    width: usize,
    height: usize,
    landmarks: Vec<LandmarkColumns>,
}

struct LandmarkColumns {
    name: String,
    x: usize,
    y: usize,
    score: Option<usize>,
}

impl Columns {
    fn of(header: &[Cow<str>]) -> Result<Self, String> {
        let mut index: HashMap<&str, usize> = HashMap::with_capacity(header.len());
        let matters = |c: &str| {
            ["image", "width", "height"].contains(&c) || ["_x", "_y", "_score"].iter().any(|s| c.ends_with(s))
        };
        for (i, column) in header.iter().enumerate() {
            if index.insert(column, i).is_some() && matters(column) {
                return Err(format!("column {} appears twice", shown(column)));
            }
        }
        let find = |name: &str| {
            let have = || list(header.iter().map(|c| c.as_ref()));
            index.get(name).copied().ok_or_else(|| format!("no column {}; the header has {}", shown(name), have()))
        };
        let (image, width, height) = (find("image")?, find("width")?, find("height")?);
        let mut landmarks = Vec::new();
        for (i, column) in header.iter().enumerate() {
            if let Some(name) = column.strip_suffix("_x") {
                if name.is_empty() {
                    return Err("column \"_x\" has no landmark name".into());
                }
                let score = index.get(format!("{name}_score").as_str()).copied();
                landmarks.push(LandmarkColumns { name: name.into(), x: i, y: find(&format!("{name}_y"))?, score });
            } else if let Some(name) = column.strip_suffix("_y") {
                find(&format!("{name}_x"))?;
            }
        }
        if landmarks.is_empty() {
            return Err("no landmark columns <name>_x,<name>_y".into());
        }
        Ok(Self { image, width, height, landmarks })
    }
}

/// A cell's number, `None` if it is empty.
fn number(cell: &str) -> Result<Option<f64>, String> {
    match cell.trim() {
        "" => Ok(None),
        text => match text.parse::<f64>() {
            Ok(v) if v.is_finite() => Ok(Some(v)),
            _ => Err(format!("{} is not a finite number", shown(cell))),
        },
    }
}

fn push_cell(csv: &mut String, cell: &str) {
    if cell.contains([',', '"', '\r', '\n']) {
        let _ = write!(csv, "\"{}\"", cell.replace('"', "\"\"")); // writing to a String cannot fail
    } else {
        csv.push_str(cell);
    }
}

/// `text` quoted for a message, and short: a hostile cell may be megabytes long.
fn shown(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The first few of `items` for a message.
fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let mut items = items.map(shown);
    let first: Vec<String> = items.by_ref().take(6).collect();
    match items.count() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[derive(Serialize, Deserialize)]
struct JsonFile {
    names: Vec<String>,
    images: Vec<JsonImage>,
}

#[derive(Serialize, Deserialize)]
struct JsonImage {
    image: String,
    width: u32,
    height: u32,
    points: JsonPoints,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct JsonPoint {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

/// An object in the file's order, duplicates kept: a map type would drop all but the last without a word.
struct JsonPoints(Vec<(String, Option<JsonPoint>)>);

impl Serialize for JsonPoints {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, point)| (name, point)))
    }
}

impl<'de> Deserialize<'de> for JsonPoints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = JsonPoints;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of points by landmark name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonPoints, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(JsonPoints(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "image,width,height,a_x,a_y,a_score,note,b_x,b_y\n1.jpg,10,20,1.5,-0.25,0.5,hi,,\n\
                       \"2, \"\"q\"\"\n.jpg\",10,20,3,4,,,1e-3,19.5\n";

    fn csv(text: &str) -> Result<Labels> {
        Labels::from_csv(text, "t.csv")
    }

    fn splitmix(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn reads_quotes_missing_points_and_extra_columns() {
        let labels = csv(CSV).unwrap();
        assert_eq!(labels.names, ["a", "b"]);
        assert_eq!(labels.rows[0].points, [Some([1.5, -0.25]), None]);
        assert_eq!(labels.rows[0].scores, [Some(0.5), None]);
        assert_eq!(labels.rows[1].image, "2, \"q\"\n.jpg");
        assert_eq!(labels.row("2, \"q\"\n.jpg").unwrap().points[1], Some([1e-3, 19.5]));
        assert_eq!(csv(&CSV.replace('\n', "\r\n")).unwrap().names, labels.names);
        assert!(csv("image,width,height,a_x,a_y\n1,774.0,1, 2 ,3\n\n").unwrap().rows[0].scores.is_empty());
    }

    #[test]
    fn round_trips_through_csv_json_and_files() {
        let folder = std::env::temp_dir().join(format!("onemark-labels-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut state = 1;
        for round in 0..200 {
            let mut next = || splitmix(&mut state);
            let names: Vec<String> =
                (0..1 + next() % 5).map(|k| format!("n{k}{}", ["", ",", "\"", "_x"][(next() % 4) as usize])).collect();
            let with_scores = round % 2 == 0;
            let rows = (0..1 + next() % 4).map(|i| {
                let mut real = |missing: bool| {
                    let v = f64::from_bits(next());
                    (!missing && v.is_finite()).then_some(v)
                };
                let points: Vec<_> = names.iter().map(|_| Some([real(false)?, real(false)?])).collect();
                let mut scores: Vec<_> = names.iter().map(|_| real(i == 1).map(|v| v.abs().min(1.0))).collect();
                scores[0] = Some(0.125); // a row of empty scores alone cannot say that it has any
                LabelRow {
                    image: format!("{i}\r\n,\"é"),
                    width: 1 + (next() % 4000) as u32,
                    height: u32::MAX,
                    points,
                    scores: if with_scores { scores } else { vec![] },
                }
            });
            let labels = Labels { rows: rows.collect(), names: names.clone() };
            assert_eq!(csv(&labels.to_csv()).unwrap(), labels);
            assert_eq!(Labels::from_json(&labels.to_json(), "t.json").unwrap(), labels);
            if round < 4 {
                for file in ["l.csv", "l.JSON"] {
                    labels.write(folder.join(file)).unwrap();
                    assert_eq!(Labels::read(folder.join(file)).unwrap(), labels);
                }
            }
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "no temporary file is left");
        assert!(Labels::default().write(folder.join("e.csv")).is_err());
        assert!(write_atomic(&folder, b"").is_err() && write_atomic(folder.join("no/such"), b"").is_err());
        std::fs::write(folder.join("latin1.csv"), b"image,width,height,a_x,a_y\n\xe9,1,1,0,0\n").unwrap();
        assert!(Labels::read(folder.join("latin1.csv")).unwrap_err().to_string().contains("line 2: not UTF-8"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn faults_name_the_place() {
        let h = "image,width,height,a_x,a_y\n";
        for (text, expected) in [
            (String::new(), "t.csv: empty;"),
            (h.into(), "t.csv: nothing after the header"),
            ("image,width,a_x,a_y\n".into(), "line 1: no column \"height\""),
            ("image,width,height\n".into(), "line 1: no landmark columns"),
            ("image,width,height,_x,_y\n".into(), "line 1: column \"_x\" has no landmark name"),
            ("image,width,height,a_x\n".into(), "line 1: no column \"a_y\""),
            ("image,width,height,a_y\n".into(), "line 1: no column \"a_x\""),
            ("image,width,height,a_x,a_y,a_x\n".into(), "line 1: column \"a_x\" appears twice"),
            (format!("{h}1,1,1,0,0\n\n1,1,1,0,0\n"), "line 4, column \"image\": \"1\" has a row already, at line 2"),
            (format!("{h}1,1,1,nan,0\n"), "line 2, column \"a_x\": \"nan\" is not a finite number"),
            (format!("{h}1,1,1,0,1e999\n"), "line 2, column \"a_y\": \"1e999\""),
            (format!("{h}1,1,1,0,\n"), "line 2, column \"a_y\": empty"),
            (format!("{h}1,0,1,0,0\n"), "line 2, column \"width\": \"0\" is not a size"),
            (format!("{h}1,1,,0,0\n"), "line 2, column \"height\": \"\" is not a size"),
            (format!("{h},1,1,0,0\n"), "line 2, column \"image\": empty"),
            (format!("{h}1,1,1,0\n"), "line 2: 4 cells, but the header has 5"),
            (format!("{h}1,1,1,0,0,0\n"), "line 2: more than 5 cells"),
            (format!("{h}\"1\n\n\",1,1,x,0\n"), "line 2, column \"a_x\""),
            (format!("{h}\"1,1,1,0,0\n"), "line 2: a quote is opened and never closed"),
            (format!("{h}\"1\"2,1,1,0,0\n"), "line 2: text after a closing quote"),
            (format!("{h}1\"2,1,1,0,0\n"), "line 2: a quote inside an unquoted cell"),
            ("image,width,height,a_x,a_y,a_score\n1,1,1,0,0,2\n".into(), "column \"a_score\": 2 is not a score"),
        ] {
            let message = csv(&text).unwrap_err().to_string();
            assert!(message.starts_with("t.csv: ") && message.contains(expected), "{text:?}: {message}");
        }
        let image = |points: &str| {
            format!(
                "{{\"names\":[\"a\"],\n\"images\":[{{\"image\":\"1\",\"width\":1,\"height\":1,\"points\":{points}}}]}}"
            )
        };
        for (text, expected) in [
            ("{\"names\":\n7}".into(), "line 2, column 1: invalid type"),
            ("{\"names\":[\"a\",\"a\"],\"images\":[]}".into(), "no landmarks or no images"),
            (image("{\"a\":{\"x\":1}}"), "image \"1\", landmark \"a\": one of"),
            (image("{\"b\":{\"x\":1,\"y\":1}}"), "landmark \"b\": not among"),
            (image("{\"a\":null,\"a\":null}"), "landmark \"a\": given twice"),
            (image("{\"a\":{\"x\":1e999,\"y\":1}}"), "number out of range"),
            (image("{\"a\":{\"score\":2}}"), "its score is not in 0..1"),
        ] {
            let message = Labels::from_json(&text, "t.json").unwrap_err().to_string();
            assert!(message.contains(expected), "{text:?}: {message}");
        }
    }

    #[test]
    fn damaged_files_never_panic() {
        let json = csv(CSV).unwrap().to_json();
        let mut state = 7;
        for text in [CSV, &json] {
            for round in 0..20_000 {
                let mut bytes = text.as_bytes().to_vec();
                for _ in 0..1 + round % 3 {
                    let at = splitmix(&mut state) as usize % bytes.len();
                    match round % 4 {
                        0 => bytes[at] ^= 1 << (splitmix(&mut state) % 8),
                        1 => bytes[at] = b",\"\r\n_x-e{}:"[splitmix(&mut state) as usize % 11],
                        2 => bytes.truncate(at + 1),
                        _ => _ = bytes.remove(at),
                    }
                }
                let text = String::from_utf8_lossy(&bytes);
                for labels in [csv(&text), Labels::from_json(&text, "t.json")].into_iter().flatten() {
                    assert_eq!(csv(&labels.to_csv()).unwrap().names, labels.names);
                    let _ = labels.template("t", "1.jpg");
                }
            }
        }
    }

    #[test]
    fn template_needs_every_point_inside() {
        let labels = csv(CSV).unwrap();
        let message = |image| labels.template("t.csv", image).unwrap_err().to_string();
        assert!(message("1.jpg").contains("image \"1.jpg\", landmark \"b\": missing; the template needs"));
        assert!(message("3.jpg").contains("no row for the template image \"3.jpg\"; the file has \"1.jpg\""));
        assert_eq!(labels.template("t.csv", "2, \"q\"\n.jpg").unwrap().width, 10);
        let outside = csv("image,width,height,a_x,a_y\n1,10,20,9.6,0\n").unwrap();
        assert!(
            outside.template("t.csv", "1").unwrap_err().to_string().contains("landmark \"a\": (9.6, 0) is outside")
        );
    }

    #[test]
    fn scaling_keeps_edges_and_inverts() {
        assert_eq!(scale_point([-0.5, 9.5], (10.0, 10.0), (4.0, 20.0)), [-0.5, 19.5]);
        let p = scale_point(scale_point([3.0, 7.25], (10.0, 10.0), (7.0, 3.0)), (7.0, 3.0), (10.0, 10.0));
        assert!((p[0] - 3.0).abs() < 1e-12 && (p[1] - 7.25).abs() < 1e-12);
    }
}
