//! Lines and scattered points over two axes.

use super::scale::Scale;
use super::{Axes, DASHES, HALF, PALETTE, Series, chart, cut, label, legend, mark, palette, rule, text_width, usable};
use std::fmt::Write;

/// More points than this are drawn as their mean and range over as many stretches.
const STRETCHES: usize = 160;

/// Lines over a common x. Up to five series are named at their ends, more in a legend above. A long series is drawn
/// as its mean with its range behind it; a value that is missing leaves a gap.
pub fn line_chart(axes: &Axes, series: &[Series]) -> String {
    xy_chart(axes, series, false)
}

/// Points over two axes, with a legend; at most 1,500 points a series are drawn, evenly taken.
pub fn scatter(axes: &Axes, series: &[Series]) -> String {
    xy_chart(axes, series, true)
}

fn xy_chart(axes: &Axes, series: &[Series], dots: bool) -> String {
    let fits = |p: &&(f64, f64)| usable(p.0) && usable(p.1);
    let shown: Vec<&Series> = series.iter().filter(|s| s.points.iter().any(|p| fits(&p))).collect();
    let points = || shown.iter().flat_map(|s| s.points.iter().filter(fits));
    let direct = !dots && shown.len() <= 5;
    let (key, lines) = legend(shown.iter().map(|s| (s.name.as_str(), s.colour)), 4., 40., HALF);
    let keyed = !direct && (shown.len() > 1 || dots && shown.iter().any(|s| !s.name.is_empty()));
    let height = 300. + if keyed { 20. * lines as f64 } else { 0. };
    let (top, bottom) = (height - 268., height - 46.);
    let zero = !dots || points().all(|p| p.1 >= 0.);
    let Some(y) = Scale::new(points().map(|p| p.1), zero, bottom, top) else { return String::new() };
    let y = y.nice(5.);
    let ticks = y.ticks(5.);
    let left = 14. + ticks.iter().map(|t| text_width(&t.1)).fold(0., f64::max);
    let names =
        if direct { shown.iter().map(|s| text_width(&cut(&s.name, 16)) * 1.3 + 12.).fold(12., f64::max) } else { 12. };
    let Some(x) = Scale::new(points().map(|p| p.0), false, left, HALF - names) else { return String::new() };

    let mut out = label(2., 16., "start", "m", axes.y);
    if keyed {
        out.push_str(&key);
    }
    for (v, text) in &ticks {
        out.push_str(&rule("g", left, y.at(*v), x.to, y.at(*v)));
        out.push_str(&label(left - 8., y.at(*v) + 5., "end", "m", text));
    }
    for (v, text) in x.ticks(5.) {
        out.push_str(&rule("z", x.at(v), bottom, x.at(v), bottom + 4.));
        out.push_str(&label(x.at(v), bottom + 19., "middle", "m", &text));
    }
    out.push_str(&rule("z", left, bottom, x.to, bottom));
    out.push_str(&label((left + x.to) / 2., height - 6., "middle", "m", axes.x));

    let mut ends: Vec<(f64, f64, &Series)> = Vec::new();
    for s in &shown {
        let _ = write!(out, "<g {}>", palette(s.colour));
        if dots {
            let stride = s.points.len().div_ceil(1500);
            let taken = s.points.iter().step_by(stride).filter(fits);
            taken.for_each(|p| {
                let _ = write!(out, r#"<circle class="p" cx="{:.1}" cy="{:.1}" r="3"/>"#, x.at(p.0), y.at(p.1));
            });
        } else if let Some(end) = polyline(&mut out, s, &x, &y, fits) {
            ends.push((end.0, end.1, s));
        }
        out.push_str("</g>");
    }
    if direct {
        // Names at the line ends, pushed apart to a line's height and kept above the axis.
        ends.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut floor = top - 6.;
        for end in &mut ends {
            end.1 = end.1.max(floor);
            floor = end.1 + 16.;
        }
        let mut ceiling = bottom;
        for end in ends.iter_mut().rev() {
            end.1 = end.1.min(ceiling);
            ceiling = end.1 - 16.;
        }
        for (_, at, s) in ends {
            let _ = write!(
                out,
                "<g {}>{}</g>",
                palette(s.colour),
                label(x.to + 7., at + 5., "start", "n", &cut(&s.name, 16))
            );
        }
    }
    chart(HALF, height, axes.title, &out)
}

/// One series as polylines with gaps; returns where it ends.
pub(super) fn polyline(
    out: &mut String,
    s: &Series,
    x: &Scale,
    y: &Scale,
    fits: impl Fn(&&(f64, f64)) -> bool,
) -> Option<(f64, f64)> {
    let size = s.points.len().div_ceil(STRETCHES).max(1);
    // Each stretch: x, mean, least and greatest, in SVG units.
    let stretches: Vec<Option<[f64; 4]>> = s
        .points
        .chunks(size)
        .map(|c| {
            let good: Vec<_> = c.iter().filter(&fits).collect();
            let n = good.len() as f64;
            let ends = |f: fn(f64, f64) -> f64| good.iter().map(|p| p.1).reduce(f);
            let (low, high) = (ends(f64::min)?, ends(f64::max)?);
            let mean = |of: fn(&(f64, f64)) -> f64| good.iter().map(|p| of(p) / n).sum::<f64>();
            Some([x.at(mean(|p| p.0)), y.at(mean(|p| p.1)), y.at(low), y.at(high)])
        })
        .collect();
    for run in stretches.split(|p| p.is_none()).filter(|r| !r.is_empty()) {
        let run: Vec<[f64; 4]> = run.iter().flatten().copied().collect();
        if let [[px, py, ..]] = run[..] {
            out.push_str(&mark(s.colour, px, py, 3.5));
            continue;
        }
        let path = |at: usize| run.iter().map(move |p| format!("{:.1},{:.1} ", p[0], p[at])).collect::<Vec<_>>();
        if size > 1 {
            let back: String = path(3).into_iter().rev().collect();
            let _ = write!(out, r#"<polygon class="a" points="{}{}"/>"#, path(2).concat(), back.trim_end());
        }
        let dash = DASHES[s.colour % PALETTE];
        let _ =
            write!(out, r#"<polyline class="l" stroke-dasharray="{dash}" points="{}"/>"#, path(1).concat().trim_end());
    }
    stretches.iter().flatten().last().map(|p| (p[0], p[1]))
}
