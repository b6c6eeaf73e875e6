//! Figures of a set of radial errors, and their bootstrap intervals.
//!
//! For errors `r` (the distance of a prediction from the truth, in millimetres or pixels): MRE is the mean radial
//! error, SD the population standard deviation of `r`, and `SDR_t`, the successful detection rate, the per cent of
//! points with `r < t` (Wang et al., MedIA 2016). A missed point has no `r`: it is out of MRE, median and SD, and
//! counts as not detected in every SDR.

use crate::random::{GOLDEN, mix};
use serde::Serialize;

/// The figures of one landmark or of all. JSON has `null` where a figure is NaN or absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// The landmark's name, or `all`.
    pub name: String,
    /// Points that were compared.
    pub n: usize,
    /// Truth points without a prediction.
    pub missed: usize,
    /// Mean radial error; NaN if `n` is 0, as are `median` and `sd`.
    pub mre: f64,
    /// Median radial error.
    pub median: f64,
    /// Population standard deviation of the radial errors.
    pub sd: f64,
    /// Per cent of the `n + missed` points with an error under each threshold.
    pub sdr: Vec<f64>,
    /// 95 % interval of `mre`; absent for fewer than two images.
    pub mre_interval: Option<[f64; 2]>,
    /// 95 % interval of each `sdr`, in per cent; empty for fewer than two images.
    pub sdr_interval: Vec<[f64; 2]>,
}

impl Stats {
    /// Per cent of the truth points that have no prediction.
    pub fn miss_rate(&self) -> f64 {
        100.0 * self.missed as f64 / (self.n + self.missed) as f64
    }

    /// The figures of `images`, each the errors of one image's points, with `resamples` bootstrap samples.
    pub(super) fn of(name: &str, images: &[Vec<Option<f64>>], thresholds: &[f64], resamples: usize, seed: u64) -> Self {
        let mut errors: Vec<f64> = images.iter().flatten().flatten().copied().collect();
        errors.sort_by(f64::total_cmp);
        let sums: Vec<Sums> = images.iter().map(|errors| Sums::of(errors, thresholds)).collect();
        let mut total = Sums::of(&[], thresholds);
        sums.iter().for_each(|sums| total.add(sums));
        let mre = total.mre();
        let sd = (errors.iter().map(|r| (r - mre) * (r - mre)).sum::<f64>() / total.found).sqrt();

        let (mut mres, mut sdrs) = (Vec::new(), vec![Vec::new(); thresholds.len()]);
        for sample in 0..if images.len() < 2 { 0 } else { resamples } {
            let mut total = Sums::of(&[], thresholds);
            (0..sums.len()).for_each(|draw| total.add(&sums[drawn(seed, sample, draw, sums.len())]));
            if total.found > 0.0 {
                mres.push(total.mre());
            }
            if total.points > 0.0 {
                total.sdr().zip(&mut sdrs).for_each(|(sdr, sdrs)| sdrs.push(sdr));
            }
        }
        Self {
            name: name.into(),
            n: errors.len(),
            missed: images.iter().flatten().count() - errors.len(),
            mre,
            median: quantile(&errors, 0.5),
            sd,
            sdr: total.sdr().collect(),
            mre_interval: interval(mres),
            sdr_interval: sdrs.into_iter().filter_map(interval).collect(),
        }
    }
}

/// What the figures of a union of images need of each image.
struct Sums {
    error: f64,
    found: f64,
    points: f64,
    under: Vec<f64>,
}

impl Sums {
    fn of(errors: &[Option<f64>], thresholds: &[f64]) -> Self {
        let found = || errors.iter().flatten();
        Self {
            error: found().sum(),
            found: found().count() as f64,
            points: errors.len() as f64,
            under: thresholds.iter().map(|t| found().filter(|&r| r < t).count() as f64).collect(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.error += other.error;
        self.found += other.found;
        self.points += other.points;
        self.under.iter_mut().zip(&other.under).for_each(|(a, b)| *a += b);
    }

    fn mre(&self) -> f64 {
        self.error / self.found
    }

    fn sdr(&self) -> impl Iterator<Item = f64> {
        self.under.iter().map(|under| 100.0 * under / self.points)
    }
}

/// The image of draw `draw` of bootstrap sample `sample`: splitmix64's sequence, so that landmarks found in the same images meet the same samples and nothing depends on the order of work.
fn drawn(seed: u64, sample: usize, draw: usize, images: usize) -> usize {
    let counter = (sample as u64).wrapping_mul(images as u64).wrapping_add(draw as u64);
    let bits = mix(seed.wrapping_add(counter.wrapping_mul(GOLDEN)));
    ((u128::from(bits) * images as u128) >> 64) as usize
}

/// The central 95 % of `samples` (percentile bootstrap).
fn interval(mut samples: Vec<f64>) -> Option<[f64; 2]> {
    samples.sort_by(f64::total_cmp);
    (!samples.is_empty()).then(|| [quantile(&samples, 0.025), quantile(&samples, 0.975)])
}

/// The `q` quantile of sorted values, linear between order statistics; NaN without values.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * sorted.len().saturating_sub(1) as f64;
    let value = |i: f64| sorted.get(i as usize).copied().unwrap_or(f64::NAN);
    value(at.floor()) * (1.0 - at.fract()) + value(at.ceil()) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_by_hand() {
        let images = [vec![Some(1.0), Some(2.0)], vec![Some(6.0), None]];
        let s = Stats::of("a", &images, &[2.0, 7.0], 100, 0);
        assert_eq!((s.n, s.missed, s.mre, s.median), (3, 1, 3.0, 2.0));
        assert_eq!(s.sdr, [25.0, 75.0], "a threshold is exclusive and a missed point is no detection");
        assert!((s.sd - (14.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(s.miss_rate(), 25.0);
        assert_eq!(s.mre_interval, Some([1.5, 6.0]), "two images make three different samples");
        let none = Stats::of("a", &[vec![None]], &[2.0], 100, 0);
        assert!(none.mre.is_nan() && none.median.is_nan() && none.sdr == [0.0] && none.mre_interval.is_none());
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0, 8.0], 0.5), 3.0);
        assert_eq!((quantile(&[1.0, 3.0], 0.0), quantile(&[1.0, 3.0], 1.0)), (1.0, 3.0));
    }

    #[test]
    fn bootstrap_matches_the_standard_error_of_the_mean() {
        // 400 images of one point: the interval is about +-1.96 sd / sqrt(400) wide.
        let images: Vec<_> = (0..400).map(|i| vec![Some((i * 37 % 400) as f64)]).collect();
        let s = Stats::of("a", &images, &[200.0], 2000, 42);
        let [low, high] = s.mre_interval.unwrap();
        let expected = 2.0 * 1.96 * s.sd / 20.0;
        assert!(((high - low) / expected - 1.0).abs() < 0.06, "{} {expected}", high - low);
        assert!(low < s.mre && s.mre < high && s.sdr_interval[0][0] < 50.0 && s.sdr_interval[0][1] > 50.0);
        assert_eq!(s, Stats::of("a", &images, &[200.0], 2000, 42));
        // Points of an image go together: doubling them must not narrow the interval.
        let doubled: Vec<_> = images.iter().map(|image| vec![image[0]; 2]).collect();
        assert_eq!(Stats::of("a", &doubled, &[200.0], 2000, 42).mre_interval, s.mre_interval);
    }

    #[test]
    fn draws_are_uniform() {
        let mut counts = [0; 7];
        (0..7000).for_each(|i| counts[drawn(3, i / 7, i % 7, 7)] += 1);
        assert!(counts.iter().all(|&n| (900..1100).contains(&n)), "{counts:?}");
    }
}
