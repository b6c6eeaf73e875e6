//! A statistical shape model (after Cootes et al. 1995) that is learned from pseudo-labels, outliers and all, and says how far a
//! landmark is to be trusted beside the others.
//!
//! Shapes are aligned by similarities to the template's frame and centred on their mean: `v`, two numbers a landmark. What is
//! seen is `v = x + e`, with `x ~ N(0, S)` the shape and `e ~ N(0, noise^2 / w)` the error of each landmark, so
//!
//! ```text
//! E[x | v] = S (S + noise^2 diag(1 / w))^-1 v
//! ```
//!
//! A landmark's weight `w` falls with its residual `r` as `1 / (1 + (r / 4u)^2)^2` (Geman and McClure 1985), first about the mean
//! shape, then about `x`; `u` is the noise, or what is usual where that is more: of shapes to learn from the landmark's median
//! residual, of a shape to settle first what the landmark varies by. `S` is the covariance of shapes in which doubted landmarks are
//! filled in from the others. No truth is read: only that most landmarks of most images are right.
//!
//! To what shapes were seen to vary by, `S` adds a smooth deformation (a Gaussian process, `SMOOTH`): a jaw that opens farther
//! than any that was seen takes its landmarks with it, which are not wrong; one that goes its way alone is.

use super::augment::Point;
use super::shape::Similarity;
use crate::data::point::distance;
use serde::{Deserialize, Serialize};

/// Settings of the shape model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ShapeConfig {
    /// Standard deviation of a good label's error, as a share of the template's longer side, such as 0.006; 0 goes without a
    /// shape model.
    pub noise: f64,
}

impl Default for ShapeConfig {
    fn default() -> Self {
        Self { noise: 0.006 }
    }
}

/// Residual, in usual ones (see the [module](self)), at which a landmark's say in the shape is quartered.
pub(crate) const OUTLIER: f64 = 4.0;
/// Residual, in noises, at which a point is half believed; nearer, it soon is wholly (by the fourth power).
pub(crate) const DOUBT: f64 = 5.0;
/// How far a point that agrees moves towards what the shape of all says, were the covariance not estimated from few shapes.
const LEAN: f64 = 1.0 / 3.0;
/// Standard deviation of the smooth deformation that every shape may have, in `noise`.
const SMOOTH: f64 = 2.0;
/// How far it reaches, in root mean square distances of the mean shape's landmarks from their middle.
const REACH: f64 = 1.5;
/// Rounds of reweighting.
pub(crate) const ROUNDS: usize = 8;
/// The least weight: keeps the system of equations regular.
pub(crate) const LEAST: f64 = 1e-3;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq)]
pub struct ShapeModel {
    /// The mean shape, in a frame of the template's pixels.
    pub mean: Vec<Point>,
    /// `S`, smooth deformation and all, row after row: `2 K x 2 K`, x before y.
    pub covariance: Vec<f64>,
    /// Standard deviation of a good label's error, pixels of the frame.
    pub noise: f64,
    /// How far each landmark is from where all others put it, root mean square, pixels of the frame: what of `S` they do not explain.
    pub apart: Vec<f64>,
    /// How much of a point that agrees is its own, in [0, 1]; the rest is what the shape of all says.
    pub own: f64,
}

/// What a shape model makes of the points of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The points, moved towards what the shape of all says: by a little, and by how much it contradicts.
    pub points: Vec<Point>,
    /// What the shape of all says.
    pub expected: Vec<Point>,
    /// How far a point is believed: 1 where it agrees, near 0 where it contradicts.
    pub trust: Vec<f64>,
    /// How far each point that was given may be off by what the others say, root mean square, in `noise`: as far as it is from where
    /// they put it, and as far as they may be wrong. In the frame, so that the size of the shape does not matter.
    pub deviation: Vec<f64>,
}

impl ShapeModel {
    /// Of what was learned from so many shapes before. Where the covariance is none, `apart` holds what is not a number.
    pub fn new(mean: Vec<Point>, covariance: Vec<f64>, noise: f64, shapes: usize) -> Self {
        let n = 2 * mean.len();
        let mut factor = covariance.clone();
        (0..n).for_each(|i| factor[i * (n + 1)] += noise * noise);
        cholesky(&mut factor, n);
        let inverse = |i: usize| substitute(&factor, (0..n).map(|j| f64::from(u8::from(i == j))).collect());
        // What the others leave open of a landmark, its own error on top, is the inverse of its block of the inverse.
        let left_open = |i: usize| {
            let (x, y) = (inverse(i), inverse(i + 1));
            (x[i] + y[i + 1]) / (x[i] * y[i + 1] - x[i + 1] * y[i]) - 2.0 * noise * noise
        };
        // Not `max`, which would make a 0 of what is not a number.
        let apart = (0..n).step_by(2).map(left_open).map(|v| if v < 0.0 { 0.0 } else { v.sqrt() }).collect();
        // The inverse of a covariance of n numbers a shape is too large, on average, by the inverse of this (Hartlap et al. 2007).
        let certain = (shapes as f64 - n as f64 - 2.0) / (shapes as f64 - 1.0);
        Self { mean, covariance, noise, apart, own: 1.0 - LEAN * certain.max(0.0) }
    }

    /// Learns from `shapes[image][landmark]` with weights in [0, 1]; `template` is the annotated shape, whose pixels become the
    /// frame, and `noise` is in its pixels. Images may differ in size.
    pub fn learn(template: &[Point], shapes: &[Vec<Point>], weights: &[Vec<f64>], noise: f64) -> Self {
        let (k, n) = (template.len(), shapes.len());
        let (covariance, apart) = (vec![0.0; 4 * k * k], Vec::new());
        let mut model = Self { mean: template.to_vec(), covariance, noise, apart, own: 1.0 };
        let mut current = weights.to_vec();
        let mut seen = vec![vec![0.0; 2 * k]; n];
        let mut hidden = seen.clone();
        for round in 0..=ROUNDS {
            let aligned: Vec<Vec<Point>> = shapes
                .iter()
                .zip(&current)
                .map(|(shape, weights)| {
                    let fit = Similarity::fit(shape, &model.mean, weights);
                    shape.iter().map(|&p| fit.apply(p)).collect()
                })
                .collect();
            for landmark in 0..k {
                let total: f64 = current.iter().map(|w| w[landmark]).sum::<f64>().max(LEAST);
                model.mean[landmark] = [0, 1].map(|axis| {
                    let weighted = aligned.iter().zip(&current).map(|(p, w)| w[landmark] * p[landmark][axis]);
                    weighted.sum::<f64>() / total
                });
            }
            // Fits of shapes that vary are smaller than what they are fitted to: the mean keeps the template's size.
            let (middle, size) = (centre(&model.mean), radius(&model.mean));
            let grow = if size > 1e-9 { radius(template) / size } else { 1.0 };
            for p in &mut model.mean {
                *p = [0, 1].map(|axis| middle[axis] + grow * (p[axis] - middle[axis]));
            }
            for (seen, aligned) in seen.iter_mut().zip(&aligned) {
                *seen = model.centred(aligned);
            }
            // At first every shape is taken for the mean: what is far from that must not be mistaken for a way to vary.
            if round > 0 {
                model.covariance.fill(0.0);
                for ((seen, hidden), weights) in seen.iter().zip(&hidden).zip(&current) {
                    let filled: Vec<f64> =
                        (0..2 * k).map(|i| hidden[i] + weights[i / 2].max(LEAST) * (seen[i] - hidden[i])).collect();
                    for (row, &a) in model.covariance.chunks_exact_mut(2 * k).zip(&filled) {
                        row.iter_mut().zip(&filled).for_each(|(s, &b)| *s += a * b / n as f64);
                    }
                }
                for ((hidden, seen), weights) in hidden.iter_mut().zip(&seen).zip(&current) {
                    *hidden = model.posterior(seen, weights);
                }
            }
            for landmark in 0..k {
                let residuals: Vec<f64> =
                    seen.iter().zip(&hidden).map(|(seen, hidden)| residual(seen, hidden, landmark)).collect();
                let mut sorted = residuals.clone();
                sorted.sort_by(f64::total_cmp);
                // About the mean, what a landmark varies by is no fault of a shape; nor later that it is found badly in all.
                let usual = sorted.get(n / 2).copied().unwrap_or(0.0).max(noise);
                for ((current, weights), r) in current.iter_mut().zip(weights).zip(&residuals) {
                    current[landmark] = weights[landmark] * say(r / usual);
                }
            }
        }
        model.smooth();
        Self::new(model.mean, model.covariance, noise, n)
    }

    /// Lets neighbours move together.
    fn smooth(&mut self) {
        let (variance, reach) = ((SMOOTH * self.noise).powi(2), (REACH * radius(&self.mean)).max(self.noise));
        for (row, p) in self.covariance.chunks_exact_mut(4 * self.mean.len()).zip(&self.mean) {
            let (of_x, of_y) = row.split_at_mut(2 * self.mean.len());
            for (l, &q) in self.mean.iter().enumerate() {
                let shared = variance * (-0.5 * (distance(*p, q) / reach).powi(2)).exp();
                of_x[2 * l] += shared;
                of_y[2 * l + 1] += shared;
            }
        }
    }

    /// Weighs the points of an image, each with a weight in [0, 1], against each other.
    pub fn settle(&self, points: &[Point], weights: &[f64]) -> Settled {
        let k = points.len();
        let mut current = weights.to_vec();
        let mut fit = Similarity::fit(points, &self.mean, &current);
        let align = |fit: &Similarity| self.centred(&points.iter().map(|&p| fit.apply(p)).collect::<Vec<_>>());
        let mut seen = align(&fit);
        let mut hidden = vec![0.0; 2 * k];
        for round in 0..=ROUNDS {
            for landmark in 0..k {
                let usual = if round == 0 { self.variation(landmark) } else { self.noise };
                current[landmark] = weights[landmark] * say(residual(&seen, &hidden, landmark) / usual);
            }
            fit = Similarity::fit(points, &self.mean, &current);
            seen = align(&fit);
            hidden = self.posterior(&seen, &current);
        }
        let back = fit.inverse();
        let place = |k: usize, v: [f64; 2]| back.apply([self.mean[k][0] + v[0], self.mean[k][1] + v[1]]);
        let residuals: Vec<f64> = (0..k).map(|k| residual(&seen, &hidden, k)).collect();
        let trust: Vec<f64> = residuals.iter().map(|r| trust(r / self.noise)).collect();
        let blend = |k: usize, axis: usize| {
            let own = self.own * trust[k];
            own * seen[2 * k + axis] + (1.0 - own) * hidden[2 * k + axis]
        };
        Settled {
            points: (0..k).map(|k| place(k, [blend(k, 0), blend(k, 1)])).collect(),
            expected: (0..k).map(|k| place(k, [hidden[2 * k], hidden[2 * k + 1]])).collect(),
            trust,
            deviation: residuals.iter().zip(&self.apart).map(|(r, apart)| r.hypot(*apart) / self.noise).collect(),
        }
    }

    /// How far a landmark usually is from its mean, pixels of the frame.
    pub(crate) fn variation(&self, landmark: usize) -> f64 {
        let variance = |i: usize| self.covariance[i * (2 * self.mean.len() + 1)].max(0.0);
        (variance(2 * landmark) + variance(2 * landmark + 1) + self.noise.powi(2)).sqrt()
    }

    fn centred(&self, aligned: &[Point]) -> Vec<f64> {
        aligned.iter().zip(&self.mean).flat_map(|(p, m)| [p[0] - m[0], p[1] - m[1]]).collect()
    }

    /// `E[x | v]`.
    fn posterior(&self, seen: &[f64], weights: &[f64]) -> Vec<f64> {
        let n = seen.len();
        let mut system = self.covariance.clone();
        for i in 0..n {
            system[i * n + i] += self.noise * self.noise / weights[i / 2].max(LEAST);
        }
        cholesky(&mut system, n);
        substitute(&system, seen.to_vec())
            .chunks_exact(2)
            .zip(seen.chunks_exact(2))
            .zip(weights)
            .flat_map(|((y, v), w)| {
                // S (S + D)^-1 v = v - D (S + D)^-1 v.
                let d = self.noise * self.noise / w.max(LEAST);
                [v[0] - d * y[0], v[1] - d * y[1]]
            })
            .collect()
    }
}

/// The say in the shape of a landmark whose residual is `r` usual ones.
fn say(r: f64) -> f64 {
    (1.0 / (1.0 + (r / OUTLIER).powi(2))).powi(2)
}

/// How far a point whose residual is `r` noises is believed.
fn trust(r: f64) -> f64 {
    1.0 / (1.0 + (r / DOUBT).powi(4))
}

fn centre(points: &[Point]) -> Point {
    [0, 1].map(|axis| points.iter().map(|p| p[axis]).sum::<f64>() / points.len() as f64)
}

/// Root mean square distance of points from their middle.
fn radius(points: &[Point]) -> f64 {
    let middle = centre(points);
    (points.iter().map(|&p| distance(p, middle).powi(2)).sum::<f64>() / points.len() as f64).sqrt()
}

fn residual(seen: &[f64], hidden: &[f64], landmark: usize) -> f64 {
    let at = |v: &[f64]| [v[2 * landmark], v[2 * landmark + 1]];
    distance(at(seen), at(hidden))
}

/// Replaces the lower triangle of a symmetric positive definite `a: [n, n]` by its Cholesky factor.
fn cholesky(a: &mut [f64], n: usize) {
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|l| a[i * n + l] * a[j * n + l]).sum();
            let rest = a[i * n + j] - dot;
            a[i * n + j] = if i == j { rest.sqrt() } else { rest / a[j * n + j] };
        }
    }
}

/// Solves `a y = b` with the Cholesky factor of `a`.
fn substitute(factor: &[f64], mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for i in 0..n {
        let dot: f64 = (0..i).map(|l| factor[i * n + l] * b[l]).sum();
        b[i] = (b[i] - dot) / factor[i * n + i];
    }
    for i in (0..n).rev() {
        let dot: f64 = (i + 1..n).map(|l| factor[l * n + i] * b[l]).sum();
        b[i] = (b[i] - dot) / factor[i * n + i];
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    /// Shapes with one mode of variation, in random poses; one landmark in eight far off.
    fn shapes(n: usize) -> (Vec<Vec<Point>>, Vec<Vec<Point>>) {
        let mut random = Stream::new(7, &[1]);
        let mut truth = Vec::new();
        let mut seen = Vec::new();
        for i in 0..n {
            let mode = random.range(-6.0, 6.0);
            let pose = Similarity { a: random.range(0.8, 1.2), b: random.range(-0.2, 0.2), t: [5.0, i as f64] };
            let point = |k: usize| {
                let (x, y) = ((k % 4) as f64 * 30.0, (k / 4) as f64 * 50.0);
                pose.apply([x + mode * (k as f64 * 0.7).sin(), y + mode * (k as f64 * 1.3).cos()])
            };
            let shape: Vec<Point> = (0..8).map(point).collect();
            let mut noisy: Vec<Point> = shape.iter().map(|p| p.map(|v| v + random.range(-2.0, 2.0))).collect();
            if i > 0 {
                let k = random.index(8);
                let (far, angle) = (random.range(20.0, 35.0), random.range(0.0, std::f64::consts::TAU));
                noisy[k] = [noisy[k][0] + far * angle.cos(), noisy[k][1] + far * angle.sin()];
            }
            truth.push(shape);
            seen.push(noisy);
        }
        (truth, seen)
    }

    fn worst(a: &[Vec<Point>], b: &[Vec<Point>]) -> f64 {
        a.iter().flatten().zip(b.iter().flatten()).map(|(&p, &q)| distance(p, q)).fold(0.0, f64::max)
    }

    #[test]
    fn the_mean_keeps_the_size_of_the_template() {
        let mut random = Stream::new(3, &[2]);
        let template: Vec<Point> = (0..8).map(|k| [f64::from(k % 3) * 40.0, f64::from(k / 3) * 50.0]).collect();
        let mut vary = |p: &Point| p.map(|v| v + random.range(-25.0, 25.0));
        let shapes: Vec<Vec<Point>> = (0..60).map(|_| template.iter().map(&mut vary).collect()).collect();
        let model = ShapeModel::learn(&template, &shapes, &vec![vec![1.0; 8]; 60], 2.0);
        assert!((radius(&model.mean) / radius(&template) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn outliers_are_pulled_to_where_the_others_put_them() {
        let (truth, seen) = shapes(60);
        let weights = vec![vec![1.0; 8]; 60];
        let model = ShapeModel::learn(&seen[0], &seen, &weights, 2.0);
        let settled: Vec<Settled> = seen.iter().zip(&weights).map(|(s, w)| model.settle(s, w)).collect();
        let points: Vec<Vec<Point>> = settled.iter().map(|s| s.points.clone()).collect();
        assert!(worst(&seen, &truth) > 20.0);
        assert!(worst(&points, &truth) < 8.0, "{}", worst(&points, &truth));
        let trusted = settled.iter().flat_map(|s| &s.trust).filter(|&&t| t > 0.5).count();
        assert!(trusted > 60 * 7 * 9 / 10);
    }

    #[test]
    fn what_agrees_leans_on_the_shape_and_not_on_one_of_few() {
        let own = |shapes: usize| ShapeModel::new(vec![[0.0; 2]; 2], vec![0.0; 16], 1.0, shapes).own;
        assert_eq!([1, 2, 6].map(own), [1.0; 3]);
        assert!((own(8) - (1.0 - LEAN * 2.0 / 7.0)).abs() < 1e-12 && (own(1_000_000) - 1.0 + LEAN).abs() < 1e-4);

        let (truth, seen) = shapes(60);
        let model = ShapeModel::learn(&seen[0], &seen, &vec![vec![1.0; 8]; 60], 2.0);
        let off = |points: &[Point], truth: &[Point], trust: &[f64]| -> f64 {
            let near = points.iter().zip(truth).zip(trust).filter(|(_, trust)| **trust > 0.9);
            near.map(|((&p, &q), _)| distance(p, q)).sum()
        };
        let (mut before, mut after) = (0.0, 0.0);
        for (seen, truth) in seen.iter().zip(&truth) {
            let settled = model.settle(seen, &[1.0; 8]);
            before += off(seen, truth, &settled.trust);
            after += off(&settled.points, truth, &settled.trust);
        }
        assert!(after < 0.97 * before, "{after} of {before}");
    }

    #[test]
    fn neighbours_that_move_together_are_believed() {
        let (_, seen) = shapes(60);
        let weights = vec![vec![1.0; 8]; 60];
        let model = ShapeModel::learn(&seen[0], &seen, &weights, 2.0);
        // As a jaw opens: a row of landmarks, farther than any was seen to.
        let mut opened = seen[0].clone();
        opened[4..].iter_mut().for_each(|p| p[1] += 20.0);
        let settled = model.settle(&opened, &weights[0]);
        assert!(settled.trust.iter().all(|&t| t > 0.8), "{:?}", settled.trust);
        // One alone is not.
        let mut apart = seen[0].clone();
        apart[5][1] += 20.0;
        assert!(model.settle(&apart, &weights[0]).trust[5] < 0.2);
    }

    #[test]
    fn apart_is_what_the_others_do_not_explain() {
        let apart = |shared: f64| {
            let covariance = |i: usize, j: usize| match (i == j, i % 2 == j % 2) {
                (true, _) => 4.0,
                (false, true) => shared,
                _ => 0.0,
            };
            let covariance = (0..36).map(|at| covariance(at / 6, at % 6)).collect();
            ShapeModel::new(vec![[0.0; 2]; 3], covariance, 1.0, 100).apart[1]
        };
        // Alone: the variances of x and y. With two others of covariance 3, seen with an error of 1: 4 - [3 3] [5 3; 3 5]^-1 [3; 3] each.
        assert!((apart(0.0).powi(2) - 8.0).abs() < 1e-9);
        assert!((apart(3.0).powi(2) - 2.0 * (4.0 - 18.0 / 8.0)).abs() < 1e-9);
    }

    #[test]
    fn deviations_grow_with_contradiction_and_not_with_the_image() {
        let (truth, seen) = shapes(60);
        let weights = vec![vec![1.0; 8]; 60];
        let model = ShapeModel::learn(&seen[0], &seen, &weights, 2.0);
        let deviation = |shape: &[Point]| model.settle(shape, &weights[0]).deviation;
        let plain = deviation(&truth[3]);
        for scale in [0.01, 2.0] {
            let scaled: Vec<Point> = truth[3].iter().map(|p| p.map(|v| scale * v)).collect();
            let same = deviation(&scaled).iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(same, "{scale}");
        }
        let mut wrong = truth[3].clone();
        wrong[5][0] += 30.0;
        assert!(deviation(&wrong)[5] > 2.0 * plain[5]);
        // A heap of points is no shape, however small.
        let heap: Vec<Point> = (0..8).map(|k| [f64::from(k * 5 % 8) / 8.0, f64::from(k * 3 % 8) / 8.0]).collect();
        let mean = |v: &[f64]| v.iter().sum::<f64>() / 8.0;
        assert!(mean(&deviation(&heap)) > 3.0 * mean(&plain));
    }

    #[test]
    fn few_landmarks_have_no_shape_and_stay_where_they_are() {
        for k in [1, 2] {
            let shapes: Vec<Vec<Point>> =
                (0..5).map(|i| (0..k).map(|j| [f64::from(i * 3 + j * 40), f64::from(i)]).collect()).collect();
            let weights = vec![vec![0.5; k as usize]; 5];
            let model = ShapeModel::learn(&shapes[0], &shapes, &weights, 1.0);
            let settled = model.settle(&shapes[3], &weights[3]);
            assert!(settled.points.iter().zip(&shapes[3]).all(|(&p, &q)| distance(p, q) < 1e-9));
            assert!(settled.trust.iter().all(|&t| t > 0.999));
        }
    }

    #[test]
    fn solves_a_small_system() {
        let mut system = [4.0, 2.0, 2.0, 3.0];
        cholesky(&mut system, 2);
        let y = substitute(&system, vec![10.0, 9.0]);
        assert!((y[0] - 1.5).abs() < 1e-12 && (y[1] - 2.0).abs() < 1e-12);
    }
}
