//! The X-ray: attenuation summed along each ray, transmitted photons, blur, noise, and the film's tone curve.
//!
//! Attenuation (dimensionless, coefficient times millimetres) is additive over tissues, so every structure adds
//! to one plane and order does not matter. Bones are sampled 2 x 2 in each pixel; flesh and texture change
//! slowly and are sampled once.

use super::anatomy::{Capsule, Chords, Hand, Point};
use super::{Draw, LANDMARK_COUNT, REFERENCE_SIZE, unit};

/// Pixels per millimetre of a hand of scale 1 at the reference size: its middle fingertip is then about 120 pixels
/// from the wrist, which leaves room to move in, and at scale 1.2 it still fits.
const PIXELS_PER_MM: f64 = 0.65;

/// Two fingers' flesh merges over about this many millimetres: the webs between them.
const WEB_MM: f64 = 6.0;

/// A similarity from the hand's millimetres (y up) to the image's pixels (y down, centres at integers).
pub(super) struct Placement {
    cos: f64,
    sin: f64,
    scale: f64,
    shift: [f64; 2],
    /// Image size over reference size: what lengths given in reference pixels are multiplied by.
    pub unit: f64,
}

impl Placement {
    /// Draws rotation, scale and position; shrinks a hand whose landmarks would not fit inside the margin.
    pub fn new(draw: &mut Draw, landmarks: &[Point; LANDMARK_COUNT], width: usize, height: usize) -> Self {
        let size = [width as f64, height as f64];
        let unit = (size[0] / REFERENCE_SIZE[0]).min(size[1] / REFERENCE_SIZE[1]);
        let (sin, cos) = draw.around(0.0, 15.0).to_radians().sin_cos();
        let scale = PIXELS_PER_MM * unit * draw.factor(0.2);
        let mut placement = Self { cos, sin, scale, shift: [0.0; 2], unit };

        let margin = [0, 1].map(|axis| (7.0 * unit).max(6.0).min(0.1 * size[axis]));
        let room = [0, 1].map(|axis| (size[axis] - 1.0 - 2.0 * margin[axis]).max(0.0));
        let extent = placement.extent(landmarks).map(|[low, high]| high - low);
        let fit = (room[0] / extent[0]).min(room[1] / extent[1]).min(1.0);
        placement.scale *= fit;

        let extent = placement.extent(landmarks);
        for axis in [0, 1] {
            let [low, high] = extent[axis];
            let slack = (room[axis] - (high - low)).max(0.0);
            placement.shift[axis] = margin[axis] - low + slack * draw.around(0.5, 0.5).clamp(0.0, 1.0);
        }
        placement
    }

    /// Lowest and highest x, and y, of the points as placed so far.
    fn extent(&self, points: &[Point]) -> [[f64; 2]; 2] {
        let mut extent = [[f64::INFINITY, f64::NEG_INFINITY]; 2];
        for &point in points {
            let pixel = self.to_pixels(point);
            for axis in [0, 1] {
                extent[axis] = [extent[axis][0].min(pixel[axis]), extent[axis][1].max(pixel[axis])];
            }
        }
        extent
    }

    /// From millimetres to pixels.
    pub fn to_pixels(&self, [x, y]: Point) -> [f64; 2] {
        [
            self.shift[0] + self.scale * (self.cos * x + self.sin * y),
            self.shift[1] + self.scale * (self.sin * x - self.cos * y),
        ]
    }

    /// From pixels to millimetres.
    fn to_mm(&self, [x, y]: [f64; 2]) -> Point {
        let [x, y] = [(x - self.shift[0]) / self.scale, (y - self.shift[1]) / self.scale];
        [self.cos * x + self.sin * y, self.sin * x - self.cos * y]
    }
}

/// How the picture is taken and developed.
pub(super) struct Film {
    /// Attenuation per millimetre of dense bone and of flesh.
    bone: f64,
    flesh: f64,
    /// Density of the marrow's spongy bone, relative to dense bone.
    spongy: f64,
    /// Standard deviation of the blur, in reference pixels.
    blur: f64,
    /// Standard deviation of the noise of an unattenuated pixel, relative to its photons.
    noise: f64,
    /// Amplitude of the smooth background texture, in attenuation.
    texture: f64,
    /// Exposure gradient over the whole image in x and in y, in attenuation.
    gradient: [f64; 2],
    /// The heel effect and scatter: corners darker or brighter than the centre.
    vignette: f64,
    /// Tone curve: grey = fog + (1 - fog) (1 - exp(-gain a))^gamma.
    gain: f64,
    gamma: f64,
    fog: f64,
}

impl Film {
    pub fn new(draw: &mut Draw) -> Self {
        Self {
            bone: draw.around(0.085, 0.025),
            flesh: draw.around(0.019, 0.007),
            spongy: draw.around(0.5, 0.12),
            blur: draw.around(0.55, 0.25),
            noise: draw.around(0.034, 0.022),
            texture: draw.around(0.07, 0.05),
            gradient: [draw.around(0.0, 0.2), draw.around(0.0, 0.2)],
            vignette: draw.around(0.0, 0.12),
            gain: draw.around(1.4, 0.45),
            gamma: draw.around(1.05, 0.3),
            fog: draw.around(0.04, 0.04),
        }
    }
}

/// Draws the picture: `width * height` grey values, row-major.
#[allow(clippy::too_many_arguments)] // One caller, one argument for each step of the model.
pub(super) fn render(
    hand: &Hand,
    placement: &Placement,
    film: &Film,
    points: &[[f64; 2]],
    overlays: &mut Draw,
    noise: &Draw,
    width: usize,
    height: usize,
) -> Vec<f32> {
    if width == 0 || height == 0 {
        return Vec::new();
    }
    let mut plane = background(film, placement, overlays, width, height);
    add_flesh(&mut plane, hand, placement, film.flesh, width);
    add_bones(&mut plane, hand, placement, film, overlays, width);
    if overlays.chance(0.4) {
        add_marker(&mut plane, placement, points, overlays, width);
    }
    let mut transmitted: Vec<f64> = plane.iter().map(|a| (-a).exp()).collect();
    blur(&mut transmitted, width, film.blur * placement.unit);
    let shutters = if overlays.chance(0.4) { shutters(overlays, points, placement.unit) } else { Vec::new() };

    let mut pixels = Vec::with_capacity(width * height);
    for (i, &photons) in transmitted.iter().enumerate() {
        // Photon counts scatter with their square root: few photons behind bone, so noisier bone.
        let photons = photons + film.noise * photons.sqrt() * noise.normal_at(i as u64);
        let attenuation = -photons.max(0.01).ln();
        let tone = (1.0 - (-film.gain * attenuation.max(0.0)).exp()).powf(film.gamma);
        let pixel = [(i % width) as f64, (i / width) as f64];
        let open = shutters.iter().map(|shutter| shutter.open(pixel)).fold(1.0, f64::min);
        pixels.push((open * (film.fog + (1.0 - film.fog) * tone)).clamp(0.0, 1.0) as f32);
    }
    pixels
}

/// Exposure gradient, vignette, a table's offset and smooth texture.
fn background(film: &Film, placement: &Placement, draw: &mut Draw, width: usize, height: usize) -> Vec<f64> {
    let octaves = [42.0, 19.0, 8.0].map(|cell| Texture::new(draw, cell * placement.unit, width, height));
    let mut plane = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x as f64 / width as f64 - 0.5, y as f64 / height as f64 - 0.5);
            let smooth = film.gradient[0] * u + film.gradient[1] * v + film.vignette * (u * u + v * v) * 2.0;
            let [coarse, medium, fine] = [0, 1, 2].map(|i| octaves[i].at(x, y));
            let texture = film.texture * (coarse + 0.5 * medium + 0.3 * fine);
            plane.push((0.16 + smooth + texture).max(0.0));
        }
    }
    plane
}

/// Flesh: a smooth union of capsules, thicker the deeper inside its outline.
fn add_flesh(plane: &mut [f64], hand: &Hand, placement: &Placement, coefficient: f64, width: usize) {
    for (i, attenuation) in plane.iter_mut().enumerate() {
        let p = placement.to_mm([(i % width) as f64, (i / width) as f64]);
        let depth = -smooth_union(&hand.flesh, p);
        if depth > 0.0 {
            // A finger of radius 8 mm is about as thick as it is wide; a palm is much wider than thick.
            *attenuation += coefficient * 2.0 * (8.0 * depth.min(14.0)).sqrt();
        }
    }
}

/// The polynomial smooth minimum of the capsules' signed distances; exact inside the flesh, where capsules
/// beyond a web's width have no say.
fn smooth_union(capsules: &[Capsule], p: Point) -> f64 {
    let near = capsules.iter().filter(|capsule| capsule.may_be_within(p, 2.0 * WEB_MM));
    near.fold(1e3, |nearest, capsule| {
        let distance = capsule.distance(p);
        let overlap = (WEB_MM - (nearest - distance).abs()).max(0.0);
        nearest.min(distance) - overlap * overlap / (4.0 * WEB_MM)
    })
}

/// Bones, with spongy texture inside; each visits its bounding box alone.
fn add_bones(plane: &mut [f64], hand: &Hand, placement: &Placement, film: &Film, draw: &mut Draw, width: usize) {
    let height = plane.len() / width;
    let grain = Texture::new(draw, 2.4 * placement.unit, width, height);
    for bone in &hand.bones {
        let mut low = [f64::INFINITY; 2];
        let mut high = [f64::NEG_INFINITY; 2];
        for (start, end, reach) in bone.pieces.iter().map(|piece| piece.bounds()) {
            for pixel in [start, end].map(|p| placement.to_pixels(p)) {
                for axis in [0, 1] {
                    low[axis] = low[axis].min(pixel[axis] - reach * placement.scale - 1.0);
                    high[axis] = high[axis].max(pixel[axis] + reach * placement.scale + 2.0);
                }
            }
        }
        // Casts from f64 saturate, so a box outside the image is an empty range.
        for y in low[1] as usize..(high[1] as usize).min(height) {
            for x in low[0] as usize..(high[0] as usize).min(width) {
                let mut dense = 0.0;
                let mut spongy = 0.0;
                for [dx, dy] in [[-0.25, -0.25], [0.25, -0.25], [-0.25, 0.25], [0.25, 0.25]] {
                    let p = placement.to_mm([x as f64 + dx, y as f64 + dy]);
                    let chords = bone.pieces.iter().map(|piece| piece.chords(p)).fold(Chords::NONE, Chords::union);
                    dense += 0.25 * (chords.outer - chords.inner);
                    spongy += 0.25 * chords.spongy;
                }
                if dense + spongy > 0.0 {
                    let spongy = spongy * film.spongy * (1.0 + 0.35 * grain.at(x, y));
                    plane[y * width + x] += film.bone * (dense + spongy);
                }
            }
        }
    }
}

/// A lead letter "R" (right hand) in the corner farthest from every landmark, if there is room.
fn add_marker(plane: &mut [f64], placement: &Placement, points: &[[f64; 2]], draw: &mut Draw, width: usize) {
    let height = plane.len() / width;
    let size = placement.unit * (9.0 + 5.0 * draw.unit());
    let inset = size * 0.8 + placement.unit * (3.0 + 6.0 * draw.unit());
    let (sin, cos) = (0.5 * (draw.unit() - 0.5)).sin_cos();
    let [right, bottom] = [width as f64 - 1.0 - inset, height as f64 - 1.0 - inset];
    let clearance = |corner: [f64; 2]| {
        points.iter().map(|p| (p[0] - corner[0]).hypot(p[1] - corner[1])).fold(f64::INFINITY, f64::min)
    };
    let corners = [[inset, inset], [right, inset], [inset, bottom], [right, bottom]];
    let centre = corners.into_iter().fold(corners[0], |best, c| if clearance(c) > clearance(best) { c } else { best });
    if clearance(centre) < size + 6.0 * placement.unit {
        return;
    }
    // Strokes of the letter in units of its height, centred, y down.
    let vertices = [[-0.3, 0.5], [-0.3, -0.5], [0.12, -0.5], [0.28, -0.36], [0.28, -0.14], [0.12, 0.0], [-0.3, 0.0]];
    let stroke = |start, end| Capsule::new(start, end, [0.07; 2]);
    let mut strokes: Vec<Capsule> = vertices.windows(2).map(|pair| stroke(pair[0], pair[1])).collect();
    strokes.push(stroke([0.0, 0.0], [0.3, 0.5]));
    let lead = 1.0 + draw.unit();
    for y in 0..height {
        for x in 0..width {
            let [dx, dy] = [(x as f64 - centre[0]) / size, (y as f64 - centre[1]) / size];
            if dx.abs().max(dy.abs()) > 1.0 {
                continue;
            }
            let p = [cos * dx + sin * dy, cos * dy - sin * dx];
            let distance = strokes.iter().map(|stroke| stroke.distance(p)).fold(f64::INFINITY, f64::min);
            plane[y * width + x] += lead * (0.5 - distance * size).clamp(0.0, 1.0);
        }
    }
}

/// A collimator's edge: dark beyond the line `normal . pixel = offset`.
struct Shutter {
    normal: [f64; 2],
    offset: f64,
    /// Width of the half-shadow, in pixels, and what light is left in the dark.
    softness: f64,
    leak: f64,
}

impl Shutter {
    fn open(&self, [x, y]: [f64; 2]) -> f64 {
        let inside = (self.offset - self.normal[0] * x - self.normal[1] * y) / self.softness;
        self.leak + (1.0 - self.leak) * (inside + 0.5).clamp(0.0, 1.0)
    }
}

/// Two to four edges of a rectangle around the landmarks, far enough out to leave each landmark's surroundings.
fn shutters(draw: &mut Draw, points: &[[f64; 2]], unit: f64) -> Vec<Shutter> {
    let turn = 0.2 * (draw.unit() - 0.5);
    let softness = unit * (0.8 + 1.6 * draw.unit());
    let leak = 0.25 * draw.unit();
    let mut shutters = Vec::new();
    for side in 0..4 {
        let (sin, cos) = (turn + f64::from(side) * std::f64::consts::FRAC_PI_2).sin_cos();
        let farthest = points.iter().map(|p| cos * p[0] + sin * p[1]).fold(f64::NEG_INFINITY, f64::max);
        let offset = farthest + unit * (9.0 + 14.0 * draw.unit());
        if draw.unit() < 0.75 {
            shutters.push(Shutter { normal: [cos, sin], offset, softness, leak });
        }
    }
    shutters
}

/// Smooth random values in [-1, 1]: random numbers on a lattice, smoothly interpolated (value noise).
struct Texture {
    values: Vec<f64>,
    columns: usize,
    cell: f64,
}

impl Texture {
    /// `cell` is the lattice's spacing in pixels.
    fn new(draw: &mut Draw, cell: f64, width: usize, height: usize) -> Self {
        let cell = cell.max(1.0);
        let columns = (width as f64 / cell) as usize + 2;
        let rows = (height as f64 / cell) as usize + 2;
        // One number of the stream names the lattice; its nodes are numbered from there.
        draw.counter += 1;
        let first = draw.at(draw.counter);
        let node = |n| 2.0 * unit(draw.at(first.wrapping_add(n))) - 1.0;
        let values = (0..(columns * rows) as u64).map(node).collect();
        Self { values, columns, cell }
    }

    fn at(&self, x: usize, y: usize) -> f64 {
        let (u, v) = (x as f64 / self.cell, y as f64 / self.cell);
        let (column, row) = (u as usize, v as usize);
        let (fu, fv) = (smooth_step(u.fract()), smooth_step(v.fract()));
        let top = row * self.columns + column;
        let bottom = top + self.columns;
        let lerp = |a: f64, b: f64, t: f64| a + t * (b - a);
        lerp(
            lerp(self.values[top], self.values[top + 1], fu),
            lerp(self.values[bottom], self.values[bottom + 1], fu),
            fv,
        )
    }
}

fn smooth_step(t: f64) -> f64 {
    t * t * (3.0 - 2.0 * t)
}

/// Separable Gaussian blur of standard deviation `sigma` pixels, with the border's values repeated outside.
fn blur(plane: &mut [f64], width: usize, sigma: f64) {
    let height = plane.len() / width;
    let radius = (3.0 * sigma).ceil() as usize;
    let mut taps: Vec<f64> = (0..=radius).map(|d| (-0.5 * (d as f64 / sigma).powi(2)).exp()).collect();
    let total = taps[0] + 2.0 * taps[1..].iter().sum::<f64>();
    taps.iter_mut().for_each(|tap| *tap /= total);
    let mut line = vec![0.0; width.max(height)];
    let mut blur_line = |plane: &mut [f64], first: usize, step: usize, count: usize| {
        for i in 0..count {
            line[i] = plane[first + i * step];
        }
        for i in 0..count {
            let beside = |d: usize| line[i.saturating_sub(d)] + line[(i + d).min(count - 1)];
            plane[first + i * step] =
                taps[0] * line[i] + taps.iter().enumerate().skip(1).map(|(d, tap)| tap * beside(d)).sum::<f64>();
        }
    };
    for y in 0..height {
        blur_line(plane, y * width, 1, width);
    }
    for x in 0..width {
        blur_line(plane, x, width, height);
    }
}
