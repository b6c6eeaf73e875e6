//! The numbers a CPU twin is generic over: `f32` to run, `f64` to check against.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::AddAssign;

/// `f32` or `f64`.
///
/// The functions that `f32` approximates are straight lines of arithmetic, which compilers turn into vectors; `f64`, which is
/// not in a hurry, takes the standard library's.
pub trait Real: num_traits::Float + bytemuck::Pod + AddAssign + Sum + Default + Debug + Send + Sync + 'static {
    /// The nearest value to a double.
    fn of(x: f64) -> Self;

    /// As a double, exactly.
    fn f64(self) -> f64;

    /// A number below 2^24, exactly.
    fn whole(x: u32) -> Self;

    /// A whole number n with n <= x <= n + 1, as an index and as a number, for 0 <= x < 2^22: cheaper than `floor`.
    fn split_index(self) -> (u32, Self);

    /// e^x. In `f32` its relative error is below 8e-8, and what is smaller than the normal numbers is 0.
    fn fast_exp(self) -> Self;

    /// The natural logarithm of a positive normal number. In `f32` its relative error is below 9e-8.
    fn fast_ln(self) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }

    #[inline(always)]
    fn f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn whole(x: u32) -> Self {
        // Vectors are converted from signed numbers alone.
        x.cast_signed() as f32
    }

    #[inline(always)]
    fn split_index(self) -> (u32, Self) {
        let shifted = self - 0.5 + SHIFT;
        (shifted.to_bits().wrapping_sub(SHIFT.to_bits()), shifted - SHIFT)
    }

    /// `x = n ln 2 + r`; the polynomial in r is that of Cephes (Moshier).
    #[inline(always)]
    fn fast_exp(self) -> Self {
        /// The logarithms of the smallest and of the largest normal number.
        const RANGE: [f32; 2] = [-87.336_54, 88.722_84];
        let shifted = self * std::f32::consts::LOG2_E + SHIFT;
        let n = shifted - SHIFT;
        let r = self - n * LN_2[0] - n * LN_2[1];
        let p = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
        let p = p.into_iter().fold(1.987_569_2e-4, |p, c| p * r + c);
        let y = p * (r * r) + r + 1.0;
        // n stands in the last bits of `shifted`: added to the exponent, it multiplies by 2^n.
        let y = f32::from_bits(y.to_bits().wrapping_add(shifted.to_bits() << 23));
        match self {
            x if x > RANGE[1] => f32::INFINITY,
            x if x >= RANGE[0] => y,
            x if x < RANGE[0] => 0.0,
            nan => nan,
        }
    }

    /// `x = 2^n (1 + r)` with 1 + r between the roots of 1/2 and 2; the polynomial in r is that of Cephes (Moshier).
    #[inline(always)]
    fn fast_ln(self) -> Self {
        const ROOT_OF_HALF: u32 = 0x3f35_04f3;
        let bits = self.to_bits().wrapping_sub(ROOT_OF_HALF);
        let n = (bits.cast_signed() >> 23) as f32;
        let r = f32::from_bits((bits & 0x007f_ffff) + ROOT_OF_HALF) - 1.0;
        let p = [
            -1.151_461e-1,
            1.167_699_87e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_7e-1,
            2.000_071_4e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ];
        let p = p.into_iter().fold(7.037_683_6e-2, |p, c| p * r + c);
        let square = r * r;
        r + (p * r * square + n * LN_2[1] - 0.5 * square) + n * LN_2[0]
    }
}

/// Added to a number below 2^22, it leaves the nearest whole number in the last bits.
const SHIFT: f32 = 12_582_912.0;
/// ln 2 in two parts, of which the first has few bits: its products with small whole numbers are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

impl Real for f64 {
    fn of(x: f64) -> Self {
        x
    }

    fn f64(self) -> f64 {
        self
    }

    fn whole(x: u32) -> Self {
        x.into()
    }

    fn split_index(self) -> (u32, Self) {
        (self as u32, self.trunc())
    }

    fn fast_exp(self) -> Self {
        self.exp()
    }

    fn fast_ln(self) -> Self {
        self.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 97th number of either sign up to a magnitude.
    fn numbers(to: f32) -> impl Iterator<Item = f32> {
        (0..=to.to_bits()).step_by(97).map(f32::from_bits).flat_map(|x| [x, -x])
    }

    fn error(got: f32, exact: f64) -> f64 {
        ((f64::from(got) - exact) / exact).abs()
    }

    #[test]
    fn exponentials_are_as_exact_as_promised() {
        let worst = numbers(87.3).map(|x| error(x.fast_exp(), f64::from(x).exp())).fold(0.0, f64::max);
        assert!(worst < 8e-8, "{worst:e}");
        let special = [0.0, f32::NEG_INFINITY, f32::INFINITY, -87.4, -1e30, 88.8, 1e30].map(f32::fast_exp);
        assert_eq!(special, [1.0, 0.0, f32::INFINITY, 0.0, 0.0, f32::INFINITY, f32::INFINITY]);
        assert!(f32::NAN.fast_exp().is_nan() && error(88.7f32.fast_exp(), f64::from(88.7f32).exp()) < 8e-8);
    }

    #[test]
    fn logarithms_are_as_exact_as_promised() {
        let normal = numbers(f32::MAX).filter(|&x| x >= f32::MIN_POSITIVE && x != 1.0);
        let worst = normal.map(|x| error(x.fast_ln(), f64::from(x).ln())).fold(0.0, f64::max);
        assert!(worst < 9e-8 && 1f32.fast_ln() == 0.0, "{worst:e}");
    }

    #[test]
    fn an_index_is_at_most_one_below() {
        for x in numbers(4_194_303.0).filter(|&x| x >= 0.0).chain([0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4_194_303.0]) {
            let (index, n) = x.split_index();
            assert!(index as f32 == n && n <= x && x - n <= 1.0, "{x}: {index}, {n}");
        }
    }
}
