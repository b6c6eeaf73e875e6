//! Random views of images, and the maps between their pixels and the stored image's.

use super::dataset::Dataset;
pub use crate::data::point::Point;
use crate::kernel::warp::WarpRow;
use crate::random::Stream;
use serde::{Deserialize, Serialize};

/// An affine map from a view's pixels to stored pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View(pub [[f64; 3]; 2]);

impl View {
    /// Of a whole frame, pixel by pixel.
    pub const WHOLE: Self = Self([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);

    /// A view of `w` x `h` pixels whose centre shows `centre`, rotated and scaled; a scale above 1 shows more of the image.
    pub fn similarity(w: usize, h: usize, centre: Point, scale: f64, radians: f64) -> Self {
        let (sin, cos) = (scale * radians.sin(), scale * radians.cos());
        let (cx, cy) = ((w as f64 - 1.0) / 2.0, (h as f64 - 1.0) / 2.0);
        Self([[cos, -sin, centre[0] - cos * cx + sin * cy], [sin, cos, centre[1] - sin * cx - cos * cy]])
    }

    /// The stored pixel under a view's pixel.
    pub fn stored(&self, [x, y]: Point) -> Point {
        self.0.map(|row| row[0] * x + row[1] * y + row[2])
    }

    /// The view's pixel over a stored pixel.
    pub fn inverse(&self, [x, y]: Point) -> Point {
        let [[a, b, c], [d, e, f]] = self.0;
        let (x, y, det) = (x - c, y - f, a * e - b * d);
        [(e * x - b * y) / det, (a * y - d * x) / det]
    }
}

/// Strength of the augmentation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Scales are drawn between 1 / this and this, uniformly in the logarithm.
    pub scale: f64,
    /// Rotations are drawn up to this angle, degrees.
    pub rotation: f64,
    /// Standard deviation of the logarithm of the gamma exponent.
    pub gamma: f64,
    /// Standard deviation of the logarithm of the contrast factor.
    pub contrast: f64,
    /// Standard deviation of the brightness.
    pub brightness: f64,
    /// Standard deviation of pixel noise, at most.
    pub noise: f64,
    /// Distance of the blur's taps in pixels, at most; half of the views stay sharp.
    pub blur: f64,
    /// Weight, at most, of a second stored image, at a random place, that is added to a view as a film also shows what lies behind.
    pub overlay: f64,
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            scale: 1.2,
            rotation: 15.0,
            gamma: 0.25,
            contrast: 0.2,
            brightness: 0.1,
            noise: 0.04,
            blur: 1.0,
            overlay: 0.3,
        }
    }
}

impl Augment {
    /// A random view of `w` x `h` pixels around a stored point.
    pub fn view(&self, random: &mut Stream, w: usize, h: usize, centre: Point) -> View {
        let scale = self.scale.ln() * random.range(-1.0, 1.0);
        let radians = self.rotation.to_radians() * random.range(-1.0, 1.0);
        View::similarity(w, h, centre, scale.exp(), radians)
    }

    /// A table row that shows a view, of `w` x `h` pixels, of an image with random exposure, blur, noise and overlay.
    pub fn row(&self, random: &mut Stream, dataset: &Dataset, image: usize, view: View, [w, h]: [usize; 2]) -> WarpRow {
        let blur = random.range(-1.0, 1.0).max(0.0) * self.blur;
        let row = WarpRow {
            gamma: (random.normal() * self.gamma).exp(),
            contrast: (random.normal() * self.contrast).exp(),
            brightness: random.normal() * self.brightness,
            noise: random.uniform() * self.noise,
            blur,
            seed: random.index(1 << 24) as u32,
            ..dataset.plain(image, view)
        };
        if self.overlay == 0.0 {
            return row;
        }
        let other = random.index(dataset.len());
        let centre = dataset.sizes[other].map(|extent| random.range(0.0, extent as f64 - 1.0));
        let behind = self.view(random, w, h, centre);
        WarpRow { overlay: random.uniform() * self.overlay, other: dataset.plain(other, behind).shown, ..row }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_is_of_any_image_and_changes_nothing_else() {
        let dataset = Dataset::blank(&[[20, 30], [40, 10]], 40);
        let row = |overlay: f64, key: u64| {
            let augment = Augment { overlay, ..Augment::default() };
            augment.row(&mut Stream::new(1, &[key]), &dataset, 0, View::WHOLE, [8, 8])
        };
        let rows: Vec<[WarpRow; 2]> = (0..20).map(|key| [row(0.0, key), row(0.5, key)]).collect();
        for [without, with] in &rows {
            assert_eq!(*without, WarpRow { overlay: 0.0, other: without.shown, ..*with });
            assert!(with.overlay > 0.0 && with.overlay <= 0.5 && with.other != with.shown, "{with:?}");
            assert_eq!([with.other.width, with.other.height], dataset.sizes[with.other.image]);
        }
        assert!([0, 1].iter().all(|&image| rows.iter().any(|[_, with]| with.other.image == image)));
    }

    #[test]
    fn a_view_shows_its_centre_in_the_middle_and_inverts() {
        let view = View::similarity(9, 5, [20.0, 30.0], 1.5, 0.3);
        let close = |a: Point, b: Point| (a[0] - b[0]).abs() + (a[1] - b[1]).abs() < 1e-9;
        assert!(close(view.stored([4.0, 2.0]), [20.0, 30.0]));
        assert!(close(view.inverse(view.stored([1.0, -7.0])), [1.0, -7.0]));
    }
}
