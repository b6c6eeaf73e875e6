//! A value axis: its range, its ticks.

use super::{fixed, usable};

/// A value axis mapped onto `from..to` in SVG units.
pub struct Scale {
    lo: f64,
    hi: f64,
    from: f64,
    pub to: f64,
}

impl Scale {
    /// Covers `values`; `None` if there are none. `zero` includes the origin.
    pub fn new(values: impl Iterator<Item = f64>, zero: bool, from: f64, to: f64) -> Option<Self> {
        let usable = values.filter(|v| usable(*v));
        let (mut lo, mut hi) = usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if lo > hi {
            return None;
        }
        if zero {
            (lo, hi) = (lo.min(0.), hi.max(0.));
        }
        if hi - lo <= 1e-9 * hi.abs().max(lo.abs()).max(1e-9) {
            let pad = (hi.abs() * 0.1).max(0.5);
            (lo, hi) = (lo - pad, hi + pad);
        }
        Some(Self { lo, hi, from, to })
    }

    /// Rounds the ends outwards to ticks.
    pub fn nice(mut self, count: f64) -> Self {
        let step = nice_step((self.hi - self.lo) / count);
        (self.lo, self.hi) = ((self.lo / step).floor() * step, (self.hi / step).ceil() * step);
        self
    }

    pub fn at(&self, v: f64) -> f64 {
        self.from + ((v - self.lo) / (self.hi - self.lo)).clamp(0., 1.) * (self.to - self.from)
    }

    /// Round values, with their labels.
    pub fn ticks(&self, count: f64) -> Vec<(f64, String)> {
        let step = nice_step((self.hi - self.lo) / count);
        let (first, last) = ((self.lo / step - 1e-6).ceil() as i64, (self.hi / step + 1e-6).floor() as i64);
        (first..=last).map(|i| (i as f64 * step, tick_label(i as f64 * step, step))).collect()
    }
}

fn nice_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    power * [1., 2., 5., 10.].into_iter().find(|m| m * power >= raw * 0.999).unwrap_or(10.)
}

pub fn tick_label(v: f64, step: f64) -> String {
    if v == 0. {
        return "0".into();
    }
    if v.abs() >= 1e7 || v.abs() < 1e-4 {
        return format!("{v:.0e}").replace('-', "−");
    }
    if step >= 1000. {
        return format!("{}k", fixed(v / 1000., usize::from(step % 1000. > 1.)));
    }
    fixed(v, (-step.log10().floor()).clamp(0., 6.) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let labels = |s: Scale| s.ticks(5.).into_iter().map(|t| t.1).collect::<Vec<_>>();
        let scale = |v: [f64; 2]| Scale::new(v.into_iter(), false, 0., 1.).unwrap();
        assert_eq!(labels(scale([0., 4.3])), ["0", "1", "2", "3", "4"]);
        assert_eq!(labels(scale([-0.02, 0.02])), ["−0.02", "−0.01", "0", "0.01", "0.02"]);
        assert_eq!(labels(scale([0., 20_000.])), ["0", "5k", "10k", "15k", "20k"]);
    }
}
