//! Detections drawn over a grey image.
//!
//! A ring with a centre dot marks each landmark at its sub-pixel position (pixel centres at integers), coloured by its
//! score; a cross joined to it by a line marks the truth where it is known. Shapes are signed distances turned into
//! coverage, `clamp(1/2 − d, 0, 1)`, which antialiases them without a second buffer.

use font8x8::UnicodeFonts;

/// An 8-bit RGB image, rows from the top, three bytes a pixel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RgbImageBuf {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `height * width * 3` bytes.
    pub data: Vec<u8>,
}

/// One landmark to draw; a point that is not finite is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OverlayPoint {
    /// The landmark's name, its label.
    pub name: String,
    /// The detection as x, y in pixels of the image that is given.
    pub xy: [f64; 2],
    /// The detection's score in \[0, 1\]; without one the marker is white.
    pub score: Option<f64>,
    /// The annotated position in the same pixels, where it is known.
    pub truth: Option<[f64; 2]>,
}

/// Images whose longer side is below this are enlarged, or their labels could not be read.
const SMALL_SIDE: usize = 600;
/// What small images are enlarged to, at least.
const ENLARGED_SIDE: usize = 720;
const WHITE: [u8; 3] = [255; 3];
const BLACK: [u8; 3] = [0; 3];

/// The marker colour of a score: vermilion (0), yellow (1/2), sky blue (1). The three differ under every common colour
/// vision deficiency and none of them is a grey of the image.
pub fn score_colour(score: f64) -> [u8; 3] {
    const STOPS: [[f64; 3]; 3] = [[255., 98., 40.], [255., 214., 64.], [64., 190., 255.]];
    let t = if score.is_nan() { 0. } else { score.clamp(0., 1.) * 2. };
    let (i, f) = if t < 1. { (0, t) } else { (1, t - 1.) };
    std::array::from_fn(|c| (STOPS[i][c] + f * (STOPS[i + 1][c] - STOPS[i][c])).round() as u8)
}

/// Draws `points` over the image `pixels` (`w * h` values in \[0, 1\], row-major; values that are absent or not finite
/// are black). An image smaller than 600 pixels is enlarged by an integer factor, so the result may be larger than `w x h`.
pub fn overlay(pixels: &[f32], w: usize, h: usize, points: &[OverlayPoint]) -> RgbImageBuf {
    if w == 0 || h == 0 {
        return RgbImageBuf::default();
    }
    let side = w.max(h);
    let zoom = if side < SMALL_SIDE { ENLARGED_SIDE.div_ceil(side) } else { 1 };
    let mut canvas = enlarge(pixels, w, h, zoom);
    let side = side * zoom;
    let text = ((side as f64 / 480.).round() as usize).max(2);
    let unit = text as f64;

    let to_canvas = |[x, y]: [f64; 2]| [x, y].map(|v| (v + 0.5) * zoom as f64 - 0.5);
    let finite = |p: [f64; 2]| p.iter().all(|v| v.is_finite());
    let drawn: Vec<(&OverlayPoint, [f64; 2])> =
        points.iter().filter(|p| finite(p.xy)).map(|p| (p, to_canvas(p.xy))).collect();

    // The truth's lines lie below the rings and its crosses above: a small error would hide them.
    let truths: Vec<([f64; 2], [f64; 2])> =
        drawn.iter().filter_map(|(p, at)| Some((*at, to_canvas(p.truth.filter(|t| finite(*t))?)))).collect();
    for (at, truth) in &truths {
        canvas.line(*at, *truth, 1.5 * unit, BLACK);
        canvas.line(*at, *truth, 0.7 * unit, WHITE);
    }
    let radius = 3.3 * unit;
    let colour = |p: &OverlayPoint| p.score.filter(|s| s.is_finite()).map_or(WHITE, score_colour);
    for (point, [x, y]) in &drawn {
        for (thick, rgb) in [(2.2 * unit, BLACK), (1.1 * unit, colour(point))] {
            let ring = |px: f64, py: f64| {
                let d = (px - x).hypot(py - y);
                ((d - radius).abs() - thick / 2.).min(d - thick * 0.6)
            };
            canvas.paint([x - radius - thick, y - radius - thick], [x + radius + thick, y + radius + thick], rgb, ring);
        }
    }
    let arm = 2.8 * unit;
    for (_, [x, y]) in &truths {
        for (thick, rgb) in [(1.7 * unit, BLACK), (0.8 * unit, WHITE)] {
            canvas.line([x - arm, *y], [x + arm, *y], thick, rgb);
            canvas.line([*x, y - arm], [*x, y + arm], thick, rgb);
        }
    }

    let labels: Vec<([f64; 2], String)> = drawn.iter().map(|(p, at)| (*at, label(p))).collect();
    let boxes = place_labels(&labels, &truths, canvas.width, canvas.height, text);
    for ((point, at), spot) in drawn.iter().zip(&boxes) {
        let Some((b, shown)) = spot else { continue };
        // A label that had to move away from its marker is tied to it by a thin line.
        let near = [at[0].clamp(b.x0, b.x1), at[1].clamp(b.y0, b.y1)];
        if (near[0] - at[0]).hypot(near[1] - at[1]) > 3.5 * radius {
            canvas.line(*at, near, 0.5 * unit, colour(point));
        }
        canvas.text(b, shown, text, colour(point));
    }
    canvas
}

/// The image as a PNG file; empty where `data` does not fit the dimensions (an image without pixels, for one).
pub fn png_bytes(image: &RgbImageBuf) -> Vec<u8> {
    use image::{ExtendedColorType, ImageEncoder, codecs::png};
    if image.data.is_empty() || image.data.len() != image.width * image.height * 3 {
        return Vec::new();
    }
    let mut bytes = Vec::new();
    let encoder =
        png::PngEncoder::new_with_quality(&mut bytes, png::CompressionType::Default, png::FilterType::Adaptive);
    match encoder.write_image(&image.data, image.width as u32, image.height as u32, ExtendedColorType::Rgb8) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

fn label(point: &OverlayPoint) -> String {
    match point.score.filter(|s| s.is_finite()) {
        Some(score) => format!("{} {score:.2}", point.name).trim_start().to_owned(),
        None => point.name.clone(),
    }
}

/// Grey to RGB, enlarged bilinearly with pixel centres kept in register.
fn enlarge(pixels: &[f32], w: usize, h: usize, zoom: usize) -> RgbImageBuf {
    let (width, height) = (w * zoom, h * zoom);
    let grey = |x: usize, y: usize| pixels.get(y * w + x).copied().filter(|v| v.is_finite()).unwrap_or(0.);
    let source = |i: usize, n: usize| {
        let v = ((i as f32 + 0.5) / zoom as f32 - 0.5).clamp(0., (n - 1) as f32);
        (v as usize, (v as usize + 1).min(n - 1), v.fract())
    };
    let mut data = Vec::with_capacity(width * height * 3);
    for oy in 0..height {
        let (y0, y1, fy) = source(oy, h);
        for ox in 0..width {
            let (x0, x1, fx) = source(ox, w);
            let row = |y: usize| grey(x0, y) * (1. - fx) + grey(x1, y) * fx;
            let v = (row(y0) * (1. - fy) + row(y1) * fy).clamp(0., 1.);
            data.extend([(v * 255.).round() as u8; 3]);
        }
    }
    RgbImageBuf { width, height, data }
}

/// A label's rectangle on the canvas, halo included.
#[derive(Clone, Copy, Debug)]
struct Rect {
    x0: f64,
    y0: f64,
    x1: f64,
    y1: f64,
}

impl Rect {
    fn overlap(&self, other: &Rect) -> f64 {
        let span = |a0: f64, a1: f64, b0: f64, b1: f64| (a1.min(b1) - a0.max(b0)).max(0.);
        span(self.x0, self.x1, other.x0, other.x1) * span(self.y0, self.y1, other.y0, other.y1)
    }
}

/// Greedy placement, in order: right, left, above, below, then the diagonals, then the same farther out; the first
/// spot free of markers, crosses and earlier labels, else the one that covers least. Text that is too wide is cut; where not
/// even one character fits there is no label.
fn place_labels(
    labels: &[([f64; 2], String)],
    truths: &[([f64; 2], [f64; 2])],
    width: usize,
    height: usize,
    text: usize,
) -> Vec<Option<(Rect, String)>> {
    const SIDES: [[f64; 2]; 8] = [[1., 0.], [-1., 0.], [0., -1.], [0., 1.], [1., -1.], [1., 1.], [-1., -1.], [-1., 1.]];
    let (canvas_w, canvas_h, unit) = (width as f64, height as f64, text as f64);
    let marker = 4.5 * unit;
    let around = |[x, y]: [f64; 2], r: f64| Rect { x0: x - r, y0: y - r, x1: x + r, y1: y + r };
    let markers = labels.iter().map(|(at, _)| around(*at, marker));
    let mut taken: Vec<Rect> = markers.chain(truths.iter().map(|(_, t)| around(*t, 3. * unit))).collect();
    let box_h = 10. * unit;
    let mut place = |at: [f64; 2], name: &str| {
        let mut shown = name.to_owned();
        while text_width(&shown, text) as f64 + 2. * unit > canvas_w {
            shown.pop()?;
        }
        if shown.is_empty() || box_h > canvas_h {
            return None;
        }
        let box_w = text_width(&shown, text) as f64 + 2. * unit;
        let (mut best, mut least) = (None, f64::INFINITY);
        for reach in [0.6, 8., 18., 32.] {
            for [sx, sy] in SIDES {
                // From the marker's centre to the box's, along one of the eight directions.
                let cx = at[0] + sx * (marker + box_w / 2. + reach * unit);
                let cy = at[1] + sy * (marker + box_h / 2. + reach * unit);
                let x0 = (cx - box_w / 2.).clamp(0., canvas_w - box_w).floor();
                let y0 = (cy - box_h / 2.).clamp(0., canvas_h - box_h).floor();
                let spot = Rect { x0, y0, x1: x0 + box_w, y1: y0 + box_h };
                let covered: f64 = taken.iter().map(|t| t.overlap(&spot)).sum();
                if covered < least {
                    (best, least) = (Some(spot), covered);
                }
            }
            if least == 0. {
                break;
            }
        }
        let spot = best?;
        taken.push(spot);
        Some((spot, shown))
    };
    labels.iter().map(|(at, name)| place(*at, name)).collect()
}

/// A character's bitmap (bit 0 is the leftmost column) with the columns it starts and ends at; unknown ones are `?`.
fn glyph(c: char) -> ([u8; 8], usize, usize) {
    let fonts = [font8x8::BASIC_FONTS.get(c), font8x8::LATIN_FONTS.get(c), font8x8::GREEK_FONTS.get(c)];
    let bits = fonts.into_iter().flatten().next().or_else(|| font8x8::BASIC_FONTS.get('?')).unwrap_or_default();
    let used = bits.iter().fold(0u8, |a, row| a | row);
    match used {
        0 => (bits, 0, 3),
        _ => (bits, used.trailing_zeros() as usize, 8 - used.leading_zeros() as usize),
    }
}

/// Proportional width: the fixed 8-column cell would make long names needlessly wide.
fn text_width(s: &str, text: usize) -> usize {
    s.chars().map(glyph).map(|(_, from, to)| (to - from + 1) * text).sum()
}

impl RgbImageBuf {
    /// Blends `rgb` where the signed distance `sdf` (negative inside) says so, within the given corners.
    fn paint(&mut self, min: [f64; 2], max: [f64; 2], rgb: [u8; 3], sdf: impl Fn(f64, f64) -> f64) {
        // `as usize` saturates, so corners beyond the image become its edge.
        let columns = (min[0].floor() as usize)..((max[0].ceil() + 1.).max(0.) as usize).min(self.width);
        for y in (min[1].floor() as usize)..((max[1].ceil() + 1.).max(0.) as usize).min(self.height) {
            for x in columns.clone() {
                let cover = (0.5 - sdf(x as f64, y as f64)).clamp(0., 1.);
                let pixel = &mut self.data[(y * self.width + x) * 3..][..3];
                for (old, new) in pixel.iter_mut().zip(rgb) {
                    *old = (f64::from(*old) + cover * (f64::from(new) - f64::from(*old))).round() as u8;
                }
            }
        }
    }

    fn line(&mut self, a: [f64; 2], b: [f64; 2], thick: f64, rgb: [u8; 3]) {
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let length2 = (dx * dx + dy * dy).max(1e-12);
        let pad = thick / 2. + 1.;
        let min = [a[0].min(b[0]) - pad, a[1].min(b[1]) - pad];
        let max = [a[0].max(b[0]) + pad, a[1].max(b[1]) + pad];
        self.paint(min, max, rgb, |x, y| {
            let t = (((x - a[0]) * dx + (y - a[1]) * dy) / length2).clamp(0., 1.);
            (x - a[0] - t * dx).hypot(y - a[1] - t * dy) - thick / 2.
        });
    }

    /// Text in its rectangle: first every glyph's dark halo, then the glyphs, so that no halo eats a neighbour.
    fn text(&mut self, spot: &Rect, s: &str, text: usize, rgb: [u8; 3]) {
        for (grow, colour) in [(text / 2 + 1, BLACK), (0, rgb)] {
            let mut left = spot.x0 as usize + text;
            for (bits, from, to) in s.chars().map(glyph) {
                for (row, column) in (0..8).flat_map(|r| (from..to).map(move |c| (r, c))) {
                    if bits[row] >> column & 1 == 1 {
                        let (x, y) = (left + (column - from) * text, spot.y0 as usize + text + row * text);
                        self.fill(
                            x.saturating_sub(grow),
                            y.saturating_sub(grow),
                            x + text + grow,
                            y + text + grow,
                            colour,
                        );
                    }
                }
                left += (to - from + 1) * text;
            }
        }
    }

    fn fill(&mut self, x0: usize, y0: usize, x1: usize, y1: usize, rgb: [u8; 3]) {
        for y in y0..y1.min(self.height) {
            for x in x0..x1.min(self.width) {
                self.data[(y * self.width + x) * 3..][..3].copy_from_slice(&rgb);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(name: &str, xy: [f64; 2]) -> OverlayPoint {
        OverlayPoint { name: name.into(), xy, score: Some(0.9), truth: None }
    }

    #[test]
    fn labels_stay_within_the_image() {
        let corners = [[0., 0.], [719., 0.], [0., 479.], [719., 479.], [360., 240.], [362., 241.], [-900., 1e18]];
        let labels: Vec<_> = corners.iter().map(|p| (*p, "porion, left 0.93".to_owned())).collect();
        for (w, h) in [(720, 480), (90, 480), (720, 21), (30, 30), (1, 1)] {
            for (b, shown) in place_labels(&labels, &[], w, h, 2).into_iter().flatten() {
                assert!(b.x0 >= 0. && b.y0 >= 0. && b.x1 <= w as f64 && b.y1 <= h as f64, "{shown}: {b:?} in {w}x{h}");
            }
        }
        let far_apart = place_labels(&labels[..5], &[], 720, 480, 2);
        assert!(far_apart.iter().all(|l| l.as_ref().is_some_and(|(_, s)| s == "porion, left 0.93")));
    }

    #[test]
    fn neighbouring_labels_do_not_overlap() {
        let labels: Vec<_> = (0..8).map(|i| ([300. + 9. * f64::from(i), 300.], format!("landmark {i}"))).collect();
        let boxes: Vec<Rect> = place_labels(&labels, &[], 720, 720, 2).into_iter().flatten().map(|(b, _)| b).collect();
        for (i, a) in boxes.iter().enumerate() {
            assert!(boxes[i + 1..].iter().all(|b| a.overlap(b) == 0.), "label {i}");
        }
    }

    #[test]
    fn marker_stands_at_the_sub_pixel_position() {
        let image =
            overlay(&vec![0.; 700 * 650], 700, 650, &[OverlayPoint { name: "".into(), ..point("", [350.5, 320.]) }]);
        assert_eq!((image.width, image.height), (700, 650));
        let at = |x: usize, y: usize| image.data[(y * 700 + x) * 3 + 2];
        assert_eq!(at(350, 320), at(351, 320), "both pixels beside x = 350.5 are covered alike");
    }

    #[test]
    fn small_images_grow_by_an_integer_and_odd_input_does_not_panic() {
        let odd = [point("a", [f64::NAN, 3.]), point("Ω語", [1e300, -1e300]), point(&"long ".repeat(90), [3., 3.])];
        let image = overlay(&[0.5, f32::NAN], 200, 100, &odd);
        assert_eq!((image.width, image.height, image.data.len()), (800, 400, 800 * 400 * 3));
        assert!(png_bytes(&image).starts_with(b"\x89PNG"));
        assert!(png_bytes(&overlay(&[], 0, 5, &odd)).is_empty());
    }
}
