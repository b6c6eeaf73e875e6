//! The images that labels are about: formats that hold no image sizes take them from here, those in millimetres the pixels' side.

use super::{basename, exchange, stem};
use crate::data::images::{begins_as_dicom, image_size, read_image};
use crate::data::labels::{LabelRow, Labels, PixelSpacing};
use crate::error::Result;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Images by file name.
#[derive(Default)]
pub struct Images {
    entries: Vec<(String, Entry)>,
    by_name: HashMap<String, usize>,
    /// `None` where several images share the stem.
    by_stem: HashMap<String, Option<usize>>,
    sole: Option<usize>,
}

enum Entry {
    Known((u32, u32), Option<PixelSpacing>),
    Of(PathBuf),
}

impl Images {
    /// Image files; each is measured when it is asked for. Files whose names are not UTF-8 cannot be asked for.
    pub fn of_files(paths: &[PathBuf]) -> Self {
        let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(ToOwned::to_owned);
        Self::new(paths.iter().filter_map(|path| Some((name(path)?, Entry::Of(path.clone())))).collect())
    }

    /// The images that other labels are about.
    pub fn of_labels(labels: &Labels) -> Self {
        let entry = |row: &LabelRow| (row.image.clone(), Entry::Known((row.width, row.height), row.spacing));
        Self::new(labels.rows.iter().map(entry).collect())
    }

    fn new(entries: Vec<(String, Entry)>) -> Self {
        let (mut by_name, mut by_stem) = (HashMap::new(), HashMap::new());
        for (index, (name, _)) in entries.iter().enumerate() {
            by_name.insert(name.clone(), index);
            by_stem.entry(stem(name).to_string()).and_modify(|known| *known = None).or_insert(Some(index));
        }
        let sole = (entries.len() == 1).then_some(0);
        Self { entries, by_name, by_stem, sole }
    }

    /// A file of one image's labels that goes by the name of no image is about this one.
    pub fn with_sole(self, name: &str) -> Self {
        Self { sole: self.by_name.get(name).copied(), ..self }
    }

    /// Whether there are none at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// File name, width and height of the image that a label file calls `written`: by file name, else by its stem, for
    /// labels may have been made on the same image in another file format.
    ///
    /// # Errors
    /// As [`image_size`].
    pub fn find(&self, written: &str) -> Result<Option<(String, (u32, u32))>> {
        let name = basename(written);
        match self.by_name.get(name) {
            Some(&index) => self.measured(index).map(Some),
            None => self.of_stem(stem(name)),
        }
    }

    /// The one image whose file name, without its extension, is this.
    pub(super) fn of_stem(&self, stem: &str) -> Result<Option<(String, (u32, u32))>> {
        self.by_stem.get(stem).copied().flatten().map(|index| self.measured(index)).transpose()
    }

    /// The only image there is, or that of [`Images::with_sole`].
    pub(super) fn sole(&self) -> Result<Option<(String, (u32, u32))>> {
        self.sole.map(|index| self.measured(index)).transpose()
    }

    fn measured(&self, index: usize) -> Result<(String, (u32, u32))> {
        let (name, size) = &self.entries[index];
        Ok((
            name.clone(),
            match size {
                Entry::Known(size, _) => *size,
                Entry::Of(path) => image_size(path)?,
            },
        ))
    }

    /// Millimetres a pixel that the image of this file name states, if pixels are squares.
    pub(super) fn spacing(&self, name: &str) -> Result<Option<f64>> {
        let stated = match self.by_name.get(name).map(|&index| &self.entries[index].1) {
            Some(Entry::Known(_, spacing)) => *spacing,
            // No other format has it.
            Some(Entry::Of(path)) if begins_as_dicom(path) => read_image(path)?.spacing,
            _ => None,
        };
        Ok(stated.and_then(exchange::square))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_go_by_name_then_by_stem() {
        let row = |image: &str, width| LabelRow { image: image.into(), width, height: 9, ..LabelRow::default() };
        let labels = Labels { names: vec![], rows: vec![row("a.png", 1), row("a.jpg", 2), row("b.x.tif", 3)] };
        let images = Images::of_labels(&labels);
        let width = |images: &Images, name: &str| images.find(name).unwrap().map(|(_, (width, _))| width);
        let found = ["a.jpg", "deep/er/a.png", "C:\\b.x.bmp", "a.bmp", "c.tif", "b"].map(|name| width(&images, name));
        assert_eq!(found, [Some(2), Some(1), Some(3), None, None, None], "two images share the stem a");
        assert!(images.sole().unwrap().is_none());
        assert_eq!(images.with_sole("a.jpg").sole().unwrap().unwrap().0, "a.jpg");
    }
}
