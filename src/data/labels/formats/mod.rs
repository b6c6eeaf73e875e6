//! The label formats: one table, from which the command line, its help and the table in `docs/formats/` come.

mod builder;
mod coco;
mod cvat;
mod deeplabcut;
mod exchange;
mod fcsv;
mod isbi;
mod labelme;
mod native;
mod recognize;
#[cfg(test)]
mod round_trip;
mod sizes;
mod slicer;
mod tps;

use super::{LabelRow, Labels, shown};
use crate::error::{Error, Result};
use builder::Builder;
pub use exchange::{Found, LabelFile, refuse_existing, targets, write};
pub use sizes::Images;
use std::path::Path;

/// All formats, the native ones first.
pub static FORMATS: [Format; 10] = [
    native::CSV,
    native::JSON,
    coco::FORMAT,
    labelme::FORMAT,
    cvat::FORMAT,
    slicer::FORMAT,
    fcsv::FORMAT,
    deeplabcut::FORMAT,
    tps::FORMAT,
    isbi::FORMAT,
];

/// A format of label files.
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// How its files' names end, with the dot.
    pub ending: &'static str,
    /// Whether a file holds one image, so that several images are a folder.
    pub per_image: bool,
    /// What it can hold.
    pub holds: Holds,
    /// The landmarks that it is made for, in its order; empty where any may be.
    pub landmarks: &'static [&'static str],
    /// What the length of a pixel is for.
    pub spacing: Spacing,
    read: fn(&Source, &mut Builder) -> Result<()>,
    write: Option<fn(&Labels, &Target) -> Result<String>>,
}

/// What a format can hold.
#[derive(Clone, Copy)]
pub struct Holds {
    /// The names of landmarks, not their order alone.
    pub names: bool,
    /// A score for each point.
    pub scores: bool,
    /// That a landmark is missing, and in which image.
    pub missing: bool,
    /// Image sizes; without them images are needed to read it.
    pub sizes: bool,
    /// Fractions of a pixel.
    pub fractions: bool,
}

/// What a format needs the length of a pixel for.
#[derive(Clone, Copy, PartialEq)]
pub enum Spacing {
    /// Nothing: all is in pixels.
    Unused,
    /// Each row says its own.
    Held,
    /// It can be said beside positions in pixels.
    Said,
    /// Positions are in millimetres; without a spacing they are taken for pixels.
    Needed,
}

impl Holds {
    const ALL: Self = Self { names: true, scores: true, missing: true, sizes: true, fractions: true };
}

/// A file that is read.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
    images: &'a Images,
    /// Millimetres a pixel, over what images state.
    spacing: Option<f64>,
    /// Whether it is no file of a folder.
    alone: bool,
    format: &'static Format,
}

/// A file that is written.
struct Target<'a> {
    path: &'a Path,
    /// Millimetres a pixel, over what rows state.
    spacing: Option<f64>,
}

impl Target<'_> {
    /// Millimetres a pixel of a row's image, if it is known and pixels are squares.
    fn spacing(&self, row: &LabelRow) -> Option<f64> {
        self.spacing.or_else(|| row.spacing.and_then(exchange::square))
    }
}

impl Format {
    /// The format of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.name == name)
    }

    /// The format in which a file of this name is written.
    ///
    /// # Errors
    /// [`Error::Usage`] for an ending of no format.
    pub fn of_ending(path: &Path) -> Result<&'static Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        // The native formats own the endings that others share, but `.mrk.json` is longer than `.json`.
        let ends = FORMATS.iter().filter(|format| name.ends_with(format.ending));
        ends.max_by_key(|format| (format.ending.len(), format.is_native())).ok_or_else(|| {
            let known = FORMATS.iter().filter(|format| format.write.is_some()).map(|format| format.name);
            let known = known.collect::<Vec<_>>().join(", ");
            Error::Usage(format!(
                "{}: no format by its ending; --format (of convert: --to) takes one of {known}",
                path.display()
            ))
        })
    }

    /// Whether it is one of the two that hold everything.
    pub fn is_native(&self) -> bool {
        self.name == native::CSV.name || self.name == native::JSON.name
    }

    /// Whether it can be written, not only read.
    pub fn is_written(&self) -> bool {
        self.write.is_some()
    }

    /// Whether labels with missing points can be written in it, with or without a word of them.
    pub fn takes_missing(&self) -> bool {
        self.holds.missing || self.landmarks.is_empty()
    }

    /// Title, files and limits in a line.
    pub fn about(&self) -> String {
        let each = if self.per_image { ", one an image" } else { "" };
        let mut parts = vec![format!("{} (*{}{each})", self.title, self.ending)];
        parts.extend(self.write.is_none().then(|| "read only".into()));
        let cannot = self.cannot_hold(|_| true);
        parts.extend((!cannot.is_empty()).then(|| format!("no {}", cannot.join(", "))));
        parts.join("; ")
    }

    /// What these labels lose in it, as a phrase.
    fn loses(&self, labels: &Labels) -> Option<String> {
        let points = || labels.rows.iter().flat_map(|row| &row.points);
        let mut lost = self.cannot_hold(|what| match what {
            "scores" => labels.rows.iter().flat_map(|row| &row.scores).any(Option::is_some),
            "missing points" => points().any(Option::is_none),
            "fractions of a pixel" => points().flatten().flatten().any(|v| v.fract() != 0.0),
            _ => true,
        });
        if self.spacing == Spacing::Unused && labels.rows.iter().any(|row| row.spacing.is_some()) {
            lost.push("millimetres");
        }
        let oblong = |row: &LabelRow| row.spacing.is_some_and(|spacing| exchange::square(spacing).is_none());
        if matches!(self.spacing, Spacing::Said | Spacing::Needed) && labels.rows.iter().any(oblong) {
            lost.push("pixels that are not square");
        }
        let row_loses = |row: &LabelRow| row.points.iter().flatten().any(|&p| tps::reads_as_missing(p, row.height));
        if self.name == tps::FORMAT.name && labels.rows.iter().any(row_loses) {
            lost.push("points that are both left of an image and below it");
        }
        (!lost.is_empty()).then(|| format!("{} holds no {}", self.title, lost.join(", no ")))
    }

    fn cannot_hold(&self, of_interest: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let Holds { names, scores, missing, sizes, fractions } = self.holds;
        let all = [
            (names, "landmark names"),
            (scores, "scores"),
            (missing, "missing points"),
            (sizes, "image sizes"),
            (fractions, "fractions of a pixel"),
        ];
        all.into_iter().filter(|&(held, what)| !held && of_interest(what)).map(|(_, what)| what).collect()
    }
}

impl Source<'_> {
    /// File name, width and height of the image that the file calls `written` and says to be `declared` large.
    /// `None`, and so left out, if it is not among the images that are given.
    fn image(
        &self,
        written: &str,
        declared: Option<(u32, u32)>,
        builder: &mut Builder,
    ) -> Result<Option<(String, (u32, u32))>> {
        match declared {
            Some(size) => Ok(Some((basename(written).into(), size))),
            None => self.among_given(self.images.find(written)?, written, builder),
        }
    }

    /// File name, width and height of the image by whose name the file goes; a single file may also be about the only image.
    fn own_image(&self, builder: &mut Builder) -> Result<Option<(String, (u32, u32))>> {
        let own = self.own_stem();
        let found = match self.images.of_stem(&own)? {
            None if self.alone => self.images.sole()?,
            found => found,
        };
        self.among_given(found, &own, builder)
    }

    /// Millimetres a pixel of an image; 1 where nobody says.
    fn spacing(&self, image: &str, builder: &mut Builder) -> Result<f64> {
        let known = match self.spacing {
            Some(mm) => Some(mm),
            None => self.images.spacing(image)?,
        };
        builder.assumed_mm |= known.is_none();
        Ok(known.unwrap_or(1.0))
    }

    /// The file's name without the format's ending.
    fn own_stem(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let end = name.len().saturating_sub(self.format.ending.len());
        match name.get(end..) {
            Some(ending) if ending.eq_ignore_ascii_case(self.format.ending) => name[..end].into(),
            _ => stem(&name).into(),
        }
    }

    fn among_given<T>(&self, found: Option<T>, called: &str, builder: &mut Builder) -> Result<Option<T>> {
        if self.images.is_empty() {
            let (title, called) = (self.format.title, shown(called));
            let cause = format!(
                "{title} holds no size of image {called}; say where the images are: \
                 onemark convert FILE OUT.csv --images DIR"
            );
            return Err(Error::input(self.path, cause));
        }
        if found.is_none() {
            builder.unknown_image();
        }
        Ok(found)
    }

    /// An error at a place in this file.
    fn fault(&self, place: impl std::fmt::Display, cause: impl Into<String>) -> Error {
        Error::input_at(self.path, place, cause)
    }
}

/// The file name at the end of a path of any system.
fn basename(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// A file name without its extension, which has a letter: the numbers of a UID, as DICOM files are called, are none.
pub fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.contains(char::is_alphabetic) => stem,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::stem;

    #[test]
    fn numbers_of_a_uid_are_no_extension() {
        let names = ["1.png", "a.b.JPG", "1.2.840.99", "1.2.840.99.dcm", ".hidden", "plain"];
        assert_eq!(names.map(stem), ["1", "a.b", "1.2.840.99", "1.2.840.99", ".hidden", "plain"]);
    }
}
