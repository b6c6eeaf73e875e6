//! The native content as JSON:
//! `{"names": [..], "images": [{"image", "width", "height", "spacing": [x, y], "points": {name: {"x", "y", "score"}}}]}`.

use super::{LabelRow, Labels, PixelSpacing, shown};
use crate::error::{Error, Result};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

/// The most points of a file: what keeps a hostile one from exhausting memory.
pub(super) const MAX_POINTS: usize = 1 << 26;

/// Parses JSON of any kind; a fault names line and column.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str, path: &Path) -> Result<T> {
    serde_json::from_str(text).map_err(|e| {
        let cause = e.to_string();
        // The place is said once, in front; a hostile string is quoted at any length.
        let cause: String = cause.split(" at line ").next().unwrap_or_default().chars().take(200).collect();
        Error::input_at(path, format!("line {}, column {}", e.line(), e.column()), cause)
    })
}

impl Labels {
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
                spacing: row.spacing,
                points: Object(points.collect()),
            }
        });
        let file = JsonFile { names: self.names.clone(), images: images.collect() };
        serde_json::to_string_pretty(&file).unwrap_or_default() + "\n" // strings, numbers and string keys cannot fail
    }

    /// Parses JSON; `path` is for messages.
    ///
    /// # Errors
    /// As [`Labels::read`].
    pub fn from_json(text: &str, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let JsonFile { names, images } = parse(text, path)?;
        if names.len().saturating_mul(images.len()) > MAX_POINTS {
            return Err(Error::input(path, format!("more than {MAX_POINTS} points")));
        }
        let index: HashMap<&str, usize> = names.iter().enumerate().map(|(k, name)| (name.as_str(), k)).collect();
        let with_scores = images.iter().flat_map(|i| &i.points.0).any(|(_, p)| p.is_some_and(|p| p.score.is_some()));
        let mut rows = Vec::with_capacity(images.len());
        for JsonImage { image, width, height, spacing, points: Object(entries) } in images {
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
            rows.push(LabelRow { image, width, height, spacing, points, scores });
        }
        let labels = Self { names, rows };
        labels.check(path)?;
        Ok(labels)
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spacing: Option<PixelSpacing>,
    points: Object<Option<JsonPoint>>,
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
pub(super) struct Object<V>(pub Vec<(String, V)>);

impl<V: Serialize> Serialize for Object<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Object<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Object<V>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_the_place() {
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
            (image("{\"a\":{\"x\":1e308,\"y\":1}}"), "landmark \"a\": not a place in pixels"),
            (image("{\"a\":{\"score\":2}}"), "its score is not in 0..1"),
        ] {
            let message = Labels::from_json(&text, "t.json").unwrap_err().to_string();
            assert!(message.contains(expected), "{text:?}: {message}");
        }
    }
}
