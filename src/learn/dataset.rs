//! Images at a working resolution, as they lie on the device.

use crate::data::gray::GrayImage;
use crate::data::point::scale_point;
use crate::kernel::warp::{Shown, WarpRow};
use crate::learn::augment::{Point, View};

/// Images scaled so that the longer side has a given number of pixels, in frames of one size.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Frame width: the widest image's, rounded up to a multiple of [`Dataset::MULTIPLE`].
    pub width: usize,
    /// Frame height.
    pub height: usize,
    /// Width and height of each stored image.
    pub sizes: Vec<[usize; 2]>,
    /// Width and height of each original image.
    pub originals: Vec<[usize; 2]>,
    /// `[1, images, height, width, 1]`, 0 outside the images: grey values or [local contrasts](GrayImage::local_contrast).
    pub pixels: Vec<f32>,
}

impl Dataset {
    /// Frames can be halved four times.
    pub const MULTIPLE: usize = 16;

    /// Scales images to a longer side of `side` pixels, and takes local contrasts over `contrast` of that to each side; of 0, none.
    pub fn new<'a>(images: impl IntoIterator<Item = &'a GrayImage>, side: usize, contrast: f64) -> Self {
        let images: Vec<&GrayImage> = images.into_iter().collect();
        let originals: Vec<[usize; 2]> = images.iter().map(|image| [image.width, image.height]).collect();
        let blank = Self::blank(&originals, side);
        let scaled = |(image, &[w, h]): (&&GrayImage, &[usize; 2])| {
            let grey = image.resize_area(w, h);
            if contrast > 0.0 { grey.local_contrast(contrast_radius(side, contrast)) } else { grey }
        };
        let scaled: Vec<GrayImage> = images.iter().zip(&blank.sizes).map(scaled).collect();
        let (width, height) = (blank.width, blank.height);
        let mut pixels = vec![0.0; scaled.len() * width * height];
        for (image, frame) in scaled.iter().zip(pixels.chunks_mut(width * height)) {
            for (from, to) in image.pixels.chunks(image.width).zip(frame.chunks_mut(width)) {
                to[..image.width].copy_from_slice(from);
            }
        }
        Self { pixels, ..blank }
    }

    /// The geometry of images of these sizes, without their pixels.
    pub fn blank(originals: &[[usize; 2]], side: usize) -> Self {
        let sizes: Vec<[usize; 2]> = originals.iter().map(|&original| scaled(original, side)).collect();
        let [width, height] = frame(&sizes);
        Self { width, height, sizes, originals: originals.into(), pixels: Vec::new() }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// The device shape of the stored images.
    pub fn shape(&self) -> [usize; 5] {
        [1, self.len(), self.height, self.width, 1]
    }

    /// A point of the original image in stored pixels.
    pub fn stored(&self, image: usize, point: Point) -> Point {
        scale_point(point, float(self.originals[image]), float(self.sizes[image]))
    }

    /// A stored point in pixels of the original image.
    pub fn original(&self, image: usize, point: Point) -> Point {
        scale_point(point, float(self.sizes[image]), float(self.originals[image]))
    }

    /// A table row that shows a view of an image as it is.
    pub fn plain(&self, image: usize, view: View) -> WarpRow {
        let [width, height] = self.sizes[image];
        WarpRow::plain(Shown { image, width, height, matrix: view.0 })
    }
}

/// How far the surroundings reach that local contrasts are taken over, pixels.
pub fn contrast_radius(side: usize, contrast: f64) -> usize {
    ((side as f64 * contrast).round() as usize).max(1)
}

/// An image's size when its longer side has `side` pixels. In integers: every host rounds alike.
pub fn scaled([w, h]: [usize; 2], side: usize) -> [usize; 2] {
    let longest = w.max(h) as u64;
    [w, h].map(|extent| ((2 * extent as u64 * side as u64 + longest) / (2 * longest)).max(1) as usize)
}

/// The smallest frame around all sizes.
fn frame(sizes: &[[usize; 2]]) -> [usize; 2] {
    [0, 1].map(|axis| sizes.iter().map(|size| size[axis]).max().unwrap_or(1).next_multiple_of(Dataset::MULTIPLE))
}

/// The longer side, at most `side` and at least 95 % of it, whose frame around images of these sizes is the least padded.
pub fn best_side(originals: &[[usize; 2]], side: usize) -> usize {
    let padding = |side: usize| {
        let sizes: Vec<[usize; 2]> = originals.iter().map(|&original| scaled(original, side)).collect();
        let [w, h] = frame(&sizes);
        let filled: usize = sizes.iter().map(|[w, h]| w * h).sum();
        (w * h * sizes.len()) as f64 / filled.max(1) as f64
    };
    let candidates = (side - side / 20..=side).rev();
    candidates.min_by(|&a, &b| padding(a).total_cmp(&padding(b))).unwrap_or(side)
}

fn float([w, h]: [usize; 2]) -> (f64, f64) {
    (w as f64, h as f64)
}
