//! The seesaw: does one landmark's gain come with another's loss while what they share is trained?

use serde::Serialize;
use std::ops::Range;

/// A stage's training at checkpoints.
#[derive(Clone, Debug, Default)]
pub struct Seesaw {
    /// The method that the stage trains, `joint` or `fused`.
    pub stage: String,
    /// The step from which on what landmarks share is frozen, if it is.
    pub frozen: Option<f64>,
    /// The checkpoints' steps.
    pub steps: Vec<f64>,
    /// Mean error, `[checkpoint][landmark]`, in the report's unit.
    pub errors: Vec<Vec<f64>>,
    /// Final error of this stage minus that of the single models, one a landmark; positive: the single model is better.
    pub delta: Vec<f64>,
}

/// What landmarks did to each other between the checkpoints of a phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Phase {
    /// The method that the stage trains.
    pub stage: String,
    /// Whether what landmarks share was frozen.
    pub frozen: bool,
    /// Intervals between checkpoints.
    pub intervals: usize,
    /// Pairs of landmarks, over all intervals.
    pub pairs: usize,
    /// Those of them of which one landmark gained while the other lost.
    pub opposed: usize,
    /// How many would be by chance: the mean over all orders of each landmark's changes by itself.
    pub chance: f64,
    /// Mean over pairs of landmarks of the correlation of their errors' changes; NaN (`null` in JSON) for fewer than three intervals.
    pub correlation: f64,
    /// Share of those pairs whose correlation is negative; NaN likewise.
    pub negative: f64,
    /// Landmarks whose error is larger at the end of the phase than at its start.
    pub worse: usize,
    /// Landmarks with an error at both.
    pub landmarks: usize,
}

impl Seesaw {
    /// Changes of error from each checkpoint to the next, `[landmark][interval]`; NaN where an end is missing.
    pub fn changes(&self) -> Vec<Vec<f64>> {
        let landmarks = self.errors.iter().map(Vec::len).max().unwrap_or(0);
        (0..landmarks)
            .map(|k| (1..self.errors.len()).map(|t| self.error(t, k) - self.error(t - 1, k)).collect())
            .collect()
    }

    fn error(&self, at: usize, k: usize) -> f64 {
        self.errors.get(at).and_then(|errors| errors.get(k)).copied().unwrap_or(f64::NAN)
    }

    /// For each interval between checkpoints: (landmark pairs of which one gained while the other lost, all pairs).
    pub fn opposed_pairs(&self) -> Vec<(usize, usize)> {
        let changes = self.changes();
        let opposed = |t: usize| {
            let count = |of: fn(f64) -> bool| changes.iter().filter(|c| of(c[t])).count();
            let n = count(f64::is_finite);
            (count(|v| v.is_finite() && v < 0.) * count(|v| v.is_finite() && v > 0.), n * n.saturating_sub(1) / 2)
        };
        (0..self.errors.len().saturating_sub(1)).map(opposed).collect()
    }

    /// The intervals while what landmarks share was trained, and those while it was frozen, where there are any. An interval in
    /// which it was frozen part of the way belongs to the first.
    pub fn phases(&self) -> Vec<Phase> {
        let intervals = self.errors.len().saturating_sub(1);
        let frozen = |t: &usize| self.frozen.zip(self.steps.get(*t)).is_some_and(|(from, step)| *step >= from);
        let split = (0..intervals).find(frozen).unwrap_or(intervals);
        let phase = |(frozen, of): (bool, Range<usize>)| (!of.is_empty()).then(|| self.phase(frozen, of));
        [(false, 0..split), (true, split..intervals)].into_iter().filter_map(phase).collect()
    }

    fn phase(&self, frozen: bool, of: Range<usize>) -> Phase {
        let changes: Vec<Vec<f64>> = self.changes().into_iter().map(|c| c[of.clone()].to_vec()).collect();
        let (opposed, all) = self.opposed_pairs()[of.clone()].iter().fold((0, 0), |(a, b), (o, n)| (a + o, b + n));
        let pairs = || changes.iter().enumerate().flat_map(|(k, a)| changes[k + 1..].iter().map(move |b| (a, b)));
        let correlations: Vec<f64> = pairs().map(|(a, b)| correlation(a, b)).filter(|r| r.is_finite()).collect();
        let share = |n: usize| n as f64 / correlations.len() as f64;
        let whole: Vec<f64> = (0..changes.len()).map(|k| self.error(of.end, k) - self.error(of.start, k)).collect();
        Phase {
            stage: self.stage.clone(),
            frozen,
            intervals: of.len(),
            pairs: all,
            opposed,
            chance: pairs().map(|(a, b)| opposed_by_chance(a, b)).sum(),
            correlation: correlations.iter().sum::<f64>() / correlations.len() as f64,
            negative: share(correlations.iter().filter(|&&r| r < 0.).count()),
            worse: whole.iter().filter(|&&change| change > 0.).count(),
            landmarks: whole.iter().filter(|change| change.is_finite()).count(),
        }
    }
}

/// How many changes of two landmarks are opposed, on average over all orders of each one's changes, of those that both have.
fn opposed_by_chance(a: &[f64], b: &[f64]) -> f64 {
    let share = |of: &[f64], is: fn(f64) -> bool| {
        let known = of.iter().filter(|v| v.is_finite());
        known.clone().filter(|v| is(**v)).count() as f64 / known.count().max(1) as f64
    };
    let [gains, losses]: [fn(f64) -> bool; 2] = [|v| v < 0.0, |v| v > 0.0];
    let both = a.iter().zip(b).filter(|(a, b)| (*a + *b).is_finite()).count() as f64;
    both * (share(a, gains) * share(b, losses) + share(a, losses) * share(b, gains))
}

/// Pearson's, of at least three pairs of numbers that are there and vary; else NaN.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let pairs: Vec<(f64, f64)> =
        a.iter().copied().zip(b.iter().copied()).filter(|(a, b)| (a + b).is_finite()).collect();
    if pairs.len() < 3 {
        return f64::NAN;
    }
    let n = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|p| of(p.0 - x, p.1 - y)).sum::<f64>();
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opposed_pairs_are_gains_times_losses() {
        let seesaw = Seesaw {
            errors: vec![vec![1.; 4], vec![0.5, 0.5, 2., 1.], vec![0.4, 0.4, 1., f64::NAN]],
            ..Seesaw::default()
        };
        assert_eq!(seesaw.opposed_pairs(), [(2, 6), (0, 3)]);
    }

    #[test]
    fn chance_leaves_out_what_is_missing_and_counts_what_stays() {
        let none = f64::NAN;
        assert_eq!(opposed_by_chance(&[-1., none, none, 1.], &[1., none, none, -1.]), 1.0);
        assert_eq!(opposed_by_chance(&[-1., 1., 0., 0.], &[1., 1., 1., 1.]), 1.0);
        assert_eq!(opposed_by_chance(&[none, none], &[1., -1.]), 0.0);
    }

    #[test]
    fn phases_part_where_all_of_an_interval_is_frozen() {
        // The first two landmarks move together, the third against them; frozen, all gain.
        let errors = vec![vec![3., 3., 1.], vec![2., 2., 2.], vec![3., 3., 1.], vec![2., 2., 2.], vec![1., 1., 1.]];
        let steps = vec![10., 20., 30., 40., 50.];
        let seesaw = Seesaw { stage: "fused".into(), frozen: Some(35.), steps, errors, ..Seesaw::default() };
        let phases = seesaw.phases();
        let [free, frozen] = &phases[..] else { panic!("{phases:?}") };
        assert_eq!((free.frozen, free.intervals, free.opposed, free.pairs), (false, 3, 6, 9));
        // Gains and losses 2:1, 2:1, 1:2: of three intervals 4/3, 5/3 and 5/3.
        assert!((free.chance - 14.0 / 3.0).abs() < 1e-9 && frozen.chance == 0.0, "{free:?}");
        assert!((free.correlation + 1. / 3.).abs() < 1e-9 && (free.negative - 2. / 3.).abs() < 1e-9, "{free:?}");
        assert_eq!((free.worse, free.landmarks), (1, 3));
        assert_eq!((frozen.frozen, frozen.intervals, frozen.opposed, frozen.worse), (true, 1, 0, 0));
        assert!(frozen.correlation.is_nan());
        let joint = Seesaw { frozen: None, ..seesaw.clone() };
        assert_eq!(joint.phases().len(), 1);
        assert!(Seesaw::default().phases().is_empty());
        assert!(serde_json::to_string(frozen).unwrap().contains(r#""correlation":null"#));
    }
}
