//! The arrangement of landmarks: similarity transforms between point sets.

use crate::data::point::{Point, distance};

/// A similarity transform `p -> [a -b; b a] p + t`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    /// Scale times cosine.
    pub a: f64,
    /// Scale times sine.
    pub b: f64,
    /// Translation.
    pub t: Point,
}

impl Similarity {
    /// The transform of a point.
    pub fn apply(&self, [x, y]: Point) -> Point {
        [self.a * x - self.b * y + self.t[0], self.b * x + self.a * y + self.t[1]]
    }

    /// The transform back; of a transform that shrinks all to one point, the identity about it.
    pub fn inverse(&self) -> Self {
        let square = self.a * self.a + self.b * self.b;
        let (a, b) = if square > 1e-18 { (self.a / square, -self.b / square) } else { (1.0, 0.0) };
        let [x, y] = self.t;
        Self { a, b, t: [-(a * x - b * y), -(b * x + a * y)] }
    }

    /// The weighted least-squares fit of `from` onto `to` (Umeyama 1991 in two dimensions). Without spread, a translation.
    pub fn fit(from: &[Point], to: &[Point], weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum::<f64>().max(1e-12);
        let mean =
            |points: &[Point], axis: usize| points.iter().zip(weights).map(|(p, w)| w * p[axis]).sum::<f64>() / total;
        let (fx, fy, tx, ty) = (mean(from, 0), mean(from, 1), mean(to, 0), mean(to, 1));
        let (mut dot, mut cross, mut square) = (0.0, 0.0, 0.0);
        for ((p, q), w) in from.iter().zip(to).zip(weights) {
            let (px, py, qx, qy) = (p[0] - fx, p[1] - fy, q[0] - tx, q[1] - ty);
            dot += w * (px * qx + py * qy);
            cross += w * (px * qy - py * qx);
            square += w * (px * px + py * py);
        }
        let (a, b) = if square > 1e-9 { (dot / square, cross / square) } else { (1.0, 0.0) };
        Self { a, b, t: [tx - a * fx + b * fy, ty - b * fx - a * fy] }
    }

    /// A fit that outliers hardly move: ten rounds of reweighting by `1 / (1 + (r / tolerance)^2)`.
    pub fn fit_robust(from: &[Point], to: &[Point], weights: &[f64], tolerance: f64) -> Self {
        let mut current = weights.to_vec();
        let mut fit = Self::fit(from, to, &current);
        for _ in 0..10 {
            for (((current, weight), p), q) in current.iter_mut().zip(weights).zip(from).zip(to) {
                let r = distance(fit.apply(*p), *q) / tolerance;
                *current = weight / (1.0 + r * r);
            }
            fit = Self::fit(from, to, &current);
        }
        fit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_robust_fit_ignores_an_outlier() {
        let truth = Similarity { a: 0.9, b: 0.2, t: [5.0, -3.0] };
        let from: Vec<Point> = (0..8).map(|i| [f64::from(i * i), f64::from(10 * i % 7)]).collect();
        let mut to: Vec<Point> = from.iter().map(|&p| truth.apply(p)).collect();
        let exact = Similarity::fit(&from, &to, &[1.0; 8]);
        assert!((exact.a - truth.a).abs() < 1e-12 && (exact.t[1] - truth.t[1]).abs() < 1e-9);
        to[3] = [500.0, 500.0];
        let robust = Similarity::fit_robust(&from, &to, &[1.0; 8], 1.0);
        assert!(distance(robust.apply(from[6]), to[6]) < 0.5);
    }
}
