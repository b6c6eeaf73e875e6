//! The native CSV, cells quoted as in RFC 4180. Columns may stand in any order, and unknown ones are ignored.

use super::{LabelRow, Labels, MAX_COORDINATE, list, shown};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

/// The widest header: what keeps a hostile file from exhausting memory.
pub(super) const MAX_COLUMNS: usize = 1 << 16;
/// The columns of [`LabelRow::spacing`].
const PIXEL_WIDTH: &str = "pixel_width_mm";
const PIXEL_HEIGHT: &str = "pixel_height_mm";

impl Labels {
    /// The CSV text, with score columns if any row has scores. Numbers are the shortest that read back the same.
    pub fn to_csv(&self) -> String {
        let with_scores = self.rows.iter().any(|row| !row.scores.is_empty());
        let with_spacing = self.rows.iter().any(|row| row.spacing.is_some());
        let mut csv = String::from("image,width,height");
        csv.push_str(if with_spacing { ",pixel_width_mm,pixel_height_mm" } else { "" });
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
            let _ = match row.spacing {
                Some([x, y]) => write!(csv, ",{x},{y}"),
                None => write!(csv, "{}", if with_spacing { ",," } else { "" }),
            };
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

    /// Parses CSV; `path` is for messages.
    ///
    /// # Errors
    /// As [`Labels::read`].
    pub fn from_csv(text: &str, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let at_line = |(line, cause): (usize, String)| Error::input_at(path, format!("line {line}"), cause);
        let mut records = Records::new(text, 1);
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
            let millimetres = |column: usize| match number(column)? {
                Some(mm) if mm <= 0.0 => Err(at(column, format!("{mm} is not a length above 0"))),
                mm => Ok(mm),
            };
            let spacing = match columns.spacing {
                Some([x, y]) => match (millimetres(x)?, millimetres(y)?) {
                    (Some(mm_x), Some(mm_y)) => Some([mm_x, mm_y]),
                    (None, None) => None,
                    (mm_x, _) => {
                        return Err(at(if mm_x.is_none() { x } else { y }, "empty, but its twin is not".into()));
                    }
                },
                None => None,
            };
            let mut points = Vec::with_capacity(columns.landmarks.len());
            let mut scores = Vec::with_capacity(if with_scores { columns.landmarks.len() } else { 0 });
            let coordinate = |column: usize| match number(column)? {
                Some(v) if v.abs() > MAX_COORDINATE => Err(at(column, format!("{v} is no place in pixels"))),
                v => Ok(v),
            };
            for l in &columns.landmarks {
                points.push(match (coordinate(l.x)?, coordinate(l.y)?) {
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
            rows.push(LabelRow { image, width, height, spacing, points, scores });
        }
        if rows.is_empty() {
            return Err(Error::input(path, "nothing after the header; a label file has one row an image"));
        }
        Ok(Self { names: columns.landmarks.into_iter().map(|l| l.name).collect(), rows })
    }
}

/// RFC 4180 records; a line ends in LF, CRLF or CR, and empty lines are skipped.
pub(super) struct Records<'a> {
    pub(super) rest: &'a str,
    pub(super) line: usize,
}

/// A record: the line on which it begins, and its cells.
pub(super) type Record<'a> = (usize, Vec<Cow<'a, str>>);

impl<'a> Records<'a> {
    /// The records of `text`, which begins on this line of its file.
    pub(super) fn new(text: &'a str, line: usize) -> Self {
        Self { rest: text, line }
    }

    /// The next record, or `None` at the end. A fault comes with its line.
    pub(super) fn next_record(&mut self, max_cells: usize) -> Result<Option<Record<'a>>, (usize, String)> {
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

    pub(super) fn cell(&mut self) -> Result<Cow<'a, str>, (usize, String)> {
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

    pub(super) fn end_line(&mut self) -> bool {
        let rest = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix(['\r', '\n']));
        self.line += usize::from(rest.is_some());
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

/// Where the header puts what.
pub(super) struct Columns {
    pub(super) image: usize,
    pub(super) width: usize,
    pub(super) height: usize,
    spacing: Option<[usize; 2]>,
    pub(super) landmarks: Vec<LandmarkColumns>,
}

pub(super) struct LandmarkColumns {
    pub(super) name: String,
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) score: Option<usize>,
}

impl Columns {
    pub(super) fn of(header: &[Cow<str>]) -> Result<Self, String> {
        let mut index: HashMap<&str, usize> = HashMap::with_capacity(header.len());
        let matters = |c: &str| {
            ["image", "width", "height", PIXEL_WIDTH, PIXEL_HEIGHT].contains(&c)
                || ["_x", "_y", "_score"].iter().any(|s| c.ends_with(s))
        };
        for (i, column) in header.iter().enumerate() {
            if index.insert(column, i).is_some() && matters(column) {
                return Err(format!("column {} appears twice", shown(column)));
            }
        }
        let find = |name: &str| {
            let have = || list(header.iter().map(|c| c.as_ref()));
            let names = [name, "image", "width", "height"];
            let other = [(';', "semicolons"), ('\t', "tabs")].into_iter().find(|&(separator, _)| {
                header
                    .iter()
                    .any(|c| c.split(separator).any(|cell| names.contains(&cell.trim())) && c.contains(separator))
            });
            let hint = || match other {
                Some((_, what)) => format!("; its cells are separated by {what}: save it with commas"),
                None if header.iter().any(|c| c.trim() == name) => "; a space belongs to that name: remove it".into(),
                None => String::new(),
            };
            let cause = || format!("no column {}; the header has {}{}", shown(name), have(), hint());
            index.get(name).copied().ok_or_else(cause)
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
        let spacing = match [PIXEL_WIDTH, PIXEL_HEIGHT].iter().any(|column| index.contains_key(column)) {
            true => Some([find(PIXEL_WIDTH)?, find(PIXEL_HEIGHT)?]),
            false => None,
        };
        Ok(Self { image, width, height, spacing, landmarks })
    }
}

/// A cell's number, `None` if it is empty.
pub(super) fn number(cell: &str) -> Result<Option<f64>, String> {
    match cell.trim() {
        "" => Ok(None),
        text => match text.parse::<f64>() {
            Ok(v) if v.is_finite() => Ok(Some(v)),
            _ => Err(format!("{} is not a finite number", shown(cell))),
        },
    }
}

pub(super) fn push_cell(csv: &mut String, cell: &str) {
    if cell.contains([',', '"', '\r', '\n']) {
        let _ = write!(csv, "\"{}\"", cell.replace('"', "\"\"")); // writing to a String cannot fail
    } else {
        csv.push_str(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::CSV;
    use super::*;

    fn csv(text: &str) -> Result<Labels> {
        Labels::from_csv(text, "t.csv")
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
    fn faults_name_the_place() {
        let h = "image,width,height,a_x,a_y\n";
        let with_mm = "image,width,height,pixel_width_mm,pixel_height_mm,a_x,a_y\n";
        for (text, expected) in [
            (String::new(), "t.csv: empty;"),
            (h.into(), "t.csv: nothing after the header"),
            ("image,width,a_x,a_y\n".into(), "line 1: no column \"height\""),
            ("image;width;height;a_x;a_y\n".into(), "separated by semicolons: save it with commas"),
            ("image\twidth\theight\ta_x\ta_y\n".into(), "separated by tabs: save it with commas"),
            ("image, width, height, a_x, a_y\n".into(), "\" width\", \" height\", \" a_x\", \" a_y\"; a space belongs"),
            ("image,width,height\n".into(), "line 1: no landmark columns"),
            ("image,width,height,_x,_y\n".into(), "line 1: column \"_x\" has no landmark name"),
            ("image,width,height,a_x\n".into(), "line 1: no column \"a_y\""),
            ("image,width,height,a_y\n".into(), "line 1: no column \"a_x\""),
            ("image,width,height,a_x,a_y,a_x\n".into(), "line 1: column \"a_x\" appears twice"),
            (format!("{h}1,1,1,0,0\n\n1,1,1,0,0\n"), "line 4, column \"image\": \"1\" has a row already, at line 2"),
            (format!("{h}1,1,1,nan,0\n"), "line 2, column \"a_x\": \"nan\" is not a finite number"),
            (format!("{h}1,1,1,0,1e999\n"), "line 2, column \"a_y\": \"1e999\""),
            (format!("{h}1,1,1,-1e9,1e10\n"), "line 2, column \"a_y\": 10000000000 is no place in pixels"),
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
            ("image,width,height,a_x,a_y,pixel_width_mm\n".into(), "line 1: no column \"pixel_height_mm\""),
            (format!("{with_mm}1,1,1,0,0.1,0,0\n"), "line 2, column \"pixel_width_mm\": 0 is not a length above 0"),
            (format!("{with_mm}1,1,1,0.1,,0,0\n"), "line 2, column \"pixel_height_mm\": empty, but its twin"),
            ("image,width,height,a_x,a_y,a_score\n1,1,1,0,0,2\n".into(), "column \"a_score\": 2 is not a score"),
        ] {
            let message = csv(&text).unwrap_err().to_string();
            assert!(message.starts_with("t.csv: ") && message.contains(expected), "{text:?}: {message}");
        }
    }
}
