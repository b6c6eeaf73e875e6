//! Crops of stored images under an affine map, with photometric augmentation.
//!
//! For output pixel (x, y) of a sample, with the pixels of stored images read bilinearly and clamped at the edges:
//!
//! ```text
//! v = image(m (x, y, 1)),  blurred by a 1-2-1 binomial with taps `blur` output pixels apart
//! v = v + overlay (other(n (x, y, 1)) - 1/2)
//! v = (clamp(v, 0, 1)^gamma - 1/2) contrast + brightness + noise z(seed, pixel)
//! ```
//!
//! The result is centred on 0: mid grey is 0. `z` has mean 0 and variance 1: four 16-bit uniforms of a counter-based hash, summed, which is
//! the same on every device.

use super::tensor::expect;
use super::{Band, Bind, Dispatch, Domain, Half, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Numbers a sample in the table: those of a [`WarpRow`] in its order, a [`Shown`] being nine.
pub const FIELDS: usize = 25;

/// Where the second image's begin.
const OTHER: usize = 16;

/// What of a stored image is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    /// Index of the image.
    pub image: usize,
    /// Its width in the store, pixels; the rest of its frame is padding.
    pub width: usize,
    /// Its height in the store, pixels.
    pub height: usize,
    /// Maps output (x, y, 1) to stored pixels, row by row.
    pub matrix: [[f64; 3]; 2],
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarpRow {
    /// The image.
    pub shown: Shown,
    /// Exponent of the grey value; 1 leaves it.
    pub gamma: f64,
    /// Factor around mid grey; 1 leaves it.
    pub contrast: f64,
    /// Summand; 0 leaves it.
    pub brightness: f64,
    /// Standard deviation of the noise.
    pub noise: f64,
    /// Distance of the blur's taps in output pixels; 0 is sharp.
    pub blur: f64,
    /// Key of the noise, below 2^24 so that f32 holds it.
    pub seed: u32,
    /// Weight of a second image that shines through, as films show what lies behind; 0 for none.
    pub overlay: f64,
    /// The second image.
    pub other: Shown,
}

impl Shown {
    fn encode(&self) -> [f64; 9] {
        let ([[a, b, c], [d, e, f]], [image, w, h]) = (self.matrix, [self.image, self.width, self.height]);
        [image as f64, w as f64, h as f64, a, b, c, d, e, f]
    }
}

impl WarpRow {
    /// A plain view of an image: no augmentation.
    pub fn plain(shown: Shown) -> Self {
        Self {
            shown,
            gamma: 1.0,
            contrast: 1.0,
            brightness: 0.0,
            noise: 0.0,
            blur: 0.0,
            seed: 0,
            overlay: 0.0,
            other: shown,
        }
    }

    /// The row as it is uploaded.
    pub fn encode(&self) -> [f32; FIELDS] {
        let Self { shown, gamma, contrast, brightness, noise, blur, seed, overlay, other } = *self;
        let photometric = [gamma, contrast, brightness, noise, blur, f64::from(seed), overlay];
        let (shown, other) = (shown.encode(), other.encode());
        let mut row = [0.0; FIELDS];
        row.iter_mut().zip(shown.iter().chain(&photometric).chain(&other)).for_each(|(to, &v)| *to = v as f32);
        row
    }
}

/// Images `[1, images, H, W, 1]` by a table `[k, n, 1, 1, 25]` -> crops `[k, n, h, w, 1]`. Inputs: images, table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WarpAugment {
    /// Height of a crop.
    pub h: usize,
    /// Width of a crop.
    pub w: usize,
}

#[inline(always)]
fn hash(mut v: u32) -> u32 {
    v = v.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    v = ((v >> ((v >> 28) + 4)) ^ v).wrapping_mul(277_803_737);
    (v >> 22) ^ v
}

/// Mean 0, variance 1, for a pixel and the hash of a seed.
#[inline(always)]
fn noise<T: Real>(key: u32, pixel: u32) -> T {
    let a = hash(pixel ^ key);
    let b = hash(a ^ 0x9e37_79b9);
    let sum = (a & 0xffff) + (a >> 16) + (b & 0xffff) + (b >> 16);
    // Four uniforms on 0..65535 have mean 2 * 65535 and variance (65536^2 - 1) / 3.
    (T::whole(sum) - T::of(131_070.0)) * T::of(3f64.sqrt() / 65_536.0)
}

/// Pixels of a crop's row that are made at a time.
const PIXELS: usize = 64;

/// A crop in the making: a function object, compiled for the widest vectors that the CPU has.
struct Crop<'a, T> {
    row: &'a [T],
    /// The stored images in their frames, and the frames' width.
    images: [&'a [T]; 2],
    frame: usize,
    /// Width of the crop.
    w: usize,
    /// The row of the crop that `to` begins with.
    first: usize,
    to: &'a mut [T],
}

impl<T: Real> pulp::NullaryFnOnce for Crop<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { row, images: [image, other], frame, w, first, to } = self;
        let [gamma, contrast, brightness, sigma, blur] = [row[9], row[10], row[11], row[12], row[13]];
        let overlay = row[15];
        let key = hash(row[14].f64() as u32);
        for (y, to) in (first..).zip(to.chunks_mut(w)) {
            for (piece, to) in to.chunks_mut(PIXELS).enumerate() {
                let (first, mut v) = (piece * PIXELS, [T::zero(); PIXELS]);
                let at = [first, y].map(|at| T::whole(at as u32));
                if blur > T::zero() {
                    let taps = [(-blur, T::of(0.25)), (T::zero(), T::of(0.5)), (blur, T::of(0.25))];
                    for (dy, wy) in taps {
                        for (dx, wx) in taps {
                            add_view(&mut v, wx * wy, row, image, frame, [at[0] + dx, at[1] + dy]);
                        }
                    }
                } else {
                    add_view(&mut v, T::one(), row, image, frame, at);
                }
                if overlay > T::zero() {
                    add_view(&mut v, overlay, &row[OTHER..], other, frame, at);
                }
                for v in &mut v {
                    *v = (*v - overlay * T::of(0.5)).max(T::zero()).min(T::one());
                }
                if gamma != T::one() {
                    for v in &mut v {
                        // What is no normal number is as good as zero.
                        let power = (gamma * v.fast_ln()).fast_exp();
                        *v = if *v > T::of(1e-37) { power } else { T::zero() };
                    }
                }
                for (to, &v) in to.iter_mut().zip(&v) {
                    *to = (v - T::of(0.5)) * contrast + brightness;
                }
                if sigma > T::zero() {
                    for (pixel, to) in (0u32..).zip(to) {
                        *to += sigma * noise(key, (y * w + first) as u32 + pixel);
                    }
                }
            }
        }
    }
}

/// Adds `weight` times what a view, of nine fields, shows at the output pixels `at`, `at + 1`, .. of a row, bilinearly read.
#[inline(always)]
fn add_view<T: Real>(v: &mut [T; PIXELS], weight: T, row: &[T], image: &[T], frame: usize, at: [T; 2]) {
    let ends = [row[1] - T::one(), row[2] - T::one()];
    // Four pixels are read: of an image of one row or column the same twice, the weight being 0 for the second.
    let second = ends.map(|end| usize::from(end > T::zero()));
    let last = ends.map(|end| (end - T::one()).max(T::zero()));
    let last_index = last.map(|last| last.f64() as u32);
    let (mut start, mut fx, mut fy) = ([0; PIXELS], [T::zero(); PIXELS], [T::zero(); PIXELS]);
    for j in 0..PIXELS {
        let (x, y) = (at[0] + T::whole(j as u32), at[1]);
        let sx = (row[3] * x + row[4] * y + row[5]).max(T::zero()).min(ends[0]);
        let sy = (row[6] * x + row[7] * y + row[8]).max(T::zero()).min(ends[1]);
        let ((x0, left), (y0, top)) = (sx.split_index(), sy.split_index());
        start[j] = y0.min(last_index[1]) * frame as u32 + x0.min(last_index[0]);
        (fx[j], fy[j]) = (sx - left.min(last[0]), sy - top.min(last[1]));
    }
    let (across, down) = (second[0], second[1] * frame);
    for j in 0..PIXELS {
        let start = start[j] as usize;
        let [top, low] = [start, start + down].map(|at| {
            let (a, b) = (image[at], image[at + across]);
            a + (b - a) * fx[j]
        });
        v[j] += weight * (top + (low - top) * fy[j]);
    }
}

impl Kernel for WarpAugment {
    const NAME: &'static str = "warp_augment";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let (images, table) = (x[0], x[1]);
        let fits = images.k == 1 && images.c == 1 && table.image_len() == FIELDS && self.h > 0 && self.w > 0;
        expect(Self::NAME, fits, || format!("table {table:?} does not fit images {images:?}"))?;
        Ok(vec![Shape { h: self.h, w: self.w, c: 1, ..table }])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let frame = x[0].shape().w;
        y[0].bands().for_each(|(Band { k, n, rows }, to)| {
            let row = x[1].image(k, n);
            let images = [0, OTHER].map(|field| x[0].image(0, row[field].f64() as usize));
            pulp::Arch::new().dispatch(Crop { row, images, frame, w: self.w, first: rows.start, to });
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let params = shaders::warp_augment::Params {
            elements: word(y[0].shape.len()),
            table_k: word(x[1].k_stride),
            y_k: word(y[0].k_stride),
            n: word(y[0].shape.n),
            h: word(self.h),
            w: word(self.w),
            images: word(x[0].shape.n),
            frame_h: word(x[0].shape.h),
            frame_w: word(x[0].shape.w),
        };
        vec![Dispatch::elements("warp_augment", params, &[Bind::In(0), Bind::In(1), Bind::Out(0)], y[0].shape.len())]
    }

    fn flops(&self, _: &[Shape], y: &[Shape]) -> u64 {
        30 * y[0].len() as u64
    }

    /// Of the store, about a pixel for a pixel of the crops.
    fn moved(&self, x: &[Shape], y: &[Shape]) -> Vec<u64> {
        let [store, table, crops] = [x[0], x[1], y[0]].map(|s| s.len() as u64);
        vec![store.min(crops), table, crops]
    }

    fn half(&self) -> Option<Half> {
        Some(Half::Writes)
    }

    fn samples() -> Vec<Sample<Self>> {
        fn table(shape: Shape, uniform: &mut dyn FnMut() -> f32) -> Vec<f32> {
            let mut rows = Vec::new();
            for i in 0..shape.k * shape.n {
                let mut range = |low: f64, high: f64| low + (high - low) * f64::from(uniform());
                let mut shown = |i: usize| {
                    let matrix = [
                        [range(0.5, 1.5), range(-0.5, 0.5), range(-3.0, 3.0)],
                        [range(-0.5, 0.5), range(0.5, 1.5), range(-3.0, 3.0)],
                    ];
                    Shown { image: i % 3, width: 9 - i % 2, height: 7 - i % 3, matrix }
                };
                let (shown, other) = (shown(i), shown(i + 1));
                let plain = WarpRow::plain(shown);
                let augmented = WarpRow {
                    gamma: range(0.7, 1.4),
                    contrast: range(0.7, 1.4),
                    brightness: range(-0.2, 0.2),
                    noise: 0.05,
                    blur: if i % 2 == 0 { 0.0 } else { 0.7 },
                    seed: 12_345 + i as u32,
                    overlay: if i % 3 == 0 { 0.0 } else { 0.4 },
                    other,
                    ..plain
                };
                rows.extend(if i == 0 { plain } else { augmented }.encode());
            }
            rows
        }
        let case = |h, w, k, n| {
            let images = ([1, 3, 7, 9, 1], Domain::Range(0.0, 1.0));
            Sample::new(Self { h, w }, &[images, ([k, n, 1, 1, FIELDS], Domain::Fill(table))])
        };
        vec![case(1, 1, 1, 1), case(8, 5, 2, 3), case(17, 16, 1, 4)]
    }
}
