//! DICOM files of one frame, as grey images: what a viewer shows first, without annotations and overlays.
//!
//! How each value comes about is written in `docs/images.md`.

mod dataset;
mod levels;
mod pixels;
mod rle;
#[cfg(test)]
mod tests;

use std::path::Path;

use rayon::prelude::*;

use self::dataset::{Attribute, DataSet};
use self::pixels::{Layout, Photometric};
use crate::data::gray::{GrayImage, luma};
use crate::data::labels::PixelSpacing;
use crate::error::Result;

/// Of a pixel in the body, or where nothing says so on the detector or film; the first that is there counts.
const SPACINGS: [Attribute; 3] = [
    Attribute::new(0x0028, 0x0030, "PixelSpacing"),
    Attribute::new(0x0018, 0x1164, "ImagerPixelSpacing"),
    Attribute::new(0x0018, 0x2010, "NominalScannedPixelSpacing"),
];

/// The image of a whole file's `bytes`, whose size `check` accepts, and its pixels' spacing, if the file has it.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) with the attribute that is missing, wrong, or not read.
pub fn read(
    bytes: &[u8],
    path: &Path,
    check: impl Fn((u32, u32)) -> Result<(u32, u32)>,
) -> Result<(GrayImage, Option<PixelSpacing>)> {
    let data = DataSet::read(bytes, path)?;
    let layout = Layout::of(&data)?;
    check((layout.columns as u32, layout.rows as u32))?;
    let spacing = spacing(&data)?;
    let values = layout.values(&data)?;
    let pixels = match layout.photometric {
        Photometric::Monochrome1 | Photometric::Monochrome2 => {
            let table = levels::table(&data, &layout, &values)?;
            values.par_iter().map(|&bits| table[usize::from(bits)]).collect()
        }
        Photometric::Rgb => values.as_chunks::<3>().0.par_iter().map(|&rgb| luma(rgb, 255.0)).collect(),
        // The first is Rec. 601 luma.
        Photometric::Ybr => values.as_chunks::<3>().0.par_iter().map(|&[y, _, _]| f32::from(y) / 255.0).collect(),
    };
    Ok((GrayImage::new(layout.columns, layout.rows, pixels)?, spacing))
}

/// `(width, height)` in pixels.
///
/// # Errors
/// As [`read`], for what attributes show.
pub fn size(bytes: &[u8], path: &Path) -> Result<(u32, u32)> {
    let layout = Layout::of(&DataSet::read(bytes, path)?)?;
    Ok((layout.columns as u32, layout.rows as u32))
}

fn spacing(data: &DataSet) -> Result<Option<PixelSpacing>> {
    for attribute in &SPACINGS {
        match data.numbers(attribute)?.as_deref() {
            None => {}
            // Between rows, which is along y, and between columns.
            Some(&[y, x]) if x > 0.0 && y > 0.0 => return Ok(Some([x, y])),
            Some(numbers) => {
                let cause = format!("{numbers:?} are not two lengths above 0; correct or remove it");
                return Err(data.bad(attribute, cause));
            }
        }
    }
    Ok(None)
}
