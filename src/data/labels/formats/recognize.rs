//! Which format a file or folder is of: told by its content, and by its ending where the content is damaged.

use super::{FORMATS, Format, coco, cvat, deeplabcut, fcsv, isbi, labelme, native, slicer, tps};
use crate::data::labels::read_text;
use crate::error::{Error, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::path::{Path, PathBuf};

/// The format of a label file with this text.
pub(super) fn of_file(path: &Path, text: &str) -> &'static Format {
    of_text(text).or_else(|| Format::of_ending(path).ok()).unwrap_or(table(&native::CSV))
}

/// The format of the label files in a folder.
///
/// # Errors
/// [`Error::Io`], or [`Error::Input`] for a folder that has label files of no format or of several.
pub(super) fn of_folder(path: &Path) -> Result<&'static Format> {
    let mut found = Vec::new();
    for format in FORMATS.iter().filter(|format| format.per_image) {
        for file in files_in(path, format)? {
            // What cannot be read is of no format: notes lie about in such folders.
            if read_text(&file).is_ok_and(|text| of_text(&text).is_some_and(|of| of.name == format.name)) {
                found.push(format);
                break;
            }
        }
    }
    match found[..] {
        [format] => Ok(format),
        [] => {
            let known = FORMATS.iter().filter(|f| f.per_image).map(|f| format!("*{} of {}", f.ending, f.title));
            let known = known.collect::<Vec<_>>().join(", ");
            Err(Error::input(path, format!("a folder without files that hold an image's labels; looked for {known}")))
        }
        [a, b, ..] => {
            let cause = format!(
                "a folder with files of {} and of {}; name one: onemark convert --from {} ...",
                a.title, b.title, a.name
            );
            Err(Error::input(path, cause))
        }
    }
}

/// The files of a folder that a format may have, hidden ones left out, in the order of their names.
pub(super) fn files_in(folder: &Path, format: &Format) -> Result<Vec<PathBuf>> {
    let io = |source| Error::io(folder, "read", source);
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let ends =
            name.ends_with(format.ending) && !(name.ends_with(".mrk.json") && format.name != slicer::FORMAT.name);
        if ends && !name.starts_with('.') && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The format that a text begins like; `None` where that says nothing.
fn of_text(text: &str) -> Option<&'static Format> {
    let text = text.trim_start();
    let first = text.lines().next()?;
    let key = first.split_once('=').map(|(key, _)| key.trim().to_ascii_uppercase());
    Some(table(match first {
        _ if text.starts_with('{') => return of_json(text),
        _ if text.starts_with('<') => &cvat::FORMAT,
        _ if text.starts_with("# Markups fiducial") => &fcsv::FORMAT,
        _ if text.starts_with("scorer,") => &deeplabcut::FORMAT,
        _ if matches!(key.as_deref(), Some("LM" | "LM3")) => &tps::FORMAT,
        _ if isbi::point(first).is_some() => &isbi::FORMAT,
        _ => return None,
    }))
}

/// Told by the keys at the top.
fn of_json(text: &str) -> Option<&'static Format> {
    #[derive(Deserialize)]
    struct Keys {
        names: Option<IgnoredAny>,
        shapes: Option<IgnoredAny>,
        markups: Option<IgnoredAny>,
        categories: Option<IgnoredAny>,
    }
    let keys: Keys = serde_json::from_str(text).ok()?;
    let told = [
        (keys.names, &native::JSON),
        (keys.shapes, &labelme::FORMAT),
        (keys.markups, &slicer::FORMAT),
        (keys.categories, &coco::FORMAT),
    ];
    told.into_iter().find(|(key, _)| key.is_some()).map(|(_, format)| table(format))
}

/// The same format in the table.
fn table(format: &Format) -> &'static Format {
    Format::named(format.name).expect("every format is in the table")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::labels::formats::LabelFile;

    #[test]
    fn content_tells_the_format_and_the_ending_where_it_cannot() {
        let folder = std::env::temp_dir().join(format!("onemark-recognize-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        for (file, text, expected) in [
            ("a.txt", "image,width,height,a_x,a_y\n", "isbi"), // no point: by the ending
            ("b", "image,width,height,a_x,a_y\n", "csv"),
            ("c.json", "\u{feff} {\"names\": []}", "json"),
            ("d.json", "{\"images\": [], \"categories\": []}", "coco"),
            ("e.json", "{\"shapes\": [], \"names\": null}", "labelme"),
            ("f.json", "{\"markups\": []}", "slicer"),
            ("g.json", "{\"markups\": [", "json"),
            ("h.mrk.json", "", "slicer"),
            ("i.dat", "<annotations/>", "cvat"),
            ("j.csv", "scorer,me\n", "deeplabcut"),
            ("k.csv", "", "csv"),
            ("l", "\n lm = 3\n", "tps"),
            ("m", "835,996\r\n1473,1029\r\n", "isbi"),
            ("n", "# Markups fiducial file version = 4.4\n", "fcsv"),
        ] {
            std::fs::write(folder.join(file), text).unwrap();
            assert_eq!(LabelFile::open(folder.join(file), None).unwrap().format().name, expected, "{file}");
        }
        let mixed = |files: &[&str]| {
            let mixed = folder.join("mixed");
            let _ = std::fs::remove_dir_all(&mixed);
            std::fs::create_dir(&mixed).unwrap();
            files.iter().for_each(|file| _ = std::fs::copy(folder.join(file), mixed.join(file)).unwrap());
            of_folder(&mixed).map(|format| format.name).map_err(|e| e.to_string())
        };
        // A list of label names, which LabelMe keeps beside its files, is not of ISBI.
        assert_eq!(mixed(&["a.txt", "d.json", "e.json"]), Ok("labelme"));
        assert!(mixed(&["h.mrk.json"]).unwrap_err().contains("a folder without files"));
        std::fs::copy(folder.join("m"), folder.join("m.txt")).unwrap();
        let both = mixed(&["e.json", "m.txt"]).unwrap_err();
        assert!(both.contains("of LabelMe and of ISBI 2015 text; name one: onemark convert --from labelme"), "{both}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_of_no_format() {
        let folder = std::env::temp_dir().join(format!("onemark-notes-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("1.json"), "{\"shapes\": []}").unwrap();
        std::fs::write(folder.join("notes.txt"), b"caf\xe9").unwrap();
        let format = of_folder(&folder).map(|format| format.name);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(format.unwrap(), "labelme");
    }
}
