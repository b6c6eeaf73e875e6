//! Numbers as people read them, and bytes as a page carries them.

use super::svg::fixed;

pub fn percent(fraction: f64) -> String {
    if fraction.is_finite() { format!("{} %", fixed(fraction * 100., 1)) } else { "–".into() }
}

/// 950, 12.3 k, 4.56 M: three significant digits.
pub fn count(n: u64) -> String {
    match n {
        0..1000 => n.to_string(),
        1000..1_000_000 => format!("{} k", significant(n as f64 / 1e3)),
        _ => format!("{} M", significant(n as f64 / 1e6)),
    }
}

pub fn bytes(n: u64) -> String {
    match n {
        0 => "–".into(),
        1..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{} KiB", significant(n as f64 / 1024.)),
        1_048_576..1_073_741_824 => format!("{} MiB", significant(n as f64 / 1_048_576.)),
        _ => format!("{} GiB", significant(n as f64 / 1_073_741_824.)),
    }
}

pub fn milliseconds(ms: f64) -> String {
    match ms {
        ms if !ms.is_finite() || ms <= 0. => "–".into(),
        ms if ms < 1. => format!("{} µs", significant(ms * 1e3)),
        ms if ms < 1000. => format!("{} ms", significant(ms)),
        ms => format!("{} s", significant(ms / 1e3)),
    }
}

fn significant(v: f64) -> String {
    fixed(v, if v < 9.995 { 2 } else { usize::from(v < 99.95) })
}

pub fn duration(seconds: f64) -> String {
    if !(0. ..1e12).contains(&seconds) {
        return "–".into();
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{} s", significant(seconds)),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// RFC 4648, section 4, padded.
pub fn base64(data: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(data.len().div_ceil(3) * 4);
    for chunk in data.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let sextet = (bits >> (18 - 6 * i) & 63) as usize;
            out.push(if i <= chunk.len() { ALPHABET[sextet] as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_vectors_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([count(999), count(12_345), count(4_560_000)], ["999", "12.3 k", "4.56 M"]);
        assert_eq!([bytes(0), bytes(1536), bytes(300 << 20)], ["–", "1.50 KiB", "300 MiB"]);
        assert_eq!(
            [milliseconds(0.25), milliseconds(12.34), milliseconds(2500.), milliseconds(f64::NAN)],
            ["250 µs", "12.3 ms", "2.50 s", "–"]
        );
        assert_eq!([duration(4.2), duration(102.), duration(7260.)], ["4.20 s", "1 min 42 s", "2 h 1 min"]);
    }
}
