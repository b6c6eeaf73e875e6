//! Points of one image changed in the text of a landmark file: all that is not theirs stays, byte for byte. Columns and keys
//! that this program does not know, other images, line ends and the spelling of numbers survive a correction.

use super::csv::{Columns, Records, push_cell};
use super::json::Object;
use super::{Labels, Point};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ops::Range;

/// A point's new place in the pixels of its row, or none, and its score, if a detector found it there.
pub type Change<'a> = (&'a str, Option<Point>, Option<f64>);

/// A text to put in place of a part.
type Splice = (Range<usize>, String);

impl Labels {
    /// The CSV `text` with changed points of `image`. An image without a row gets one, of `width` x `height` pixels.
    ///
    /// # Errors
    /// The cause, if [`Labels::from_csv`] would refuse `text`, and for a landmark that it does not have.
    pub fn patch_csv(text: &str, image: &str, size: (u32, u32), changes: &[Change]) -> Result<String, String> {
        let mut records = Records { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
        let header = Record::next(&mut records, text)?.ok_or("no header")?;
        let columns = Columns::of(&header.cells)?;
        let mut cells = Vec::new();
        for (name, point, score) in changes {
            let landmark = columns.landmarks.iter().find(|l| l.name == *name).ok_or(format!("no landmark {name:?}"))?;
            let [x, y] = point.map_or([String::new(), String::new()], |p| p.map(|v| v.to_string()));
            cells.extend([(landmark.x, x), (landmark.y, y)]);
            let score = score.map_or(String::new(), |score| score.to_string());
            cells.extend(landmark.score.map(|column| (column, score)));
        }
        while let Some(record) = Record::next(&mut records, text)? {
            if record.cells.get(columns.image).is_some_and(|cell| cell == image) {
                let splice = |(column, cell): (usize, String)| Some((record.spans.get(column)?.clone(), cell));
                return spliced(text, cells.into_iter().map(splice).collect::<Option<_>>().ok_or("too few cells")?);
            }
        }
        let mut row = vec![String::new(); header.cells.len()];
        push_cell(&mut row[columns.image], image);
        (row[columns.width], row[columns.height]) = (size.0.to_string(), size.1.to_string());
        cells.into_iter().for_each(|(column, cell)| row[column] = cell);
        let rest = &text[header.spans.last().map_or(0, |span| span.end)..];
        let line_end = ["\r\n", "\n", "\r"].into_iter().find(|end| rest.starts_with(end)).unwrap_or("\n");
        let missing = if text.ends_with(['\r', '\n']) { "" } else { line_end };
        Ok(format!("{text}{missing}{}{line_end}", row.join(",")))
    }

    /// The JSON `text` with changed points of `image`, as [`Labels::patch_csv`].
    ///
    /// # Errors
    /// The cause, if [`Labels::from_json`] would refuse `text`.
    pub fn patch_json(text: &str, image: &str, size: (u32, u32), changes: &[Change]) -> Result<String, String> {
        let bad = |e: serde_json::Error| e.to_string();
        let body = text.strip_prefix('\u{feff}').unwrap_or(text);
        let images = serde_json::from_str::<Values>(body).map_err(bad)?.get("images").ok_or("no \"images\"")?;
        let rows: Vec<&RawValue> = serde_json::from_str(images.get()).map_err(bad)?;
        for row in &rows {
            let row: Values = serde_json::from_str(row.get()).map_err(bad)?;
            let name = row.get("image").ok_or("an image without its name")?;
            if serde_json::from_str::<String>(name.get()).map_err(bad)? != image {
                continue;
            }
            let points = row.get("points").ok_or("an image without points")?;
            let entries: Values = serde_json::from_str(points.get()).map_err(bad)?;
            let (mut splices, mut added) = (Vec::new(), Vec::new());
            for &(name, point, score) in changes {
                match entries.get(name) {
                    Some(old) => splices.push((span(text, old), json_point(point, score, Some(old)).map_err(bad)?)),
                    None => added.push(format!("{}: {}", quoted(name), json_point(point, score, None).map_err(bad)?)),
                }
            }
            splices.extend(appended(text, points, entries.0.is_empty(), added));
            return spliced(text, splices);
        }
        let placed = changes.iter().filter(|(_, point, score)| point.is_some() || score.is_some());
        let points =
            placed.map(|&(name, point, score)| Ok(format!("{}: {}", quoted(name), json_point(point, score, None)?)));
        let points = points.collect::<serde_json::Result<Vec<_>>>().map_err(bad)?;
        let row = format!(
            "{{\"image\": {}, \"width\": {}, \"height\": {}, \"points\": {{{}}}}}",
            quoted(image),
            size.0,
            size.1,
            points.join(", ")
        );
        spliced(text, appended(text, images, rows.is_empty(), vec![row]).into_iter().collect())
    }
}

/// A record's cells, and where each stands in the text.
struct Record<'a> {
    cells: Vec<Cow<'a, str>>,
    spans: Vec<Range<usize>>,
}

impl<'a> Record<'a> {
    fn next(records: &mut Records<'a>, text: &str) -> Result<Option<Self>, String> {
        while records.end_line() {}
        if records.rest.is_empty() {
            return Ok(None);
        }
        let (mut cells, mut spans) = (Vec::new(), Vec::new());
        loop {
            let start = text.len() - records.rest.len();
            cells.push(records.cell().map_err(|(line, cause)| format!("line {line}: {cause}"))?);
            spans.push(start..text.len() - records.rest.len());
            match records.rest.strip_prefix(',') {
                Some(rest) => records.rest = rest,
                None => return Ok(Some(Self { cells, spans })),
            }
        }
    }
}

/// A JSON object, each value as it is written.
type Values<'a> = Object<&'a RawValue>;

impl<'a> Values<'a> {
    fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find_map(|(k, value)| (k == key).then_some(*value))
    }
}

/// A point's JSON; of an `old` one, what is neither place nor score stays.
fn json_point(point: Option<Point>, score: Option<f64>, old: Option<&RawValue>) -> serde_json::Result<String> {
    let old = old.map(|old| serde_json::from_str::<Option<Values>>(old.get())).transpose()?.flatten();
    let mut entries: Vec<String> = Vec::new();
    let place = ["x", "y"].into_iter().zip(point.into_iter().flatten());
    for (key, value) in place.chain(score.map(|score| ("score", score))) {
        entries.push(format!("{}: {}", quoted(key), serde_json::to_string(&value)?));
    }
    let others = old.iter().flat_map(|old| &old.0).filter(|(key, _)| !["x", "y", "score"].contains(&key.as_str()));
    entries.extend(others.map(|(key, value)| format!("{}: {}", quoted(key), value.get())));
    Ok(if entries.is_empty() { "null".into() } else { format!("{{{}}}", entries.join(", ")) })
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Where a value, borrowed from `text`, stands in it.
fn span(text: &str, value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr() as usize - text.as_ptr() as usize;
    start..start + value.get().len()
}

/// `items` as the last of an object or array.
fn appended(text: &str, container: &RawValue, empty: bool, items: Vec<String>) -> Option<Splice> {
    let content = container.get()[1..container.get().len() - 1].trim_end();
    let end = span(text, container).start + 1 + content.len();
    let comma = if empty { "" } else { ", " };
    (!items.is_empty()).then(|| (end..end, format!("{comma}{}", items.join(", "))))
}

fn spliced(text: &str, mut splices: Vec<Splice>) -> Result<String, String> {
    splices.sort_by_key(|(span, _)| span.start);
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for (span, new) in splices {
        out.push_str(text.get(at..span.start).ok_or("a landmark is changed twice")?);
        out.push_str(&new);
        at = span.end;
    }
    out.push_str(&text[at..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::LabelRow;
    use super::*;
    use crate::random::Stream;

    const CSV: &str = "\u{feff}note,image,b_y,b_x,width,height,a_x,a_y,a_score\r\n\
                       \"one, two\",1.png,1e-3,2.50,10,20,+3,4.0,0.50\r\n\r\n\
                       ,\"2 \"\"q\"\".png\",,,10,20, 5 ,6,";

    #[test]
    fn only_the_cells_of_the_point_change() {
        let patch = |image, changes: &[Change]| Labels::patch_csv(CSV, image, (7, 8), changes).unwrap();
        let corrected = patch("1.png", &[("a", Some([1.25, 2.0]), None)]);
        assert_eq!(corrected, CSV.replace("+3,4.0,0.50", "1.25,2,"));
        let placed = patch("2 \"q\".png", &[("b", Some([9.0, 1.5]), None), ("a", None, None)]);
        assert_eq!(placed, CSV.replace("q\"\".png\",,,10,20, 5 ,6,", "q\"\".png\",1.5,9,10,20,,,"));
        let added = patch("3,.png", &[("b", Some([1.0, 2.0]), None)]);
        assert_eq!(added, format!("{CSV}\r\n,\"3,.png\",2,1,7,8,,,\r\n"));
        assert_eq!(patch("1.png", &[]), CSV);
        assert!(Labels::patch_csv(CSV, "1.png", (7, 8), &[("c", None, None)]).is_err());
    }

    #[test]
    fn only_the_point_changes_in_json() {
        let text = r#"{ "by": [1, {"x": 2}], "names": ["a", "b\"", "c"],
  "images": [
    {"image": "1.png", "width": 10, "height": 20, "points": {"a": {"x": 1.50, "y": 2e0, "score": 0.5, "who": "me"}, "c": null }},
    {"points": { }, "image": "2.png", "height": 20, "more": "}", "width": 10}
  ] }
"#;
        let patch = |image, changes: &[Change]| {
            let patched = Labels::patch_json(text, image, (7, 8), changes).unwrap();
            Labels::from_json(&patched, "t.json").unwrap();
            patched
        };
        let corrected = patch("1.png", &[("a", Some([3.0, 4.25]), None), ("b\"", Some([0.0, 1.0]), None)]);
        let expected = text.replace(r#"{"x": 1.50, "y": 2e0, "score": 0.5, "who""#, r#"{"x": 3.0, "y": 4.25, "who""#);
        assert_eq!(corrected, expected.replace(r#""c": null }"#, r#""c": null, "b\"": {"x": 0.0, "y": 1.0} }"#));
        assert_eq!(patch("1.png", &[("a", None, None)]), text.replace(r#""x": 1.50, "y": 2e0, "score": 0.5, "#, ""));
        let placed = patch("2.png", &[("c", Some([5.0, 6.0]), None)]);
        assert_eq!(placed, text.replace(r#""points": { }"#, r#""points": {"c": {"x": 5.0, "y": 6.0} }"#));
        let row = r#", {"image": "3.png", "width": 7, "height": 8, "points": {"a": {"x": 1.0, "y": 2.0}}}"#;
        let added = patch("3.png", &[("a", Some([1.0, 2.0]), None), ("c", None, None)]);
        assert_eq!(added, text.replace("\"width\": 10}\n", &format!("\"width\": 10}}{row}\n")));
    }

    /// What is read from a patched file is what was read before, but for the change.
    #[test]
    fn patched_files_read_back() {
        let mut random = Stream::new(5, &[]);
        let names: Vec<String> = ["a", "b_x", "c,\"d\"", "é"].map(String::from).into();
        for round in 0..300 {
            let mut place = |share: f64| (random.uniform() < share).then(|| [random.normal() * 50.0, random.normal()]);
            let rows = (0..4).map(|i| LabelRow {
                image: format!("{i}\n,\".png"),
                width: 40,
                height: 50 + i,
                points: names.iter().map(|_| place(0.8)).collect(),
                scores: if round % 2 == 0 { vec![Some(0.25), None, Some(1.0), Some(0.1)] } else { vec![] },
                ..LabelRow::default()
            });
            let before = Labels { rows: rows.collect(), names: names.clone() };
            let (image, k, point) = (format!("{}\n,\".png", round % 5), round % 4, place(0.7));
            let score = (round % 2 == 0 && round % 3 > 0).then_some(0.75);
            let mut after = before.clone();
            match after.rows.iter_mut().find(|row| row.image == image) {
                Some(row) => {
                    row.points[k] = point;
                    row.scores.get_mut(k).into_iter().for_each(|old| *old = score);
                }
                None => after.rows.push(LabelRow {
                    image: image.clone(),
                    width: 40,
                    height: 54,
                    points: (0..4).map(|i| point.filter(|_| i == k)).collect(),
                    scores: (0..before.rows[0].scores.len()).map(|i| score.filter(|_| i == k)).collect(),
                    ..LabelRow::default()
                }),
            }
            let change = [(names[k].as_str(), point, score)];
            let csv = Labels::patch_csv(&before.to_csv(), &image, (40, 54), &change).unwrap();
            assert_eq!(Labels::from_csv(&csv, "t.csv").unwrap(), after);
            let json = Labels::patch_json(&before.to_json(), &image, (40, 54), &change).unwrap();
            assert_eq!(Labels::from_json(&json, "t.json").unwrap(), after);
        }
    }
}
