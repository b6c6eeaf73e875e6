//! Numbers as people read them.

use std::time::Duration;

/// Three digits and a prefix: `12.3 GFLOP`.
pub fn si(value: f64, unit: &str) -> String {
    const PREFIXES: [(f64, &str); 8] =
        [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n")];
    let (factor, prefix) =
        PREFIXES.into_iter().find(|&(factor, _)| value.abs() >= factor * 0.9995).unwrap_or((1.0, ""));
    format!("{} {prefix}{unit}", digits(value / factor))
}

/// A time with three digits.
pub fn time(time: Duration) -> String {
    si(time.as_secs_f64(), "s")
}

/// What is done in a time, a second; 0 in no time.
pub fn rate(amount: f64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { amount / time.as_secs_f64() }
}

/// Three significant digits, but at most five decimals and no exponent.
pub fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.9995 || v == 0.0 => 2,
        v if v >= 0.09995 => 3,
        v if v >= 0.009995 => 4,
        _ => 5,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_whatever_the_size() {
        let shown = [12_345.0, 1.0, 0.001_234, 999.99, 0.0, -2.5e9].map(|v| si(v, "B"));
        assert_eq!(shown, ["12.3 kB", "1.00 B", "1.23 mB", "1.00 kB", "0.00 B", "-2.50 GB"]);
        assert_eq!([123.4, 0.5, 0.0123, 0.00118].map(digits), ["123", "0.500", "0.0123", "0.00118"]);
        assert_eq!(time(Duration::from_micros(1500)), "1.50 ms");
        assert_eq!((rate(10.0, Duration::from_secs(5)), rate(1.0, Duration::ZERO)), (2.0, 0.0));
    }
}
