//! Procedural hand radiographs whose landmarks are known exactly: the data set of `onemark demo`.
//!
//! A phantom is drawn in three steps, each of which reads its own stream of random numbers:
//!
//! 1. `anatomy`: a right hand seen from the back, as solids of revolution in millimetres. Bone lengths,
//!    widths, joint gaps, finger spread, flexion and wrist deviation vary; the landmarks are points
//!    *of the anatomy* (bone tips, joint-gap centres), so they move with it by construction.
//! 2. `render::Placement`: a similarity (rotation, scale, translation) from millimetres to pixels, chosen such that
//!    every landmark keeps a margin to the border.
//! 3. `render::render`: line integrals of attenuation are summed along the ray, `transmitted = exp(-attenuation)` is
//!    blurred and given photon noise, and a film-like tone curve makes the picture.
//!
//! What the set is made to show: copying the template's coordinates fails (the tests bound by how much), while
//! a local expert sees every landmark; fingertips, and metacarpophalangeal (MCP) joints, look *alike* and are
//! told apart by size and surroundings alone. Hands are never mirrored: left against right is not asked.
//!
//! Everything is a function of (seed, index, width, height), by counter-based random numbers and f64
//! arithmetic in a fixed order: on one platform the pixels are bit-identical whatever thread draws them.
//! (`exp`, `ln`, `sin` and `cos` are the platform's, and may differ by a last place between platforms.)

mod anatomy;
mod render;

use crate::random::mix;
use render::{Film, Placement};

/// The number of landmarks of a phantom.
const LANDMARK_COUNT: usize = 14;

/// Names of the landmarks, in the order of [`Phantom::points`].
///
/// `*_tip` is the distal end of the distal phalanx (of the bone, not of the flesh); `*_mcp` and `*_pip` are the
/// centres of the metacarpophalangeal and the proximal interphalangeal joint gap; `*_styloid` is the tip of the
/// styloid process of the radius and of the ulna.
pub const LANDMARKS: [&str; LANDMARK_COUNT] = [
    "thumb_tip",
    "index_tip",
    "middle_tip",
    "ring_tip",
    "little_tip",
    "thumb_mcp",
    "index_mcp",
    "middle_mcp",
    "ring_mcp",
    "little_mcp",
    "index_pip",
    "middle_pip",
    "radius_styloid",
    "ulna_styloid",
];

/// The size, in pixels, at which the proportions (blur, texture, margins) were chosen.
const REFERENCE_SIZE: [f64; 2] = [160.0, 192.0];

/// One synthetic radiograph and its ground truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Phantom {
    /// Grey values in [0, 1], row-major, `width * height` of them; bone is bright.
    pub pixels: Vec<f32>,
    /// `[x, y]` of each landmark of [`LANDMARKS`], in pixels of this image; pixel centres are at integers.
    pub points: Vec<[f64; 2]>,
}

/// Draws phantom `index` of the data set `seed`, at `width` x `height` pixels.
///
/// The reference size is 160 x 192, and geometry, blur and texture scale with
/// `min(width / 160, height / 192)`. Index 0 is the template: a nearly average pose and exposure, without
/// markers or collimation. Every landmark stays at least 6 pixels inside the border; only images with a side
/// under 60 pixels get a smaller margin, a tenth of that side. An extent of 0 gives no pixels.
pub fn phantom(seed: u64, index: u64, width: usize, height: usize) -> Phantom {
    let draw = |purpose| Draw::new(seed, index, purpose);
    let hand = anatomy::hand(&mut draw(Purpose::Anatomy));
    let placement = Placement::new(&mut draw(Purpose::Placement), &hand.landmarks, width, height);
    let points = hand.landmarks.map(|p| placement.to_pixels(p)).to_vec();
    let film = Film::new(&mut draw(Purpose::Film));
    let noise = draw(Purpose::Noise);
    let mut overlays = draw(Purpose::Overlays);
    let pixels = render::render(&hand, &placement, &film, &points, &mut overlays, &noise, width, height);
    Phantom { pixels, points }
}

/// What a stream of random numbers is for: a change in one step's draws leaves the other steps' alone.
#[derive(Clone, Copy)]
enum Purpose {
    Anatomy = 1,
    Placement,
    Film,
    Overlays,
    Noise,
}

/// A counter-based stream of random numbers: the n-th number is a hash of (key, n), and holds no other state.
struct Draw {
    key: u64,
    counter: u64,
    /// How far draws may stray from their centre: 1, and less for the template.
    amount: f64,
}

impl Draw {
    fn new(seed: u64, index: u64, purpose: Purpose) -> Self {
        let key = mix(mix(mix(seed) ^ index) ^ purpose as u64);
        let amount = if index == 0 { 0.2 } else { 1.0 };
        Self { key, counter: 0, amount }
    }

    /// The number at position `n`, whatever was drawn before.
    fn at(&self, n: u64) -> u64 {
        mix(self.key.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        self.counter += 1;
        unit(self.at(self.counter))
    }

    /// Uniform in `centre ± half_range` (the template: a fifth of that range).
    fn around(&mut self, centre: f64, half_range: f64) -> f64 {
        centre + self.amount * half_range * (2.0 * self.unit() - 1.0)
    }

    /// A factor around 1: uniform in `1 ± half_range`.
    fn factor(&mut self, half_range: f64) -> f64 {
        self.around(1.0, half_range)
    }

    /// True with the given probability; never for the template.
    fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability && self.amount == 1.0
    }

    /// The `n`-th of independent numbers of mean 0 and variance 1: the sum of four uniforms cut out of one
    /// hash (Irwin-Hall), near enough to a normal number for noise and free of `ln` and `cos`.
    fn normal_at(&self, n: u64) -> f64 {
        let bits = self.at(n);
        let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
        (sum as f64 / 65535.0 - 2.0) * 3f64.sqrt()
    }
}

/// The top 53 bits as a number in [0, 1).
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    const W: usize = 160;
    const H: usize = 192;

    fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
        (a[0] - b[0]).hypot(a[1] - b[1])
    }

    fn mean_distance(a: &Phantom, b: &Phantom) -> f64 {
        let sum: f64 = a.points.iter().zip(&b.points).map(|(&p, &q)| distance(p, q)).sum();
        sum / a.points.len() as f64
    }

    /// Mean over a window of `radius` pixels around a point.
    fn patch_mean(phantom: &Phantom, [x, y]: [f64; 2], radius: i64) -> f64 {
        let (cx, cy) = (x.round() as i64, y.round() as i64);
        let mut sum = 0.0;
        for y in cy - radius..=cy + radius {
            for x in cx - radius..=cx + radius {
                sum += f64::from(phantom.pixels[y as usize * W + x as usize]);
            }
        }
        sum / ((2 * radius + 1) * (2 * radius + 1)) as f64
    }

    #[test]
    fn a_phantom_is_a_function_of_its_arguments_on_any_thread() {
        let alone: Vec<Phantom> = (0..6).map(|index| phantom(7, index, W, H)).collect();
        let threaded: Vec<Phantom> = (0..6u64).into_par_iter().map(|index| phantom(7, index, W, H)).collect();
        assert_eq!(alone, threaded);
    }

    #[test]
    fn landmark_names_are_distinct() {
        let names: std::collections::BTreeSet<_> = LANDMARKS.iter().collect();
        assert_eq!(names.len(), LANDMARKS.len());
    }

    #[test]
    fn every_landmark_keeps_its_margin_at_any_size() {
        for (width, height) in [(W, H), (64, 64), (320, 200), (90, 400)] {
            for index in 0..40 {
                let phantom = phantom(3, index, width, height);
                assert_eq!(phantom.pixels.len(), width * height);
                assert_eq!(phantom.points.len(), LANDMARKS.len());
                for [x, y] in phantom.points {
                    assert!((6.0..=width as f64 - 7.0).contains(&x), "x {x} of {width}, index {index}");
                    assert!((6.0..=height as f64 - 7.0).contains(&y), "y {y} of {height}, index {index}");
                }
            }
        }
    }

    #[test]
    fn degenerate_sizes_do_not_panic() {
        for (width, height) in [(0, 0), (0, 5), (1, 1), (3, 40), (17, 2)] {
            assert_eq!(phantom(1, 1, width, height).pixels.len(), width * height);
        }
    }

    #[test]
    fn geometry_scales_with_the_image() {
        let (small, large) = (phantom(5, 4, W, H), phantom(5, 4, 2 * W, 2 * H));
        for (&[x, y], &p) in small.points.iter().zip(&large.points) {
            // Pixel centres are at integers, so a doubled image maps x to 2x + 1/2.
            assert!(distance([2.0 * x + 0.5, 2.0 * y + 0.5], p) < 3.0, "{x} {y} {p:?}");
        }
    }

    #[test]
    fn copying_the_template_fails() {
        let template = phantom(11, 0, W, H);
        let errors: Vec<f64> = (1..200).map(|index| mean_distance(&phantom(11, index, W, H), &template)).collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        let diagonal = (W as f64).hypot(H as f64);
        assert!(mean > 0.08 * diagonal, "mean copy error {mean:.1} px of a diagonal of {diagonal:.1} px");
    }

    #[test]
    fn intensities_are_in_range_and_use_it() {
        for index in 0..20 {
            let phantom = phantom(2, index, W, H);
            assert!(phantom.pixels.iter().all(|v| (0.0..=1.0).contains(v)));
            let mut sorted = phantom.pixels.clone();
            sorted.sort_by(f32::total_cmp);
            let spread = sorted[sorted.len() * 98 / 100] - sorted[sorted.len() * 2 / 100];
            assert!(spread > 0.35, "index {index}: 2nd to 98th percentile span {spread}");
        }
    }

    #[test]
    fn joint_landmarks_lie_in_dark_gaps() {
        // The gap is darker than the base of the phalanx beyond it, on average over many hands. Asked of the two
        // MCP joints whose phalanx has a landmark at its other end too: [index, middle].
        for (mcp, pip) in [(6, 10), (7, 11)] {
            let mut contrast = 0.0;
            for index in 0..30 {
                let phantom = phantom(9, index, W, H);
                let (gap, next) = (phantom.points[mcp], phantom.points[pip]);
                let length = distance(gap, next);
                let base = [0, 1].map(|axis| gap[axis] + 4.0 * (next[axis] - gap[axis]) / length);
                contrast += (patch_mean(&phantom, base, 1) - patch_mean(&phantom, gap, 0)) / 30.0;
            }
            assert!(contrast > 0.03, "{}: mean contrast {contrast}", LANDMARKS[mcp]);
        }
    }

    #[test]
    fn seeds_and_indexes_give_different_phantoms() {
        let first = phantom(0, 1, W, H);
        for other in [phantom(1, 1, W, H), phantom(0, 2, W, H)] {
            assert!(mean_distance(&first, &other) > 0.5);
            assert_ne!(first.pixels, other.pixels);
        }
    }
}
