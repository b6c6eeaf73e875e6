//! Counter-based random numbers: a value is a pure function of a seed and of what it is drawn for, so that results do not
//! depend on the order of work, on threads or on how landmarks are grouped.
//!
//! The generator is splitmix64 (Steele et al. 2014).

/// 2^64 over the golden ratio: the step of splitmix64's counter.
pub const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// One round of splitmix64 from the counter `z`: a bijection that scatters its bits.
pub fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Stream {
    key: u64,
    counter: u64,
}

impl Stream {
    /// The stream of a seed for a purpose, such as `&[step, landmark, sample]`.
    pub fn new(seed: u64, purpose: &[u64]) -> Self {
        Self { key: purpose.iter().fold(mix(seed), |key, &p| mix(key ^ mix(p))), counter: 0 }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.counter += 1;
        mix(self.key ^ self.counter.wrapping_mul(0xd605_1bc5_9f5e_5d7b))
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform between two values.
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in `0..n`.
    pub fn index(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Standard normal (Box-Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut stream = Stream::new(1, &[2, 3]);
        let n = 100_000;
        let uniform: Vec<f64> = (0..n).map(|_| stream.uniform()).collect();
        let normal: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let mean = |x: &[f64]| x.iter().sum::<f64>() / n as f64;
        let variance = |x: &[f64]| {
            let mean = mean(x);
            x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64
        };
        assert!((mean(&uniform) - 0.5).abs() < 5e-3 && (variance(&uniform) - 1.0 / 12.0).abs() < 2e-3);
        assert!(mean(&normal).abs() < 2e-2 && (variance(&normal) - 1.0).abs() < 2e-2);
        assert!((0..1000).all(|_| stream.index(7) < 7));
    }

    #[test]
    fn streams_of_different_purposes_differ() {
        assert_ne!(Stream::new(1, &[1, 2]).bits(), Stream::new(1, &[2, 1]).bits());
        assert_ne!(Stream::new(1, &[1]).bits(), Stream::new(2, &[1]).bits());
    }
}
