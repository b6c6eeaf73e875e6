//! One of many small charts on common axes: counts stacked over lines, both over the same x.

use super::lines::polyline;
use super::scale::Scale;
use super::{Series, chart, cut, escape, fixed, label, palette, rule, text_width, usable};
use std::fmt::Write;

/// Width and height, CSS pixels.
const SIZE: (f64, f64) = (320., 216.);
/// Height of the stacks, CSS pixels.
const STACK: f64 = 52.;

/// Width of a bar, at most.
const BAR: f64 = 12.;

/// What the axes of all charts of a set reach to; all begin at 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach {
    /// Of x.
    pub x: f64,
    /// Of a stack's sum.
    pub count: f64,
    /// Of the lines.
    pub y: f64,
}

impl Reach {
    /// Wide enough for these too.
    pub fn include(&mut self, stacks: &[Series], lines: &[Series]) {
        let all = || stacks.iter().chain(lines).flat_map(|s| &s.points);
        let largest = |values: &mut dyn Iterator<Item = f64>| values.filter(|v| usable(*v)).fold(0., f64::max);
        self.x = self.x.max(largest(&mut all().map(|p| p.0)));
        self.y = self.y.max(largest(&mut lines.iter().flat_map(|s| &s.points).map(|p| p.1)));
        self.count = self.count.max(largest(&mut columns(stacks).iter().map(|c| c.1.iter().sum())));
    }
}

/// The values of all stacks at each x of the first.
fn columns(stacks: &[Series]) -> Vec<(f64, Vec<f64>)> {
    let at = |(i, p): (usize, &(f64, f64))| {
        let value = |s: &Series| s.points.get(i).map_or(0., |p| if usable(p.1) { p.1.max(0.) } else { 0. });
        usable(p.0).then(|| (p.0, stacks.iter().map(value).collect()))
    };
    stacks.first().into_iter().flat_map(|s| s.points.iter().enumerate().filter_map(at)).collect()
}

/// A chart of a set: `stacks` have their points at common x.
pub fn small_multiple(
    name: &str,
    title: &str,
    x_label: &str,
    stacks: &[Series],
    lines: &[Series],
    reach: Reach,
) -> String {
    let columns = columns(stacks);
    let drawn = lines.iter().any(|s| s.points.iter().any(|p| usable(p.0) && usable(p.1)));
    let (width, height) = SIZE;
    let (top, middle, bottom) = (30., 30. + STACK + 12., height - 40.);
    let axis = |to: f64, from: f64, end: f64| Scale::new([0., to].into_iter(), true, from, end);
    if columns.is_empty() && !drawn {
        return String::new();
    }
    let (Some(count), Some(y)) = (axis(reach.count, top + STACK, top), axis(reach.y, bottom, middle)) else {
        return String::new();
    };
    let ticks = y.ticks(3.);
    let most = fixed(reach.count, 0);
    let left = 10. + ticks.iter().map(|t| text_width(&t.1)).fold(text_width(&most), f64::max);
    // The last bar stands half beyond the last step.
    let end = width - 8.;
    let Some(x) = axis(reach.x, left, end - BAR / 2.) else { return String::new() };

    let mut out = format!("<text x=\"2\" y=\"17\" font-weight=\"600\">{}</text>", escape(&cut(name, 34)));
    out.push_str(&rule("g", left, top, end, top));
    out.push_str(&label(left - 6., top + 10., "end", "m", &most));
    out.push_str(&rule("z", left, top + STACK, end, top + STACK));
    let gap = columns.windows(2).map(|pair| x.at(pair[1].0) - x.at(pair[0].0)).fold(BAR + 1., f64::min);
    let bar = (gap - 1.).clamp(0.7, BAR);
    for (at, values) in &columns {
        let (mut below, mut tip) = (0., format!("{x_label} {}", fixed(*at, 0)));
        let mut bars = String::new();
        for (s, v) in stacks.iter().zip(values) {
            let _ = write!(tip, ", {} {}", fixed(*v, 0), s.name);
            if *v > 0. {
                let (from, to) = (count.at(below), count.at(below + v));
                let _ = write!(
                    bars,
                    r#"<rect {} fill="var(--s)" x="{:.1}" y="{to:.1}" width="{bar:.1}" height="{:.1}"/>"#,
                    palette(s.colour),
                    (x.at(*at) - bar / 2.).max(left),
                    from - to
                );
                below += v;
            }
        }
        let _ = write!(out, "<g><title>{}</title>{bars}</g>", escape(&tip));
    }
    for (v, text) in &ticks {
        out.push_str(&rule(if *v == 0. { "z" } else { "g" }, left, y.at(*v), end, y.at(*v)));
        out.push_str(&label(left - 6., y.at(*v) + 5., "end", "m", text));
    }
    for (v, text) in x.ticks(4.) {
        out.push_str(&rule("z", x.at(v), bottom, x.at(v), bottom + 4.));
        out.push_str(&label(x.at(v), bottom + 19., "middle", "m", &text));
    }
    out.push_str(&label((left + end) / 2., height - 4., "middle", "m", x_label));
    for s in lines {
        let _ = write!(out, "<g {}>", palette(s.colour));
        polyline(&mut out, s, &x, &y, |p| usable(p.0) && usable(p.1));
        out.push_str("</g>");
    }
    chart(width, height, title, &out)
}
