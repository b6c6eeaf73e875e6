//! Whether scores can be trusted: how many points of a score are right, and how much better the trusted ones are.

use super::ErrorGrid;
use crate::detect::TOLERANCE;
use serde::Serialize;

/// How many of the points count as the trusted ones.
const TRUSTED: f64 = 0.8;
/// Groups of points of like score.
const GROUPS: usize = 8;

/// Scores beside errors. A point is right if it is within [`TOLERANCE`] of the truth, as [`crate::detect::Landmark::score`] says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reliability {
    /// Points with a score.
    pub n: usize,
    /// Their mean radial error, in the unit of [`Options::spacing`](super::Options::spacing).
    pub mre: f64,
    /// That of the 80 % with the highest scores, in the same unit.
    pub trusted_mre: f64,
    /// The least score among these.
    pub trusted_from: f64,
    /// Mean distance of a group's mean score from its share of right points.
    pub calibration_error: f64,
    /// Eight groups of as many points each, of rising score.
    pub groups: Vec<Group>,
}

/// Points of like score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Group {
    /// Points.
    pub n: usize,
    /// Their mean score.
    pub score: f64,
    /// How many of them are right, from 0 to 1.
    pub right: f64,
}

impl Reliability {
    /// Of all points that have an error and a score; none if there are none.
    pub fn of(grid: &ErrorGrid) -> Option<Self> {
        let mut points: Vec<(f64, f64, bool)> = Vec::new();
        for ((r, scores), side) in grid.r.iter().zip(&grid.scores).zip(&grid.sides) {
            let known = r.iter().zip(scores).filter_map(|(r, score)| r.zip(*score));
            points.extend(known.map(|(r, score)| (score, r, r <= TOLERANCE * side)));
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let n = points.len();
        let mean = |points: &[(f64, f64, bool)]| points.iter().map(|p| p.1).sum::<f64>() / points.len() as f64;
        let trusted = &points[n - (TRUSTED * n as f64).round() as usize..];
        let count = GROUPS.min(n);
        let groups: Vec<Group> = (0..count)
            .map(|g| {
                let own = &points[g * n / count..(g + 1) * n / count];
                let n = own.len() as f64;
                let (score, right) = (own.iter().map(|p| p.0).sum::<f64>(), own.iter().filter(|p| p.2).count() as f64);
                Group { n: own.len(), score: score / n, right: right / n }
            })
            .collect();
        Some(Self {
            n,
            mre: mean(&points),
            trusted_mre: mean(trusted),
            trusted_from: trusted.first()?.0,
            calibration_error: groups.iter().map(|g| (g.score - g.right).abs()).sum::<f64>() / count as f64,
            groups,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(points: &[(f64, f64)]) -> ErrorGrid {
        ErrorGrid {
            images: vec!["a".into()],
            names: vec!["k".into(); points.len()],
            r: vec![points.iter().map(|p| Some(p.1)).collect()],
            scores: vec![points.iter().map(|p| Some(p.0)).collect()],
            sides: vec![1000.0],
            missed: Vec::new(),
            scaled: 0,
        }
    }

    /// With a side of 1000, points within 12 are right.
    #[test]
    fn trusted_points_are_those_of_the_highest_scores() {
        let points: Vec<(f64, f64)> = (1..=10).map(|i| (f64::from(i) / 10.0, f64::from(22 - 2 * i))).collect();
        let found = Reliability::of(&grid(&points)).unwrap();
        assert_eq!((found.n, found.mre, found.trusted_mre, found.trusted_from), (10, 11.0, 9.0, 0.3));
        let right: f64 = found.groups.iter().map(|g| g.right * g.n as f64).sum();
        assert_eq!((found.groups.iter().map(|g| g.n).sum::<usize>(), right), (10, 6.0));
    }

    #[test]
    fn scores_that_tell_the_share_of_right_points_are_calibrated() {
        let sure = |right: bool| (0.75, if right { 1.0 } else { 50.0 });
        let points: Vec<(f64, f64)> = (0..32).map(|i| sure(i % 4 > 0)).collect();
        assert!(Reliability::of(&grid(&points)).unwrap().calibration_error < 1e-12);
        let boasting: Vec<(f64, f64)> = points.iter().map(|p| (1.0, p.1)).collect();
        assert!((Reliability::of(&grid(&boasting)).unwrap().calibration_error - 0.25).abs() < 1e-12);
    }

    #[test]
    fn without_scores_there_is_nothing_to_tell() {
        let mut grid = grid(&[(0.5, 1.0)]);
        grid.scores = vec![vec![None]];
        assert_eq!(Reliability::of(&grid), None);
    }
}
