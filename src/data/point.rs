//! Points in images.

/// `[x, y]` in pixels of an image, x to the right and y down, pixel centres at integers.
pub type Point = [f64; 2];

/// Carries `p` from an image of size `from` to the same image at size `to`, both `(width, height)`.
///
/// Pixel centres are at integers, so edges, not centres, coincide: `x' = (x + 0.5) * to / from - 0.5`.
pub fn scale_point(p: Point, from: (f64, f64), to: (f64, f64)) -> Point {
    [(p[0] + 0.5) * (to.0 / from.0) - 0.5, (p[1] + 0.5) * (to.1 / from.1) - 0.5]
}

/// Euclidean distance.
pub fn distance(p: Point, q: Point) -> f64 {
    (p[0] - q[0]).hypot(p[1] - q[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_keeps_edges_and_inverts() {
        assert_eq!(scale_point([-0.5, 9.5], (10.0, 10.0), (4.0, 20.0)), [-0.5, 19.5]);
        let p = scale_point(scale_point([3.0, 7.25], (10.0, 10.0), (7.0, 3.0)), (7.0, 3.0), (10.0, 10.0));
        assert!((p[0] - 3.0).abs() < 1e-12 && (p[1] - 7.25).abs() < 1e-12);
    }
}
