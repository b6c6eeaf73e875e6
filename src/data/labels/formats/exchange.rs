//! Label files of any format, one file or a folder of them, read and written.

use super::builder::Builder;
use super::recognize::{files_in, of_file, of_folder};
use super::{Format, Images, Source, Spacing, Target, stem};
use crate::data::files::write_atomic;
use crate::data::labels::{Labels, PixelSpacing, is_square, list, read_text, shown};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A label file, or a folder of files with one image each, whose format is known.
pub struct LabelFile {
    path: PathBuf,
    format: &'static Format,
    /// In the order of their names.
    files: Vec<PathBuf>,
    /// That of a file that is no folder; it may be a pipe, which is read once.
    text: Option<String>,
}

/// Labels as they were read.
pub struct Found {
    /// The labels.
    pub labels: Labels,
    /// Images that are in the file but not among those given, and that could not be read without.
    pub unknown_images: usize,
    /// What was left out or assumed, a line each.
    pub notes: Vec<String>,
}

/// Where Slicer places an image that has no spacing of its own.
const ONE_MM: &str = "a pixel is taken for 1 mm where no spacing is known, as Slicer does with PNG and JPEG; for others: \
                      onemark convert --spacing MM";

impl LabelFile {
    /// Opens a file or folder, and recognises its format unless it is given.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Input`] for a text that is not UTF-8 or too large, and for a folder without files of the
    /// format or with files of several.
    pub fn open(path: impl AsRef<Path>, format: Option<&'static Format>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        if !path.is_dir() {
            let text = read_text(&path)?;
            let format = format.unwrap_or_else(|| of_file(&path, &text));
            return Ok(Self { files: vec![path.clone()], text: Some(text), path, format });
        }
        let format = format.map_or_else(|| of_folder(&path), Ok)?;
        if !format.per_image {
            return Err(Error::input(path, format!("a folder, but {} is one file", format.title)));
        }
        Ok(Self { files: files_in(&path, format)?, text: None, path, format })
    }

    /// Its format.
    pub fn format(&self) -> &'static Format {
        self.format
    }

    /// Its labels. Images are for formats that hold no sizes, the spacing (millimetres a pixel) for those in millimetres, where it
    /// goes before what an image states.
    ///
    /// # Errors
    /// As [`Labels::read`]; [`Error::Input`] also where an image's size is needed and not known.
    pub fn read(&self, images: &Images, spacing: Option<f64>) -> Result<Found> {
        let (format, alone) = (self.format, self.text.is_some());
        let mut builder = Builder::default();
        for path in &self.files {
            let text = self.text.as_deref().map_or_else(|| read_text(path).map(Cow::Owned), |text| Ok(text.into()))?;
            (format.read)(&Source { path, text: &text, images, spacing, alone, format }, &mut builder)?;
        }
        let unknown_images = builder.unknown_images();
        let assumed = builder.assumed_mm;
        let (labels, mut notes) = builder.finish(&self.path)?;
        notes.extend(assumed.then(|| ONE_MM.into()));
        Ok(Found { labels, unknown_images, notes })
    }
}

/// Writes labels: one file, or in a folder (made if need be) a file for each image where the format is so, unless `path`
/// itself is named like a file. Every file whole or not at all; one that is there is replaced.
///
/// Returns what the format cannot hold of these labels, and what was assumed.
///
/// # Errors
/// As [`targets`], and [`Error::Input`] for labels that the format cannot hold at all; nothing is written then.
pub fn write(labels: &Labels, path: impl AsRef<Path>, format: &Format, spacing: Option<f64>) -> Result<Vec<String>> {
    let path = path.as_ref();
    labels.check(path)?;
    let images: Vec<&str> = labels.rows.iter().map(|row| row.image.as_str()).collect();
    let files = targets(path, format, &labels.names, &images)?;
    let write = format.write.expect("targets refuses formats that are not written");
    let text = |labels: &Labels, file: &Path| write(labels, &Target { path: file, spacing });
    let mut notes = Vec::from_iter(format.loses(labels));
    let unsaid = spacing.is_none() && labels.rows.iter().any(|row| row.spacing.and_then(square).is_none());
    notes.extend((format.spacing == Spacing::Needed && unsaid).then(|| ONE_MM.into()));
    if !format.per_image {
        write_atomic(path, text(labels, path)?.as_bytes())?;
        return Ok(notes);
    }
    let alone = |row: usize| Labels { names: labels.names.clone(), rows: vec![labels.rows[row].clone()] };
    let texts: Vec<String> =
        files.iter().enumerate().map(|(row, file)| text(&alone(row), file)).collect::<Result<_>>()?;
    if let Some(folder) = files[0].parent().filter(|folder| *folder == path) {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", e))?;
    }
    for (file, text) in files.iter().zip(texts) {
        write_atomic(file, text.as_bytes())?;
    }
    Ok(notes)
}

/// The side of a pixel, if it is a square.
pub(super) fn square(spacing: PixelSpacing) -> Option<f64> {
    is_square(spacing, spacing[0]).then_some(spacing[0])
}

/// The files that [`write()`] would write for labels with these landmarks and images.
///
/// # Errors
/// [`Error::Usage`] for a format that is only read, and for one of an image a file where `path` is one file and the images
/// are several; [`Error::Input`] for landmarks that the format is not made for, and for images whose names do not make files.
pub fn targets(path: &Path, format: &Format, landmarks: &[String], images: &[&str]) -> Result<Vec<PathBuf>> {
    if !format.is_written() {
        return Err(Error::Usage(format!("{} can be read, but not written", format.title)));
    }
    let lacks: Vec<&str> =
        format.landmarks.iter().copied().filter(|name| !landmarks.iter().any(|l| l == name)).collect();
    if !lacks.is_empty() || (!format.landmarks.is_empty() && landmarks.len() > format.landmarks.len()) {
        let lacks = if lacks.is_empty() { "others too".into() } else { format!("not {}", list(lacks.into_iter())) };
        let n = format.landmarks.len();
        return Err(Error::input(
            path,
            format!("{} holds {n} landmarks of its own, but there are {lacks}", format.title),
        ));
    }
    let plain =
        |image: &&&str| Path::new(image).file_name().is_none_or(|name| name != **image) || image.contains(['/', '\\']);
    if let Some(image) = images.iter().find(plain).filter(|_| !format.is_native()) {
        return Err(Error::input(
            path,
            format!("image {}: not a plain file name; folders are kept in csv and json alone", shown(image)),
        ));
    }
    let last_ending = format.ending.rsplit('.').next();
    let as_file = path.extension().is_some_and(|e| e.to_str().map(str::to_lowercase).as_deref() == last_ending);
    let files = if !format.per_image {
        vec![path.into()]
    } else if as_file && images.len() > 1 {
        let (title, n) = (format.title, images.len());
        return Err(Error::Usage(format!(
            "{}: {title} is a file an image, and there are {n}; name a folder",
            path.display()
        )));
    } else if as_file {
        vec![path.into()]
    } else {
        let mut files = HashMap::new(); // in lower case: not every file system tells
        for image in images {
            if let Some(other) = files.insert(stem(image).to_lowercase(), image) {
                let (other, image) = (shown(other), shown(image));
                return Err(Error::input(path, format!("images {other} and {image} would have the same file")));
            }
        }
        images.iter().map(|image| path.join(format!("{}{}", stem(image), format.ending))).collect()
    };
    if format.per_image && !as_file && path.exists() && !path.is_dir() {
        return Err(Error::input(path, format!("a file, but {} needs a folder", format.title)));
    }
    Ok(files)
}

/// Fails if one of the files is there, and not empty.
///
/// # Errors
/// [`Error::Input`] that names it.
pub fn refuse_existing(files: &[PathBuf]) -> Result<()> {
    // A pipe or a device, such as /dev/stdout, is no file that would be lost, nor is one that the shell has just made.
    match files.iter().find(|file| file.metadata().is_ok_and(|meta| meta.is_file() && meta.len() > 0)) {
        Some(file) => Err(Error::input(file, "is there already; remove it, or write elsewhere")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::labels::LabelRow;
    use crate::data::labels::formats::FORMATS;

    fn labels(images: &[&str]) -> Labels {
        let row = |image: &&str| LabelRow {
            image: (*image).into(),
            width: 9,
            height: 9,
            points: vec![Some([1.0, 2.0])],
            ..LabelRow::default()
        };
        Labels { names: vec!["a".into()], rows: images.iter().map(row).collect() }
    }

    #[test]
    fn what_cannot_be_written_is_not_written_in_part() {
        let folder = std::env::temp_dir().join(format!("onemark-exchange-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let format = |name: &str| Format::named(name).unwrap();
        let to = |name: &str, images: &[&str], path: &str| {
            write(&labels(images), folder.join(path), format(name), None).map_err(|e| e.to_string())
        };
        to("coco", &["1.png"], "c.json").unwrap();
        to("labelme", &["2.png"], "l").unwrap();
        for (name, images, path, words) in [
            ("labelme", &["1.png", "1.jpg"][..], "m", "images \"1.png\" and \"1.jpg\" would have the same file"),
            ("labelme", &["1.png", "2.png"], "m.json", "LabelMe is a file an image, and there are 2; name a folder"),
            ("labelme", &["../1.png"], "m", "image \"../1.png\": not a plain file name"),
            ("slicer", &["1.png"], "c.json/x", "cannot create"),
            ("coco", &["1.png"], "l", "l: a folder, but a file is to be written here"),
            ("fcsv", &["1.png"], "f.fcsv", "3D Slicer fiducials can be read, but not written"),
            (
                "isbi",
                &["1.png"],
                "i",
                "ISBI 2015 text holds 19 landmarks of its own, but there are not \"sella\", \"nasion\"",
            ),
        ] {
            let error = to(name, images, path).unwrap_err();
            assert!(error.contains(words), "{words}: {error}");
        }
        assert!(!folder.join("m").exists());
        let files = targets(&folder.join("l"), format("labelme"), &["a".into()], &["3.png", "2.png"]).unwrap();
        assert!(refuse_existing(&files).unwrap_err().to_string().contains("2.json: is there already; remove it"));
        std::fs::write(&files[0], "").unwrap();
        refuse_existing(&files[..1]).unwrap();
        to("labelme", &["1.png", "2.png"], "l").unwrap();
        to("labelme", &["3.png"], "l/3.json").unwrap();
        let found = LabelFile::open(folder.join("l"), None).unwrap().read(&Images::default(), None).unwrap();
        assert_eq!(found.labels, labels(&["1.png", "2.png", "3.png"]));
        let error = LabelFile::open(folder.join("l"), Some(format("coco"))).err().unwrap().to_string();
        assert!(error.contains("l: a folder, but COCO keypoints is one file"), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn endings_tell_what_to_write() {
        let of = |name: &str| Format::of_ending(Path::new(name)).map(|format| format.name);
        let found =
            ["a/b.CSV", "x.json", "x.mrk.json", "x.tps", "x.xml", "x.txt", "x.fcsv"].map(|name| of(name).unwrap());
        assert_eq!(found, ["csv", "json", "slicer", "tps", "cvat", "isbi", "fcsv"]);
        let error = of("labels").unwrap_err();
        assert!(
            error.to_string().contains("one of csv, json, coco, labelme, cvat, slicer, deeplabcut, tps, isbi"),
            "{error}"
        );
        assert!(FORMATS.iter().all(|format| Format::named(format.name).unwrap().ending == format.ending));
    }
}
