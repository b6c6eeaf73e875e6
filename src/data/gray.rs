//! Grey images in memory, and the one resampling that data preparation needs.

use rayon::prelude::*;

use crate::error::{Error, Result};

/// A grey image: `pixels[y * width + x]` in `[0, 1]`, pixel centres at integers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GrayImage {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width` values, row by row.
    pub pixels: Vec<f32>,
}

impl GrayImage {
    /// An image of `height * width` pixels.
    ///
    /// # Errors
    /// [`Error::Shape`] if a side is 0 or the number of pixels is another.
    pub fn new(width: usize, height: usize, pixels: Vec<f32>) -> Result<Self> {
        if width == 0 || width.checked_mul(height) != Some(pixels.len()) || pixels.is_empty() {
            let cause = format!("{} pixels cannot make an image of {width}x{height}", pixels.len());
            return Err(Error::Shape { op: "gray_image", cause });
        }
        Ok(Self { width, height, pixels })
    }

    /// The image at `width` x `height`; each axis by itself is box-averaged if it shrinks and linear if it grows.
    ///
    /// Edges, not centres, coincide, as in [`scale_point`](crate::data::labels::scale_point). A box average covers
    /// exactly `[i, i + 1) * n_in / n_out` with fractional pixels at both ends, so the mean is kept and nothing
    /// aliases. A side of 0 is taken as 1.
    pub fn resize_area(&self, width: usize, height: usize) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let mut pixels = vec![0.0; width * height];
        if !self.pixels.is_empty() {
            let (horizontal, vertical) = (taps(self.width, width), taps(self.height, height));
            // Vertical first: it adds whole rows, and leaves the scattered horizontal pass one row of work.
            let blank = || vec![0.0f32; self.width];
            pixels.par_chunks_mut(width).zip(&vertical).for_each_init(blank, |row, (out, (y0, weights))| {
                row.fill(0.0);
                for (source, &weight) in self.pixels[y0 * self.width..].chunks(self.width).zip(weights) {
                    row.iter_mut().zip(source).for_each(|(sum, &v)| *sum += weight * v);
                }
                for (v, (x0, weights)) in out.iter_mut().zip(&horizontal) {
                    *v = row[*x0..].iter().zip(weights).map(|(&v, &weight)| v * weight).sum();
                }
            });
        }
        Self { width, height, pixels }
    }

    /// The pixels as bytes, clamped and rounded to nearest.
    pub fn to_u8(&self) -> Vec<u8> {
        self.pixels.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8).collect()
    }
}

/// Rec. 601 luma of stored (gamma-encoded) values, `0.299 R + 0.587 G + 0.114 B`, as a part of `white`.
#[cfg(feature = "cli")]
pub(super) fn luma<T: Into<f32>>([r, g, b]: [T; 3], white: f32) -> f32 {
    (0.299 * r.into() + 0.587 * g.into() + 0.114 * b.into()) / white
}

/// For every output pixel of one axis, the first input pixel and the weights from there on; weights sum to 1.
fn taps(n_in: usize, n_out: usize) -> Vec<(usize, Vec<f32>)> {
    let linear = |i: usize| {
        let x = ((i as f64 + 0.5) * n_in as f64 / n_out as f64 - 0.5).clamp(0.0, (n_in - 1) as f64);
        let x0 = x.floor();
        let fraction = (x - x0) as f32;
        (x0 as usize, if fraction > 0.0 { vec![1.0 - fraction, fraction] } else { vec![1.0] })
    };
    // In units of 1 / n_out of an input pixel every edge is an integer: input j covers [j, j + 1) * n_out and
    // output i covers [i, i + 1) * n_in. Overlaps are exact.
    let boxed = |i: usize| {
        let (low, high) = (i * n_in, (i + 1) * n_in);
        let covered = low / n_out..high.div_ceil(n_out);
        let overlap = |j: usize| high.min((j + 1) * n_out) - low.max(j * n_out);
        (covered.start, covered.map(|j| (overlap(j) as f64 / n_in as f64) as f32).collect())
    };
    (0..n_out).map(|i| if n_out < n_in { boxed(i) } else { linear(i) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(width: usize, height: usize) -> GrayImage {
        let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32;
        GrayImage::new(width, height, (0..width * height).map(value).collect()).unwrap()
    }

    fn mean(image: &GrayImage) -> f64 {
        image.pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / image.pixels.len() as f64
    }

    #[test]
    fn weights_sum_to_one_and_stay_inside() {
        for n_in in 1..40 {
            for n_out in 1..60 {
                for (first, weights) in taps(n_in, n_out) {
                    assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5 && first + weights.len() <= n_in);
                    assert!(weights.iter().all(|&w| w > 0.0), "{n_in} {n_out} {weights:?}");
                }
            }
        }
    }

    #[test]
    fn shrinking_averages_boxes_and_keeps_the_mean() {
        let image = GrayImage::new(3, 2, vec![0.0, 0.3, 0.6, 0.3, 0.6, 0.9]).unwrap();
        let half = image.resize_area(2, 1);
        // Columns cover 1.5 pixels each: (0 + 0.3 / 2) / 1.5 and (0.3 / 2 + 0.6) / 1.5, then the mean of two rows.
        for (v, expected) in half.pixels.iter().zip([0.25, 0.65]) {
            assert!((v - expected).abs() < 1e-6, "{half:?}");
        }
        let image = noise(97, 61);
        assert!((mean(&image.resize_area(13, 7)) - mean(&image)).abs() < 1e-6);
        assert_eq!(image.resize_area(1, 1).pixels.len(), 1);
    }

    #[test]
    fn growing_is_linear_between_centres() {
        let ramp = GrayImage::new(4, 1, vec![0.0, 0.25, 0.5, 0.75]).unwrap().resize_area(8, 2);
        let expected = [0.0, 0.0625, 0.1875, 0.3125, 0.4375, 0.5625, 0.6875, 0.75];
        assert_eq!(ramp.pixels, [expected, expected].concat());
        // One axis may shrink while the other grows.
        let mixed = noise(10, 10).resize_area(5, 20);
        assert_eq!((mixed.width, mixed.height, mixed.pixels.len()), (5, 20, 100));
    }

    #[test]
    fn odd_sizes_do_not_panic() {
        assert_eq!(noise(5, 5).resize_area(5, 5), noise(5, 5));
        assert_eq!(noise(5, 5).resize_area(0, 3).pixels.len(), 3);
        assert_eq!(GrayImage::default().resize_area(2, 2).pixels, [0.0; 4]);
        assert!(GrayImage::new(2, 2, vec![0.0; 3]).is_err() && GrayImage::new(0, 0, vec![]).is_err());
        assert!(GrayImage::new(usize::MAX, 2, vec![0.0; 3]).is_err());
        let extremes = GrayImage::new(4, 1, vec![-1.0, 0.5, 2.0, f32::NAN]).unwrap();
        assert_eq!(extremes.to_u8(), [0, 128, 255, 0]);
    }
}
