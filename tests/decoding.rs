//! What the decoding of heatmaps promises: positions between pixels, and none that jumps where two pixels tie.

mod common;

use common::apply;
use onemark::kernel::soft_argmax::SoftArgmax;
use onemark::kernel::{Op, Shape};

const SIDE: usize = 24;

/// Position of the peak of the logits `of(x, y)`.
fn decoded(of: impl Fn(f64, f64) -> f64) -> [f64; 2] {
    let logits = (0..SIDE * SIDE).map(|i| of((i % SIDE) as f64, (i / SIDE) as f64)).collect();
    let shape = Shape { k: 1, n: 1, h: SIDE, w: SIDE, c: 1 };
    let found = &apply::<f32>(&Op::SoftArgmax(SoftArgmax { radius: 2 }), &[shape], &[logits])[0];
    [0, 1].map(|i| f64::from(found[i]))
}

/// Logits of a Gaussian about a point, in pixels; its tail to the right is `skew` times as long.
fn bump(at: [f64; 2], sigma: f64, skew: f64) -> impl Fn(f64, f64) -> f64 {
    move |x, y| {
        let dx = (x - at[0]) / if x > at[0] { skew } else { 1.0 };
        -(dx * dx + (y - at[1]).powi(2)) / (2.0 * sigma * sigma)
    }
}

#[test]
fn a_gaussian_is_found_between_pixels() {
    for sigma in [0.8, 1.2] {
        for offset in [0.0, 0.13, 0.4, 0.5, 0.77] {
            let [x, y] = decoded(bump([11.0 + offset, 9.0 - offset], sigma, 1.0));
            let off = (x - 11.0 - offset).hypot(y - 9.0 + offset);
            assert!(off < 0.02, "sigma {sigma}, offset {offset}: {off} pixels off");
        }
    }
}

#[test]
fn a_rounding_error_between_tied_neighbours_moves_nothing() {
    for skew in [1.0, 1.5] {
        let bump = bump([11.5, 9.5], 1.1, skew);
        let tied = |[px, py]: [usize; 2]| {
            let greater = |x: f64, y: f64| if (x, y) == (px as f64, py as f64) { 1e-6 } else { 0.0 };
            // The four neighbours alike but for the one named.
            decoded(|x, y| bump(x.clamp(11.0, 12.0), y).min(bump(x, y)) + greater(x, y))
        };
        let corners = [[11, 9], [12, 9], [11, 10], [12, 10]].map(tied);
        for [x, y] in corners {
            let off = (x - corners[0][0]).hypot(y - corners[0][1]);
            assert!(off < 0.02, "skew {skew}: {corners:?}");
        }
    }
}
