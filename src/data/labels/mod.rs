//! Landmark files: the native CSV, the same content as JSON, and the formats of other tools (`formats`).
//!
//! ```text
//! image,width,height,sella_x,sella_y,sella_score,nasion_x,nasion_y,nasion_score
//! 151.jpg,774,960,340.1,409.9,0.93,,,0.02
//! ```
//!
//! Coordinates are pixels of the image whose size the row states, x to the right and y down, pixel centres at
//! integers: the image covers `-0.5 ..= width - 0.5`. An empty cell is a missing point. Scores are in `[0, 1]`.
//! Where the millimetres between pixels are known, the columns `pixel_width_mm,pixel_height_mm` behind `height` say them.
//! Each format has its own file; all obey the same rules ([`Labels::read`]).

mod csv;
#[cfg(feature = "cli")]
pub mod formats;
mod json;
#[cfg(feature = "cli")]
mod patch;

use std::collections::HashSet;
use std::path::Path;

use super::files::{read_capped, write_atomic};
pub use super::point::{Point, scale_point};
use crate::error::{Error, Result};

/// The largest label file that is read.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// The farthest coordinate in pixels, to either side: farther is no place in an image, and would overflow in what follows.
pub const MAX_COORDINATE: f64 = 1e9;

/// Millimetres from one pixel's centre to the next, `[to the right, down]`, both above 0.
pub type PixelSpacing = [f64; 2];

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
    /// Millimetres between the pixels of that image, if known.
    pub spacing: Option<PixelSpacing>,
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

/// The spacing of pixels of size-`from` images in the same image at size `to`, both `(width, height)`.
pub fn scale_spacing([x, y]: PixelSpacing, from: (f64, f64), to: (f64, f64)) -> PixelSpacing {
    [x * (from.0 / to.0), y * (from.1 / to.1)] // no rounding between equal sizes
}

/// Whether pixels are squares of `mm` a side, but for what rounding to four digits does.
pub fn is_square(spacing: PixelSpacing, mm: f64) -> bool {
    spacing.iter().all(|side| (side - mm).abs() <= 1e-4 * mm)
}

/// Whether an image of size `from` may be one of size `to`, scaled: each side is within a pixel of what the other demands.
pub fn same_shape(from: (f64, f64), to: (f64, f64)) -> bool {
    (from.0 * to.1 / to.0 - from.1).abs() <= 1.0 && (from.1 * to.0 / to.1 - from.0).abs() <= 1.0
}

impl Labels {
    /// Reads a native file: `.json` as JSON and any other as CSV.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Input`] with line and column (CSV, JSON syntax) or image and landmark (JSON content)
    /// for anything that is not stated in the [module's documentation](self), a file without rows and a file over
    /// [`MAX_FILE_BYTES`] included.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(&read_text(path)?, path)
    }

    /// As [`Labels::read`], of a file's text.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self> {
        let text = without_mark(text);
        if is_json(path) { Self::from_json(text, path) } else { Self::from_csv(text, path) }
    }

    /// The text of a file of this name.
    pub(crate) fn text(&self, path: &Path) -> String {
        if is_json(path) { self.to_json() } else { self.to_csv() }
    }

    /// Writes JSON if `path` ends in `.json`, else CSV. Whole or not at all: see [`write_atomic`].
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Input`] for content that [`Labels::read`] would refuse.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.check(path)?;
        write_atomic(path, self.text(path).as_bytes())
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
            if row.spacing.is_some_and(|spacing| !is_spacing(spacing)) {
                return fail(image, "the spacing of pixels must be above 0");
            }
            if row.points.len() != names.len() || !(row.scores.is_empty() || row.scores.len() == names.len()) {
                return fail(image, "the number of points or scores is not that of the landmarks");
            }
            let bad_point = |p: &Option<Point>| p.is_some_and(|p| !p.iter().all(|v| v.abs() <= MAX_COORDINATE));
            let bad_score = |s: &Option<f64>| s.is_some_and(|s| !(0.0..=1.0).contains(&s));
            if let Some(k) = row.points.iter().position(bad_point) {
                return fail(format!("{image}, landmark {}", shown(&self.names[k])), "not a place in pixels");
            }
            if let Some(k) = row.scores.iter().position(bad_score) {
                return fail(format!("{image}, landmark {}", shown(&self.names[k])), "its score is not in 0..1");
            }
        }
        Ok(())
    }
}

fn is_spacing(spacing: PixelSpacing) -> bool {
    spacing.iter().all(|mm| mm.is_finite() && *mm > 0.0)
}

/// A label file's text, without the byte order mark that spreadsheets put first.
fn read_text(path: &Path) -> Result<String> {
    let text = utf8(read_capped(path, MAX_FILE_BYTES)?, path)?;
    Ok(without_mark(&text).into())
}

fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// A file's bytes as text.
///
/// # Errors
/// [`Error::Input`] with the line.
pub(crate) fn utf8(bytes: Vec<u8>, path: &Path) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let valid = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|&&b| b == b'\n').count();
        Error::input_at(path, format!("line {line}"), "not UTF-8; another kind of file, or a text to be saved as UTF-8")
    })
}

/// Whether a file of this name holds JSON.
pub(crate) fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"))
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

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const CSV: &str = "image,width,height,a_x,a_y,a_score,note,b_x,b_y\n1.jpg,10,20,1.5,-0.25,0.5,hi,,\n\
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
                    (!missing && v.abs() <= MAX_COORDINATE).then_some(v)
                };
                let points: Vec<_> = names.iter().map(|_| Some([real(false)?, real(false)?])).collect();
                let mut scores: Vec<_> = names.iter().map(|_| real(i == 1).map(|v| v.abs().min(1.0))).collect();
                scores[0] = Some(0.125); // a row of empty scores alone cannot say that it has any
                LabelRow {
                    image: format!("{i}\r\n,\"é"),
                    width: 1 + (next() % 4000) as u32,
                    height: u32::MAX,
                    spacing: (round % 3 == 0 && i != 2).then(|| [0.1 + i as f64, 1.0 / 3.0]),
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
        std::fs::write(folder.join("latin1.csv"), b"image,width,height,a_x,a_y\n\xe9,1,1,0,0\n").unwrap();
        assert!(Labels::read(folder.join("latin1.csv")).unwrap_err().to_string().contains("line 2: not UTF-8"));
        std::fs::remove_dir_all(&folder).unwrap();
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
    fn a_shape_is_the_same_up_to_a_pixel() {
        assert!(same_shape((774.0, 960.0), (1935.0, 2400.0)) && same_shape((33.0, 21.0), (16.0, 10.0)));
        assert!(!same_shape((100.0, 50.0), (100.0, 60.0)) && !same_shape((100.0, 50.0), (50.0, 100.0)));
    }
}
