//! Images of any size at a working resolution: what [`Dataset`] does, in ONNX's terms.

use super::graph::{Attribute, Type, Value};
use crate::data::gray::{CONTRAST_FLOOR, CONTRAST_LEAST, CONTRAST_RANGE};
use crate::learn::dataset::{Dataset, contrast_radius};

/// An image at a working resolution.
#[derive(Clone, Copy)]
pub struct Frame<'g> {
    /// `[1, 1, height, width]`.
    pub pixels: Value<'g>,
    /// Width and height, integers.
    pub size: Value<'g>,
    /// Width and height of the original image, integers.
    pub original: Value<'g>,
}

impl<'g> Frame<'g> {
    /// Scales `image: [1, 1, H, W]` so that its longer side has `side` pixels, as [`crate::learn::dataset::scaled`] and
    /// [`crate::data::gray::GrayImage::resize_area`] do, and takes local contrasts.
    pub fn new(image: Value<'g>, side: usize, contrast: f64) -> Self {
        let original = image.extents(&[3, 2]);
        let longest = original.greatest(0);
        let size = ((original * (2 * side as i64) + longest) / (longest * 2)).max(1);
        let height = |size: Value<'g>| size.slices(0, &[1]);
        let width = |size: Value<'g>| size.slices(0, &[0]);
        // Rows, then, as rows of the transposed image, columns.
        let graph = image.graph();
        let rows = image.with("Reshape", graph.concat(&[height(original), width(original)], 0));
        let columns = resample(rows, height(original), height(size)).transpose(&[1, 0]);
        let pixels = resample(columns, width(original), width(size)).transpose(&[1, 0]);
        let one = graph.ints(&[1]);
        let pixels = pixels.with("Reshape", graph.concat(&[one, one, height(size), width(size)], 0));
        let radius = contrast_radius(side, contrast) as i64;
        let pixels = if contrast > 0.0 { local_contrast(pixels, radius) } else { pixels };
        Self { pixels, size, original }
    }

    /// The pixels as networks take them, in a frame of multiples of [`Dataset::MULTIPLE`], which the last row and column fill.
    pub fn padded(self) -> Value<'g> {
        let (graph, multiple) = (self.pixels.graph(), Dataset::MULTIPLE as i64);
        let pads = (self.size + (multiple - 1)) / multiple * multiple - self.size;
        let pads = graph.concat(&[graph.ints(&[0; 6]), pads.slices(0, &[1, 0])], 0);
        normalise(graph.node("Pad", &[self.pixels, pads], &[("mode", Attribute::Text("edge"))]))
    }

    /// Points `[k, 2]` of the original image in pixels of the working resolution.
    pub fn stored(self, points: Value<'g>) -> Value<'g> {
        scale(points, self.original, self.size)
    }

    /// Points `[k, 2]` in pixels of the original image.
    pub fn original(self, points: Value<'g>) -> Value<'g> {
        scale(points, self.size, self.original)
    }
}

/// As [`crate::data::gray::GrayImage::local_contrast`], of `[1, 1, height, width]`.
fn local_contrast(pixels: Value, radius: i64) -> Value {
    let graph = pixels.graph();
    let mean = |x| graph.node("GlobalAveragePool", &[x], &[]);
    let along = |x, kernel: [i64; 2]| {
        let [h, w] = kernel.map(|extent| extent / 2);
        let attributes = [("kernel_shape", Attribute::Ints(&kernel)), ("pads", Attribute::Ints(&[h, w, h, w]))];
        graph.node("AveragePool", &[x], &attributes)
    };
    let around = |x| along(along(x, [1, 2 * radius + 1]), [2 * radius + 1, 1]);
    let values = pixels - mean(pixels);
    let squares = values.square();
    let least = mean(squares).apply("Sqrt") * CONTRAST_FLOOR as f32 + CONTRAST_LEAST as f32;
    let means = around(values);
    let deviations = (around(squares) - means.square()).max(0.0).apply("Sqrt");
    ((values - means) / (deviations + least) / CONTRAST_RANGE as f32 + 0.5).max(0.0).min(1.0)
}

/// Grey values as networks take them: see [`crate::kernel::warp`].
pub fn normalise(pixels: Value) -> Value {
    pixels.max(0.0).min(1.0) - 0.5
}

/// As [`crate::data::labels::scale_point`].
fn scale<'g>(points: Value<'g>, from: Value<'g>, to: Value<'g>) -> Value<'g> {
    (points + 0.5) * (to.cast(Type::Float) / from.cast(Type::Float)) - 0.5
}

/// Rows `[n_in, m]` as `[n_out, m]`: averages over boxes if they become fewer, else linear between centres. All weights are
/// quotients of integers, which are exact.
fn resample<'g>(rows: Value<'g>, n_in: Value<'g>, n_out: Value<'g>) -> Value<'g> {
    let graph = rows.graph();
    let i = graph.range(n_out).reshape(&[-1, 1]);
    // As many taps as the widest box has.
    let tap = graph.range((n_in + n_out - 1) / n_out + 1).reshape(&[1, -1]);
    let ratio = |a: Value<'g>, b: Value<'g>| a.max(0).cast(Type::Float) / b.cast(Type::Float);

    // In units of 1 / n_out of an input, output i covers [i, i + 1) n_in and input j covers [j, j + 1) n_out.
    let low = i * n_in;
    let covered = low / n_out + tap;
    let overlap = (low + n_in).min((covered + 1) * n_out) - low.max(covered * n_out);

    // In units of 1 / (2 n_out), output i is at (2 i + 1) n_in - n_out.
    let unit = n_out * 2;
    let at = ((i * 2 + 1) * n_in - n_out).max(0).min(unit * (n_in - 1));
    let beside = at / unit + tap;
    let nearness = unit - (at - beside * unit).apply("Abs");

    let shrinks = n_out.with("Less", n_in);
    let inputs = shrinks.choose(covered, beside).min(n_in - 1);
    let weights = shrinks.choose(ratio(overlap, n_in), ratio(nearness, unit));
    weights.reshape(&[0, 1, -1]).with("MatMul", rows.gather(0, inputs)).reshape(&[0, -1])
}
