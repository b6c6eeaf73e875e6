//! Finding images: files, folders and patterns, as they are named on a command line.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use crate::data::images::begins_as_dicom;
use crate::error::{Error, Result};

/// The extensions by which images are found in a folder.
const EXTENSIONS: [&str; 7] = ["bmp", "dcm", "jpeg", "jpg", "png", "tif", "tiff"];

/// The files that `args` mean: files as given, folders (every image inside, not deeper), and patterns such as
/// `scans/*.png` for shells that leave them alone. Sorted, each file once; hidden files must be named.
///
/// In a folder, images are known by their extension, and DICOM files of any name by their content.
///
/// # Errors
/// [`Error::Usage`] without arguments; [`Error::Input`] for an argument that matches nothing.
pub fn expand_inputs(args: &[String]) -> Result<Vec<PathBuf>> {
    if args.is_empty() {
        return Err(Error::Usage("no images given; name files, folders or patterns such as 'scans/*.png'".into()));
    }
    let mut files = Vec::new();
    for arg in args {
        if arg.is_empty() {
            return Err(Error::input("\"\"", "an empty name; name files, folders or patterns such as 'scans/*.png'"));
        }
        let (path, before) = (Path::new(arg), files.len());
        let named = path.exists() || !arg.contains(['*', '?', '[']);
        let found = if named { vec![path.into()] } else { matches(arg)? };
        found.iter().try_for_each(|path| push_input(path, &mut files))?;
        if files.len() == before {
            let cause = match named {
                true => format!("no images in this folder; looked for DICOM and *.{}", EXTENSIONS.join(", *.")),
                false => "no file matches this pattern".into(),
            };
            return Err(Error::input(path, cause));
        }
    }
    files.sort();
    let mut seen = HashSet::new();
    // `a.png` and `./a.png` are one file; two links to one file are two images.
    files.retain(|file| seen.insert(std::path::absolute(file).unwrap_or_else(|_| file.clone())));
    Ok(files)
}

/// The paths that a pattern matches, folder by folder; `**` is any number of folders. Hidden files only match a dot.
fn matches(pattern: &str) -> Result<Vec<PathBuf>> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
    let mut found = vec![PathBuf::new()];
    for part in Path::new(pattern).components() {
        let part = match (part, part.as_os_str().to_str()) {
            (Component::Normal(_), Some(name)) if name.contains(['*', '?', '[']) => name,
            _ => {
                found = found.into_iter().map(|folder| folder.join(part)).collect();
                // A drive or a server by itself is no path yet.
                if !matches!(part, Component::Prefix(_)) {
                    found.retain(|path| path.exists());
                }
                continue;
            }
        };
        let glob = glob::Pattern::new(part)
            .map_err(|e| Error::input(pattern, format!("not a pattern: {} in `{part}`", e.msg)))?;
        let mut next = Vec::new();
        while let Some(folder) = found.pop() {
            if part == "**" {
                next.push(folder.clone());
            }
            let here = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
            if !here.is_dir() {
                continue;
            }
            for entry in std::fs::read_dir(here).map_err(|e| Error::io(here, "read", e))? {
                let entry = entry.map_err(|e| Error::io(here, "read", e))?;
                // A name that is not UTF-8 matches by what of it is; whoever wants labels for it will be told to rename it.
                if !glob.matches_with(&entry.file_name().to_string_lossy(), options) {
                    continue;
                }
                match part {
                    // A link to a folder may lead back to it.
                    "**" if entry.file_type().is_ok_and(|kind| kind.is_dir()) => {
                        found.push(folder.join(entry.file_name()))
                    }
                    "**" => {}
                    _ => next.push(folder.join(entry.file_name())),
                }
            }
        }
        found = next;
    }
    // Where a pattern begins with `**`, it is the current folder too.
    let here = |path: PathBuf| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path };
    Ok(found.into_iter().map(here).collect())
}

/// Adds a file, or the images of a folder, if there are any.
fn push_input(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let io = |source| Error::io(path, "read", source);
    if !path.metadata().map_err(io)?.is_dir() {
        files.push(path.into());
        return Ok(());
    }
    for entry in path.read_dir().map_err(io)? {
        let file = entry.map_err(io)?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let hidden = name.starts_with('.'); // such as macOS's `._1.jpg`
        let known = file.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)));
        // DICOM files go by any name, but the one of that name lists others.
        let is_image = match file.is_file() {
            true => known || (name != "DICOMDIR" && begins_as_dicom(&file)),
            // A link to nothing: whoever reads it will say so.
            false => known && !file.exists(),
        };
        if !hidden && is_image {
            files.push(file);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::images::tests::Folder;

    #[test]
    fn inputs_are_files_folders_and_patterns() {
        let folder = Folder::new("inputs");
        for name in ["b.png", "a.JPG", "notes.txt", ".hidden.png", "[1].tif"] {
            folder.file(name, b"x");
        }
        std::fs::create_dir(folder.0.join("empty")).unwrap();
        std::fs::create_dir(folder.0.join("scans")).unwrap();
        for name in ["scans/IM0001", "scans/1.2.840", "scans/DICOMDIR", "scans/.hidden", "scans/a.txt"] {
            folder.file(name, &[&[0; 128][..], b"DICM"].concat());
        }
        folder.file("scans/short", b"DICM");
        folder.file("scans/damaged.dcm", b"x");
        let arg = |s: &str| format!("{}/{s}", folder.0.display());
        let names = |args: &[String]| -> Vec<String> {
            let files = expand_inputs(args).unwrap();
            files.iter().map(|f| f.file_name().unwrap().to_string_lossy().into()).collect()
        };
        assert_eq!(names(&[arg("")]), ["[1].tif", "a.JPG", "b.png"]);
        assert_eq!(names(&[arg("scans")]), ["1.2.840", "IM0001", "a.txt", "damaged.dcm"]);
        assert_eq!(names(&[arg("*.png"), arg("b.png"), arg("./b.png"), arg("notes.txt")]), ["b.png", "notes.txt"]);
        assert_eq!(names(&[arg("[1].tif")]), ["[1].tif"], "an existing file is not a pattern");
        assert_eq!(names(&[arg("?.png")]), ["b.png"]);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("gone.png", folder.0.join("scans/link.png")).unwrap();
            assert!(names(&[arg("scans")]).contains(&"link.png".into()), "a link to nothing is not passed over");
            std::os::unix::fs::symlink(".", folder.0.join("scans/again")).unwrap();
            assert_eq!(names(&[arg("**/damaged.dcm")]), ["damaged.dcm"], "a link to a folder is not followed");
        }
        for (argument, expected) in [
            (arg("none.png"), "cannot read"),
            (arg("*.gif"), "no file matches this pattern"),
            (arg("empty"), "no images in this folder; looked for DICOM and *.bmp, *.dcm"),
            (arg("[a"), "not a pattern"),
        ] {
            let error = expand_inputs(&[argument]).unwrap_err();
            assert!(error.to_string().contains(expected) && error.exit_code() == 3, "{error}");
        }
        assert_eq!(expand_inputs(&[]).unwrap_err().exit_code(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn patterns_descend_and_names_that_are_not_utf8_do_no_harm() {
        use std::os::unix::ffi::OsStrExt;
        let root = std::env::temp_dir().join(format!("onemark-patterns-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        for name in ["1.png", "a/2.png", "a/b/3.png", "a/.4.png"] {
            std::fs::write(root.join(name), b"").unwrap();
        }
        std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"x\xff.png")), b"").unwrap();
        let count = |pattern: &str| expand_inputs(&[root.join(pattern).to_str().unwrap().into()]).unwrap().len();
        assert_eq!((count("**/?.png"), count("*/*.png"), count("a/*/[3-4].png"), count("*.png")), (3, 1, 1, 2));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
