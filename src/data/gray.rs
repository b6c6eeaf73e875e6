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
    /// [`Error::Usage`] if a side is 0 or the number of pixels is another.
    pub fn new(width: usize, height: usize, pixels: Vec<f32>) -> Result<Self> {
        let image = Self { width, height, pixels };
        image.check().map(|()| image)
    }

    /// Fails where [`GrayImage::new`] does.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { width, height, pixels } = self;
        match width.checked_mul(*height) {
            Some(needed) if needed == pixels.len() && needed > 0 => Ok(()),
            _ => Err(Error::Usage(format!("{} pixels cannot make an image of {width}x{height}", pixels.len()))),
        }
    }

    /// From bytes: 0 is black, 255 is white. Row `y` begins at `pixels[y * stride]`; `stride` is `width` where rows have no gaps.
    ///
    /// # Errors
    /// [`Error::Usage`] if a side is 0, if `stride` is below `width`, or if `pixels` ends before the last row does.
    ///
    /// ```
    /// # use onemark::data::gray::GrayImage;
    /// let frame = [0, 51, 99, 255, 204, 99]; // two rows of two pixels; the third column is padding
    /// let image = GrayImage::from_u8(2, 2, 3, &frame)?;
    /// assert_eq!(image.pixels, [0.0, 0.2, 1.0, 0.8]);
    /// # Ok::<(), onemark::Error>(())
    /// ```
    pub fn from_u8(width: usize, height: usize, stride: usize, pixels: &[u8]) -> Result<Self> {
        Self::from_rows(width, height, stride, pixels, |v| Ok(f32::from(v) / 255.0))
    }

    /// From 16-bit pixels of which `white` is white, such as 4095 for 12 bits; brighter ones are clipped to it. Rows as in
    /// [`GrayImage::from_u8`].
    ///
    /// # Errors
    /// As [`GrayImage::from_u8`], and if `white` is 0.
    pub fn from_u16(width: usize, height: usize, stride: usize, white: u16, pixels: &[u16]) -> Result<Self> {
        if white == 0 {
            return Err(Error::Usage("a white of 0 leaves no greys".into()));
        }
        let gray = |v: u16| Ok(f32::from(v.min(white)) / f32::from(white));
        Self::from_rows(width, height, stride, pixels, gray)
    }

    /// From numbers in `[0, 1]`. Rows as in [`GrayImage::from_u8`].
    ///
    /// # Errors
    /// As [`GrayImage::from_u8`], and if a number is not in `[0, 1]`.
    pub fn from_f32(width: usize, height: usize, stride: usize, pixels: &[f32]) -> Result<Self> {
        Self::from_rows(width, height, stride, pixels, |v| if (0.0..=1.0).contains(&v) { Ok(v) } else { Err(v) })
    }

    fn from_rows<T: Copy>(
        width: usize,
        height: usize,
        stride: usize,
        pixels: &[T],
        gray: impl Fn(T) -> Result<f32, f32>,
    ) -> Result<Self> {
        let needed = height.checked_sub(1).and_then(|rows| rows.checked_mul(stride)?.checked_add(width));
        if width == 0 || stride < width || needed.is_none_or(|needed| needed > pixels.len()) {
            let cause = format!("{} pixels, {stride} a row, cannot make an image of {width}x{height}", pixels.len());
            return Err(Error::Usage(cause));
        }
        let mut grays = Vec::with_capacity(width * height);
        for (y, row) in pixels.chunks(stride).take(height).enumerate() {
            for (x, &value) in row[..width].iter().enumerate() {
                let outside = |v| Error::Usage(format!("pixel ({x}, {y}) is {v}, not between 0 and 1"));
                grays.push(gray(value).map_err(outside)?);
            }
        }
        Ok(Self { width, height, pixels: grays })
    }

    /// The image at `width` x `height`; each axis by itself is box-averaged if it shrinks and linear if it grows.
    ///
    /// Edges, not centres, coincide, as in [`scale_point`](crate::data::point::scale_point). A box average covers
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

    /// How far each pixel is from the mean of those at most `radius` columns and rows away, in units of their standard deviation, `d`:
    /// as `1/2 + d / 5` within `[0, 1]`. Faint edges in the dark are as good as bright ones in the light then. [`CONTRAST_FLOOR`]
    /// of the whole image's deviation is added to that of the surroundings, lest the noise of what is uniform become all there is.
    pub fn local_contrast(&self, radius: usize) -> Self {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let mut values: Vec<f64> = self.pixels.iter().map(|&v| f64::from(v)).collect();
        // About the image's own mean, so that little is lost in the difference of squares.
        let middle = mean(&values);
        values.iter_mut().for_each(|v| *v -= middle);
        let squares: Vec<f64> = values.iter().map(|v| v * v).collect();
        let least = CONTRAST_FLOOR * mean(&squares).sqrt() + CONTRAST_LEAST;
        let [means, squares] = [&values, &squares].map(|values| box_means(values, self.width, radius));
        let contrast = |((v, mean), square): ((&f64, f64), f64)| {
            let d = (v - mean) / ((square - mean * mean).max(0.0).sqrt() + least);
            (0.5 + d / CONTRAST_RANGE).clamp(0.0, 1.0) as f32
        };
        Self { pixels: values.iter().zip(means).zip(squares).map(contrast).collect(), ..*self }
    }

    /// The pixels as bytes, clamped and rounded to nearest.
    pub fn to_u8(&self) -> Vec<u8> {
        self.pixels.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8).collect()
    }
}

/// Standard deviations from black to white, of a local contrast.
pub const CONTRAST_RANGE: f64 = 5.0;

/// Of the whole image's standard deviation, what is added to the local one.
pub const CONTRAST_FLOOR: f64 = 0.05;

/// What is added besides, so that an image of one grey has no contrast.
pub const CONTRAST_LEAST: f64 = 1e-4;

/// The means over squares of `2 radius + 1`, as far as the image has them.
fn box_means(values: &[f64], width: usize, radius: usize) -> Vec<f64> {
    // Along an axis of `n` places that are `step` apart.
    let along = |values: &[f64], to: &mut [f64], start: usize, n: usize, step: usize| {
        let at = |i: usize| start + i * step;
        let mut sum: f64 = (0..radius.min(n)).map(|i| values[at(i)]).sum();
        for i in 0..n {
            if i + radius < n {
                sum += values[at(i + radius)];
            }
            if i > radius {
                sum -= values[at(i - radius - 1)];
            }
            to[at(i)] = sum / ((i + radius).min(n - 1) - i.saturating_sub(radius) + 1) as f64;
        }
    };
    let (mut rows, mut both) = (vec![0.0; values.len()], vec![0.0; values.len()]);
    let height = values.len() / width.max(1);
    (0..height).for_each(|y| along(values, &mut rows, y * width, width, 1));
    (0..width).for_each(|x| along(&rows, &mut both, x, height, width));
    both
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
    fn means_are_those_of_the_squares_that_the_image_has() {
        let image = noise(11, 7);
        let values: Vec<f64> = image.pixels.iter().map(|&v| f64::from(v)).collect();
        for radius in [0, 1, 3, 20] {
            for (i, mean) in box_means(&values, 11, radius).into_iter().enumerate() {
                let near = |a: usize, b: usize| a.abs_diff(b) <= radius;
                let around = (0..77).filter(|&j| near(i % 11, j % 11) && near(i / 11, j / 11)).map(|j| values[j]);
                let expected = around.clone().sum::<f64>() / around.count() as f64;
                assert!((mean - expected).abs() < 1e-12, "{i}, radius {radius}: {mean}, {expected}");
            }
        }
    }

    #[test]
    fn local_contrast_is_that_of_the_dark_and_of_the_light() {
        // A faint edge in the dark, and a strong one in the light.
        let pixel = |x: usize| if x < 40 { [0.02, 0.05] } else { [0.5, 0.9] }[x / 20 % 2];
        let edges = GrayImage::new(80, 80, (0..6400).map(|i| pixel(i % 80)).collect()).unwrap();
        let contrast = edges.local_contrast(5).pixels;
        let step = |x: usize| contrast[40 * 80 + x] - contrast[40 * 80 + x - 1];
        assert!(step(60) > 0.3 && step(20) > 0.15, "{} and {}", step(20), step(60));
        assert!(contrast.iter().all(|v| (0.0..=1.0).contains(v)));

        // Exposure does not matter, and what is of one grey stays so.
        let image = noise(30, 20);
        let darker = GrayImage { pixels: image.pixels.iter().map(|v| 0.3 * v + 0.1).collect(), ..image.clone() };
        let pairs = image.local_contrast(3).pixels.into_iter().zip(darker.local_contrast(3).pixels);
        pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-3, "{a}, {b}"));
        let flat = GrayImage::new(9, 9, vec![0.7; 81]).unwrap().local_contrast(2);
        assert!(flat.pixels.iter().all(|v| (v - 0.5).abs() < 1e-3));
        assert_eq!(GrayImage::default().local_contrast(3), GrayImage::default());
    }

    #[test]
    fn strided_rows_of_every_depth_make_the_same_image() {
        let (width, height, stride) = (5, 4, 7);
        let bytes: Vec<u8> = (0..stride * (height - 1) + width).map(|i| (i * 37 % 256) as u8).collect();
        let image = GrayImage::from_u8(width, height, stride, &bytes).unwrap();
        assert_eq!((image.width, image.height, image.pixels.len()), (5, 4, 20));
        assert_eq!(image.pixels[7], f32::from(bytes[9]) / 255.0); // column 2 of row 1
        let words: Vec<u16> = bytes.iter().map(|&v| u16::from(v) * 257).collect();
        let reals: Vec<f32> = bytes.iter().map(|&v| f32::from(v) / 255.0).collect();
        let wide = GrayImage::from_u16(width, height, stride, u16::MAX, &words).unwrap();
        assert!(wide.pixels.iter().zip(&image.pixels).all(|(a, b)| (a - b).abs() < 1e-7));
        assert_eq!(GrayImage::from_f32(width, height, stride, &reals).unwrap(), image);
        // Twelve bits, and beyond.
        assert_eq!(GrayImage::from_u16(3, 1, 3, 4095, &[0, 4095, 5000]).unwrap().pixels, [0.0, 1.0, 1.0]);
    }

    #[test]
    fn what_cannot_be_an_image_is_refused() {
        let cause = |image: Result<GrayImage>| image.unwrap_err().to_string();
        for (width, height, stride, len) in [
            (0, 2, 2, 4),
            (2, 0, 2, 4),
            (2, 2, 1, 4),
            (2, 2, 3, 4),
            (2, usize::MAX, 3, 9),
            (usize::MAX, 2, usize::MAX, 9),
        ] {
            assert!(cause(GrayImage::from_u8(width, height, stride, &vec![0; len])).contains("cannot make an image"));
        }
        assert!(GrayImage::from_u8(2, 2, 3, &[0; 5]).is_ok(), "the last row may end early");
        assert!(cause(GrayImage::from_u16(1, 1, 1, 0, &[1])).contains("white of 0"));
        for bad in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
            assert!(cause(GrayImage::from_f32(2, 2, 2, &[0.0, 0.0, 0.5, bad])).contains("pixel (1, 1) is"));
        }
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
