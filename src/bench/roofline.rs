//! The roofline (Williams et al. 2009) of a device with every row in it: rate of arithmetic over FLOP a byte, both logarithmic.

use super::peak::Peaks;
use super::row::{Bound, Row};
use crate::report::svg::escape;
use crate::units::si;
use std::fmt::Write;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 60.0;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1a1d21}.g{stroke:#e1e4e8}.roof{fill:none;stroke:#1a1d21;stroke-width:2}\
                     .compute{fill:#0072b2}.memory{fill:#d55e00}.launch{fill:#6d747d}";

/// Decades that an axis covers.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let decades = values.filter(|v| v.is_finite() && *v > 0.0).map(f64::log10);
        let (low, high) = decades.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        Self { low: low.floor(), high: high.ceil().max(low.floor() + 1.0), from, to }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value.log10() - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|decade| 10f64.powi(decade))
    }
}

/// A self-contained SVG. Rows without arithmetic have no place in it.
pub fn roofline(rows: &[Row], peaks: &Peaks, device: &str) -> String {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.gflop > 0.0).collect();
    let intensities = rows.iter().map(|row| row.intensity).chain([peaks.ridge()]);
    let rates = rows.iter().map(|row| 1e9 * row.gflop_per_s).chain([peaks.flops]);
    let x = Axis::new(intensities, LEFT, WIDTH - RIGHT);
    let y = Axis::new(rates, HEIGHT - BOTTOM, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\"><title>Roofline of {0}</title>\
         <style>{STYLE}</style><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"{LEFT}\" y=\"24\">{0}: {1}, {2}</text>\n",
        escape(device),
        si(peaks.flops, "FLOP/s"),
        si(peaks.bandwidth, "B/s"),
    );
    let (bottom, top, right) = (HEIGHT - BOTTOM, TOP, WIDTH - RIGHT);
    for tick in x.ticks() {
        let at = x.at(tick);
        put(&mut svg, format_args!("<path class=\"g\" d=\"M{at:.1} {bottom}V{top}\"/>"));
        put(&mut svg, format_args!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>", bottom + 20.0));
    }
    for tick in y.ticks() {
        let at = y.at(tick);
        put(&mut svg, format_args!("<path class=\"g\" d=\"M{LEFT} {at:.1}H{right}\"/>"));
        let label = si(tick, "FLOP/s").replace(".00", "").replace(".0 ", " ");
        put(
            &mut svg,
            format_args!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 8.0, at + 4.0),
        );
    }
    put(
        &mut svg,
        format_args!("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">FLOP a byte</text>", WIDTH / 2.0, HEIGHT - 14.0),
    );
    // The slope of the roof begins where it leaves the chart, at its left or at its bottom.
    let start = 10f64.powf(x.low.max(y.low - peaks.bandwidth.log10()));
    put(
        &mut svg,
        format_args!(
            "<path class=\"roof\" d=\"M{:.1} {:.1}L{:.1} {:.1}H{right}\"/>",
            x.at(start),
            y.at(start * peaks.bandwidth),
            x.at(peaks.ridge()),
            y.at(peaks.flops)
        ),
    );
    for row in rows {
        let of = &row.subject;
        put(
            &mut svg,
            format_args!(
                "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\"><title>{}</title></circle>",
                row.bound.map_or("launch", Bound::name),
                x.at(row.intensity),
                y.at(1e9 * row.gflop_per_s),
                escape(&format!("{} {} {}: {}", of.kernel, of.variant, of.shape, si(1e9 * row.gflop_per_s, "FLOP/s"))),
            ),
        );
    }
    for (i, bound) in [Bound::Compute, Bound::Memory, Bound::Launch].into_iter().enumerate() {
        let (at, name) = (LEFT + 110.0 * i as f64 + 10.0, bound.name());
        put(&mut svg, format_args!("<circle class=\"{name}\" cx=\"{at}\" cy=\"{}\" r=\"5\"/>", TOP + 12.0));
        put(&mut svg, format_args!("<text x=\"{}\" y=\"{}\">{name}</text>", at + 10.0, TOP + 16.0));
    }
    svg + "</svg>\n"
}

fn put(svg: &mut String, line: std::fmt::Arguments) {
    writeln!(svg, "{line}").expect("a string");
}

#[cfg(test)]
mod tests {
    use super::super::format::tests::row;
    use super::*;

    #[test]
    fn every_row_with_arithmetic_has_a_mark() {
        let peaks = Peaks { flops: 100e9, bandwidth: 10e9, launch: 1e-6, ..Peaks::default() };
        let rows = [row("conv2d", 0.04), row("<sum>", 0.1), Row { gflop: 0.0, ..row("copy", 1.0) }];
        let svg = roofline(&rows, &peaks, "a & b");
        assert_eq!(svg.matches("<circle").count(), 2 + 3);
        assert!(
            svg.contains("a &amp; b") && svg.contains("&lt;sum&gt;") && !svg.contains("NaN") && !svg.contains("inf")
        );
    }
}
