//! Small charts as inline SVG strings: lines, dots with error bars, scatter, diverging bars, heat map.
//!
//! Colours are CSS custom properties ([`STYLE`]), so that one document serves light and dark; the palette is Okabe and
//! Ito's, and series differ by shape or dash as well. Values that are not finite are left out, never printed; a chart
//! that has nothing to show is an empty string. Titles of marks are what a browser shows on hovering.

use std::fmt::Write;

/// The style sheet that every chart here relies on; dark on screens that ask for it, light in print.
pub const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fff;--ink:#1a1d21;--muted:#5b636d;--rule:#e1e4e8;--band:#f6f7f9;--gain:#0072b2;--loss:#d55e00;\
--c0:#0072b2;--c1:#d55e00;--c2:#008563;--c3:#b1528f;--c4:#6d747d;--c5:#8a6d00}
@media screen and (prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e8eb;--muted:#9aa3ad;--rule:#30363c;--band:#1b1f23;\
--gain:#4fb0f0;--loss:#ff8c42;--c0:#4fb0f0;--c1:#ff8c42;--c2:#33c79a;--c3:#e894c5;--c4:#a3abb5;--c5:#e0c145}}
svg.chart{display:block;width:100%;height:auto;font:14px system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif}
svg.chart text{fill:var(--ink);font-variant-numeric:tabular-nums}
svg.chart .m{fill:var(--muted)}svg.chart .g{stroke:var(--rule)}svg.chart .z{stroke:var(--muted)}svg.chart .b{fill:var(--band)}
svg.chart .l{fill:none;stroke:var(--s);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
svg.chart .e{stroke:var(--s);stroke-width:1.5;opacity:.6}svg.chart .f{fill:var(--s)}svg.chart .a{fill:var(--s);opacity:.18}
svg.chart text.n{fill:var(--s);font-weight:600}svg.chart .p{fill:var(--s);fill-opacity:.55}
";

/// A named series; `colour` is an index into the palette.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// What the label and the legend say.
    pub name: String,
    /// Palette index, taken modulo its length; also chooses dash and shape.
    pub colour: usize,
    /// Points (x, y) in ascending x; in a dot plot, one (mean, standard deviation) a row.
    pub points: Vec<(f64, f64)>,
}

/// What a chart says about itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Axes<'a> {
    /// The accessible name.
    pub title: &'a str,
    /// The x axis with its unit.
    pub x: &'a str,
    /// The y axis with its unit.
    pub y: &'a str,
    /// Logarithmic y; values that are not positive are left out.
    pub log_y: bool,
}

const PALETTE: usize = 6;
/// Width of a chart that stands in half a page, and of one that takes the whole, in CSS pixels.
const HALF: f64 = 480.;
const FULL: f64 = 960.;
/// More points than this are drawn as their mean and range over as many stretches.
const STRETCHES: usize = 160;
const DASHES: [&str; PALETTE] = ["", "7 4", "2 4", "9 3 2 3", "4 3", "12 4"];

/// Text for HTML and SVG, in content or in a quoted attribute; control characters become U+FFFD.
pub fn escape(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A number with a true minus sign; an en dash where there is none.
pub fn fixed(v: f64, decimals: usize) -> String {
    if !v.is_finite() {
        return "–".into();
    }
    let s = if v.abs() >= 1e7 { format!("{v:.2e}") } else { format!("{v:.decimals$}") };
    let zero = s.trim_start_matches('-').chars().all(|c| c == '0' || c == '.');
    if zero { s.trim_start_matches('-').into() } else { s.replace('-', "−") }
}

/// The mark of palette entry `colour`, `r` in radius: disc, square, diamond, triangle, ring, cross.
pub fn mark(colour: usize, x: f64, y: f64, r: f64) -> String {
    let q = r * 0.88;
    let d = match colour % PALETTE {
        0 => return format!(r#"<circle class="f" cx="{x:.1}" cy="{y:.1}" r="{r:.1}"/>"#),
        1 => format!("M{:.1} {:.1}h{w:.1}v{w:.1}h-{w:.1}z", x - q, y - q, w = 2. * q),
        2 => format!("M{x:.1} {:.1}l{k:.1} {k:.1}l-{k:.1} {k:.1}l-{k:.1} -{k:.1}z", y - 1.25 * r, k = 1.25 * r),
        3 => format!("M{x:.1} {:.1}l{:.1} {:.1}h-{:.1}z", y - 1.1 * r, 1.15 * r, 2. * r, 2.3 * r),
        4 => {
            return format!(
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="{q:.1}" fill="none" stroke="var(--s)" stroke-width="2"/>"#
            );
        }
        _ => format!("M{:.1} {:.1}l{w:.1} {w:.1}m0 -{w:.1}l-{w:.1} {w:.1}", x - q, y - q, w = 2. * q),
    };
    match colour % PALETTE {
        5 => format!(r#"<path d="{d}" stroke="var(--s)" stroke-width="2" fill="none"/>"#),
        _ => format!(r#"<path class="f" d="{d}"/>"#),
    }
}

/// Values beyond this would overflow the arithmetic of an axis, and mean nothing in a chart.
fn usable(v: f64) -> bool {
    v.is_finite() && v.abs() < 1e100
}

/// A value axis mapped onto `from..to` in SVG units.
struct Scale {
    lo: f64,
    hi: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// Covers `values`; `None` if there are none. `zero` includes the origin.
    fn new(values: impl Iterator<Item = f64>, zero: bool, log: bool, from: f64, to: f64) -> Option<Self> {
        let usable = values.filter(|v| usable(*v) && (!log || *v > 1e-100)).map(|v| if log { v.log10() } else { v });
        let (mut lo, mut hi) = usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if lo > hi {
            return None;
        }
        if zero && !log {
            (lo, hi) = (lo.min(0.), hi.max(0.));
        }
        if hi - lo <= 1e-9 * hi.abs().max(lo.abs()).max(1e-9) {
            let pad = if log { 0.5 } else { (hi.abs() * 0.1).max(0.5) };
            (lo, hi) = (lo - pad, hi + pad);
        }
        if log {
            let pad = (hi - lo) * 0.05;
            (lo, hi) = (lo - pad, hi + pad);
        }
        Some(Self { lo, hi, from, to, log })
    }

    /// Rounds the ends outwards to ticks.
    fn nice(mut self, count: f64) -> Self {
        if !self.log {
            let step = nice_step((self.hi - self.lo) / count);
            (self.lo, self.hi) = ((self.lo / step).floor() * step, (self.hi / step).ceil() * step);
        }
        self
    }

    fn at(&self, v: f64) -> f64 {
        let v = if self.log { v.max(1e-100).log10() } else { v };
        self.from + ((v - self.lo) / (self.hi - self.lo)).clamp(0., 1.) * (self.to - self.from)
    }

    /// Round values, with their labels.
    fn ticks(&self, count: f64) -> Vec<(f64, String)> {
        if !self.log {
            let step = nice_step((self.hi - self.lo) / count);
            let (first, last) = ((self.lo / step - 1e-6).ceil() as i64, (self.hi / step + 1e-6).floor() as i64);
            return (first..=last).map(|i| (i as f64 * step, tick_label(i as f64 * step, step))).collect();
        }
        let decades = self.hi - self.lo;
        let multiples: &[f64] = if decades < 1.2 {
            &[1., 2., 3., 5., 7.]
        } else if decades < 2.5 {
            &[1., 3.]
        } else {
            &[1.]
        };
        let every = (decades / count).ceil().max(1.) as i32;
        let exponents = (self.lo.floor() as i32..=self.hi.ceil() as i32).filter(|e| e.rem_euclid(every) == 0);
        let all = exponents.flat_map(|e| multiples.iter().map(move |m| m * 10f64.powi(e)));
        let within = all.filter(|v| (self.lo..=self.hi).contains(&v.log10()));
        within.map(|v| (v, tick_label(v, v * 1.01))).collect()
    }
}

fn nice_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    power * [1., 2., 5., 10.].into_iter().find(|m| m * power >= raw * 0.999).unwrap_or(10.)
}

fn tick_label(v: f64, step: f64) -> String {
    if v == 0. {
        return "0".into();
    }
    if v.abs() >= 1e7 || (v != 0. && v.abs() < 1e-4) {
        return format!("{v:.0e}").replace('-', "−");
    }
    if step >= 1000. {
        return format!("{}k", fixed(v / 1000., usize::from(step % 1000. > 1.)));
    }
    fixed(v, (-step.log10().floor()).clamp(0., 6.) as usize)
}

/// An estimate, generous for Latin text; wide scripts count double.
fn text_width(s: &str) -> f64 {
    s.chars().map(|c| if (c as u32) < 0x1100 { 8. } else { 15. }).sum()
}

/// At most `max` characters, the last an ellipsis where some were cut.
fn cut(s: &str, max: usize) -> String {
    if s.chars().count() <= max { s.into() } else { s.chars().take(max - 1).chain(['…']).collect() }
}

fn palette(colour: usize) -> String {
    format!(r#"style="--s:var(--c{})""#, colour % PALETTE)
}

fn label(x: f64, y: f64, anchor: &str, class: &str, s: &str) -> String {
    format!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{}</text>"#, escape(s))
}

fn rule(class: &str, x1: f64, y1: f64, x2: f64, y2: f64) -> String {
    format!(r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#)
}

fn chart(width: f64, height: f64, title: &str, body: &str) -> String {
    format!(
        r#"<svg class="chart" viewBox="0 0 {width:.0} {height:.0}" style="max-width:{width:.0}px" role="img"><title>{}</title>{body}</svg>"#,
        escape(title)
    )
}

/// Legend entries from `x0`, wrapped at `width`; returns the SVG and the number of lines.
fn legend<'a>(entries: impl Iterator<Item = (&'a str, usize)>, x0: f64, y: f64, width: f64) -> (String, usize) {
    let (mut out, mut x, mut lines) = (String::new(), x0, 1);
    for (name, colour) in entries {
        let name = cut(name, 28);
        let w = 34. + text_width(&name);
        if x + w > width && x > x0 {
            (x, lines) = (x0, lines + 1);
        }
        let base = y + 20. * (lines - 1) as f64;
        let _ = write!(
            out,
            "<g {}>{}{}</g>",
            palette(colour),
            mark(colour, x + 7., base - 5., 4.5),
            label(x + 18., base, "start", "", &name)
        );
        x += w;
    }
    (out, lines)
}

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
    let fits = |p: &&(f64, f64)| usable(p.0) && usable(p.1) && (!axes.log_y || p.1 > 1e-100);
    let shown: Vec<&Series> = series.iter().filter(|s| s.points.iter().any(|p| fits(&p))).collect();
    let points = || shown.iter().flat_map(|s| s.points.iter().filter(fits));
    let direct = !dots && shown.len() <= 5;
    let (key, lines) = legend(shown.iter().map(|s| (s.name.as_str(), s.colour)), 4., 40., HALF);
    let keyed = !direct && (shown.len() > 1 || dots && shown.iter().any(|s| !s.name.is_empty()));
    let height = 300. + if keyed { 20. * lines as f64 } else { 0. };
    let (top, bottom) = (height - 268., height - 46.);
    let Some(y) = Scale::new(points().map(|p| p.1), !dots || points().all(|p| p.1 >= 0.), axes.log_y, bottom, top)
    else {
        return String::new();
    };
    let y = y.nice(5.);
    let ticks = y.ticks(5.);
    let left = 14. + ticks.iter().map(|t| text_width(&t.1)).fold(0., f64::max);
    let names =
        if direct { shown.iter().map(|s| text_width(&cut(&s.name, 16)) * 1.12 + 12.).fold(12., f64::max) } else { 12. };
    let Some(x) = Scale::new(points().map(|p| p.0), false, false, left, HALF - names) else { return String::new() };

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
        } else if let Some(end) = line(&mut out, s, &x, &y, fits) {
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
fn line(out: &mut String, s: &Series, x: &Scale, y: &Scale, fits: impl Fn(&&(f64, f64)) -> bool) -> Option<(f64, f64)> {
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

/// Horizontal dots with error bars (mean ± standard deviation), a band of rows for each of `rows`, one row a series.
pub fn dot_plot(title: &str, x_label: &str, rows: &[String], series: &[Series]) -> String {
    let present: Vec<&Series> = series.iter().filter(|s| s.points.iter().any(|p| usable(p.0))).collect();
    let all = || present.iter().flat_map(|s| s.points.iter().take(rows.len())).filter(|p| usable(p.0));
    let spread = |p: &(f64, f64)| if usable(p.1) { p.1.abs() } else { 0. };
    let left = 16. + rows.iter().map(|r| text_width(&cut(r, 24))).fold(40., f64::max);
    let Some(x) = Scale::new(all().map(|p| p.0 + spread(p)), true, false, left, FULL - 14.) else {
        return String::new();
    };
    let x = x.nice(8.);
    let (pitch, band) = (12., 12. * present.len().max(1) as f64 + 8.);
    let (mut out, lines) = legend(present.iter().map(|s| (s.name.as_str(), s.colour)), left, 18., FULL);
    let top = 34. + 20. * (lines - 1) as f64;
    let bottom = top + band * rows.len() as f64;
    for (i, name) in rows.iter().enumerate() {
        let y = top + band * i as f64;
        if i % 2 == 0 {
            let _ = write!(out, r#"<rect class="b" x="0" y="{y:.1}" width="{FULL}" height="{band:.1}"/>"#);
        }
        out.push_str(&label(left - 10., y + band / 2. + 5., "end", "", &cut(name, 24)));
    }
    for (v, text) in x.ticks(8.) {
        out.push_str(&rule(if v == 0. { "z" } else { "g" }, x.at(v), top, x.at(v), bottom));
        out.push_str(&label(x.at(v), bottom + 18., "middle", "m", &text));
    }
    out.push_str(&label((left + x.to) / 2., bottom + 38., "middle", "m", x_label));
    for (j, s) in present.iter().enumerate() {
        let _ = write!(out, "<g {}>", palette(s.colour));
        for (i, p) in s.points.iter().take(rows.len()).enumerate().filter(|(_, p)| usable(p.0)) {
            let y = top + band * i as f64 + 4. + pitch * (j as f64 + 0.5);
            let tip = format!("{}, {}: {} ± {} {x_label}", rows[i], s.name, fixed(p.0, 2), fixed(p.1, 2));
            let _ = write!(out, "<g><title>{}</title>", escape(&tip));
            // An error is not negative: the bar is cut at the origin where the mean allows.
            out.push_str(&rule("e", x.at(p.0 - spread(p)), y, x.at(p.0 + spread(p)), y));
            out.push_str(&mark(s.colour, x.at(p.0), y, 4.));
            out.push_str("</g>");
        }
        out.push_str("</g>");
    }
    chart(FULL, bottom + 46., title, &out)
}

/// Bars to both sides of zero in the order given, each with its value; `sides` says what left and right mean.
pub fn diverging_bars(title: &str, sides: [&str; 2], rows: &[(String, f64)]) -> String {
    let rows: Vec<&(String, f64)> = rows.iter().filter(|r| usable(r.1)).collect();
    let left = 14. + rows.iter().map(|r| text_width(&cut(&r.0, 24))).fold(0., f64::max);
    // Room for the values, which stand beyond the bars' ends.
    let room = if rows.iter().any(|r| r.1 < 0.) { 48. } else { 4. };
    let Some(x) = Scale::new(rows.iter().map(|r| r.1), true, false, left + room, HALF - 48.) else {
        return String::new();
    };
    let (top, pitch, zero) = (30., 22., x.at(0.));
    let height = top + pitch * rows.len() as f64 + 6.;
    let mut out = String::new();
    for (side, text, towards) in [(-1., sides[0], "end"), (1., sides[1], "start")] {
        // A side with too little room for its words keeps them inside the chart.
        let w = text_width(text);
        let at = if side < 0. { (zero - 8.).max(w) } else { (zero + 8.).min(HALF - w) };
        if rows.iter().any(|r| r.1 * side > 0.) {
            out.push_str(&label(at, 16., towards, "m", text));
        }
    }
    for (i, (name, v)) in rows.iter().enumerate() {
        let (y, end) = (top + pitch * i as f64, x.at(*v));
        let colour = if *v > 0. { "gain" } else { "loss" };
        let _ = write!(
            out,
            r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" fill="var(--{colour})" fill-opacity=".85"/>"#,
            zero.min(end),
            y + 3.,
            (end - zero).abs().max(0.5),
            pitch - 6.
        );
        out.push_str(&label(left - 8., y + 16., "end", "", &cut(name, 24)));
        let (at, anchor, plus) = if *v > 0. { (end + 5., "start", "+") } else { (end - 5., "end", "") };
        out.push_str(&label(at, y + 16., anchor, "m", &format!("{plus}{}", fixed(*v, 2))));
    }
    out.push_str(&rule("z", zero, top - 4., zero, height - 4.));
    chart(HALF, height, title, &out)
}

/// A heat map of changes (negative: gain, positive: loss; `cells[row][column]`) with a bar strip of fractions beneath
/// its columns, a dashed line at one half. The colour is full at the 95th percentile of the absolute changes.
pub fn heat_map(
    title: &str,
    unit: &str,
    x_label: &str,
    rows: &[String],
    columns: &[f64],
    cells: &[Vec<f64>],
    strip: (&str, &[f64]),
) -> String {
    let (strip_label, strip) = strip;
    let mut sizes: Vec<f64> = cells.iter().flatten().copied().filter(|v| usable(*v)).map(f64::abs).collect();
    sizes.sort_by(f64::total_cmp);
    if sizes.is_empty() || columns.is_empty() {
        return String::new();
    }
    let full = sizes[(sizes.len() - 1) * 95 / 100].max(1e-9);
    let left = 16. + rows.iter().map(|r| text_width(&cut(r, 24))).fold(text_width(strip_label), f64::max);
    let (top, row_h, width) = (40., 20., (FULL - 14. - left) / columns.len() as f64);
    let bottom = top + row_h * rows.len() as f64;
    let strip_top = bottom + 12.;
    let strip_h = if strip.iter().any(|v| usable(*v)) { 54. } else { 0. };
    let base = strip_top + strip_h;

    let mut out = String::new();
    for (i, (colour, text)) in [("gain", "error fell"), ("loss", "error rose")].into_iter().enumerate() {
        let x = left + 190. * i as f64;
        for step in 1..=5 {
            let at = x + 12. * f64::from(step - 1);
            let _ = write!(
                out,
                r#"<rect x="{at:.1}" y="8" width="12" height="14" fill="var(--{colour})" fill-opacity="{:.1}"/>"#,
                f64::from(step) / 5.
            );
        }
        out.push_str(&label(x + 68., 20., "start", "", text));
    }
    out.push_str(&label(left + 372., 20., "start", "m", &format!("full colour: {} {unit} or more", fixed(full, 2))));
    let gap = if width > 8. { 1. } else { 0. };
    for (i, name) in rows.iter().enumerate() {
        let y = top + row_h * i as f64;
        out.push_str(&label(left - 10., y + 15., "end", "", &cut(name, 24)));
        let _ = write!(
            out,
            r#"<rect class="b" x="{left:.1}" y="{:.1}" width="{:.1}" height="{:.1}"/>"#,
            y + 0.5,
            width * columns.len() as f64,
            row_h - 1.
        );
        for (j, v) in cells.get(i).into_iter().flatten().take(columns.len()).enumerate().filter(|(_, v)| usable(**v)) {
            let colour = if *v < 0. { "gain" } else { "loss" };
            let tip = format!("{name}, {x_label} {}: {} {unit}", tick_label(columns[j], 1.), fixed(*v, 3));
            let _ = write!(
                out,
                r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" fill="var(--{colour})" fill-opacity="{:.2}"><title>{}</title></rect>"#,
                left + width * j as f64,
                y + 0.5,
                width - gap,
                row_h - 1.,
                (v.abs() / full).min(1.),
                escape(&tip)
            );
        }
    }
    if strip_h > 0. {
        let top = strip.iter().copied().filter(|v| usable(*v)).fold(0.5, f64::max) * 1.1;
        out.push_str(&label(left - 10., strip_top + strip_h / 2. + 5., "end", "", strip_label));
        for (j, v) in strip.iter().take(columns.len()).enumerate().filter(|(_, v)| usable(**v)) {
            let h = (v / top).clamp(0., 1.) * strip_h;
            let _ = write!(
                out,
                r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{h:.1}" fill="var(--muted)" fill-opacity=".55"><title>{}</title></rect>"#,
                left + width * j as f64,
                base - h,
                width - gap,
                escape(&format!("{x_label} {}: {} %", tick_label(columns[j], 1.), fixed(v * 100., 0)))
            );
        }
        let half = base - strip_h * 0.5 / top;
        let _ = write!(
            out,
            r#"<line class="z" stroke-dasharray="4 3" x1="{left:.1}" y1="{half:.1}" x2="{:.1}" y2="{half:.1}"/>"#,
            FULL - 14.
        );
        out.push_str(&label(FULL - 14., half - 4., "end", "m", "half"));
        out.push_str(&rule("z", left, base, FULL - 14., base));
    }
    let every = (columns.len() as f64 * 52. / (FULL - left)).ceil().max(1.) as usize;
    let step = columns.first().map_or(1., |v| v.abs().max(1.));
    for (j, v) in columns.iter().enumerate().step_by(every).filter(|(_, v)| usable(**v)) {
        out.push_str(&label(
            left + width * (j as f64 + 0.5),
            base + 18.,
            "middle",
            "m",
            &tick_label(*v, step.min(999.)),
        ));
    }
    out.push_str(&label(left + (FULL - left) / 2., base + 38., "middle", "m", x_label));
    chart(FULL, base + 46., title, &out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: [f64; 8] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -f64::MAX, 0., -1., 3.];

    fn printable(svg: &str) {
        let numbers = svg.replace(|c: char| !c.is_ascii_alphanumeric(), " ");
        assert!(!numbers.split(' ').any(|w| w == "NaN" || w == "inf"), "{svg}");
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("<a href=\"x\">&'\u{1}"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;\u{fffd}");
        let svg = line_chart(
            &Axes { title: "</title><script>", ..Axes::default() },
            &[Series { points: vec![(0., 1.)], ..Series::default() }],
        );
        assert!(svg.contains("&lt;script&gt;") && !svg.contains("<script"));
    }

    #[test]
    fn values_that_are_not_finite_are_never_printed() {
        let points: Vec<_> = ODD.iter().flat_map(|a| ODD.iter().map(|b| (*a, *b))).collect();
        let series = [Series { name: "s".into(), colour: 9, points: points.clone() }];
        let rows: Vec<String> = (0..points.len()).map(|i| i.to_string()).collect();
        for log_y in [false, true] {
            let axes = Axes { title: "t", x: "x", y: "y", log_y };
            printable(&line_chart(&axes, &series));
            printable(&scatter(&axes, &series));
        }
        printable(&dot_plot("t", "mm", &rows, &series));
        printable(&diverging_bars("t", ["a", "b"], &ODD.map(|v| (String::new(), v))));
        printable(&heat_map("t", "mm", "step", &rows, &ODD, &vec![ODD.to_vec(); 3], ("s", &ODD)));
    }

    #[test]
    fn nothing_to_show_is_an_empty_string_and_one_point_is_a_mark() {
        let series = |points: &[(f64, f64)]| [Series { name: "s".into(), colour: 0, points: points.to_vec() }];
        for points in [&[][..], &[(f64::NAN, 1.)], &[(1., f64::NAN)]] {
            assert_eq!(line_chart(&Axes::default(), &series(points)), "");
            assert_eq!(scatter(&Axes::default(), &series(points)), "");
        }
        assert_eq!(dot_plot("", "", &[], &[]), "");
        assert_eq!(diverging_bars("", ["", ""], &[]), "");
        assert_eq!(heat_map("", "", "", &[], &[], &[], ("", &[])), "");
        assert!(line_chart(&Axes::default(), &series(&[(5., 2.)])).contains("<circle"));
    }

    #[test]
    fn ticks_are_round() {
        let labels = |s: Scale| s.ticks(5.).into_iter().map(|t| t.1).collect::<Vec<_>>();
        let scale = |v: [f64; 2], log| Scale::new(v.into_iter(), false, log, 0., 1.).unwrap();
        assert_eq!(labels(scale([0., 4.3], false)), ["0", "1", "2", "3", "4"]);
        assert_eq!(labels(scale([-0.02, 0.02], false)), ["−0.02", "−0.01", "0", "0.01", "0.02"]);
        assert_eq!(labels(scale([0., 20_000.], false)), ["0", "5k", "10k", "15k", "20k"]);
        assert_eq!(labels(scale([0.001, 10.], true)), ["0.001", "0.01", "0.1", "1", "10"]);
    }

    #[test]
    fn long_series_stay_small() {
        let points: Vec<_> = (0..100_000).map(|i| (f64::from(i), f64::from(i % 7))).collect();
        let svg = line_chart(&Axes::default(), &[Series { points, ..Series::default() }]);
        assert!(svg.len() < 20_000 && svg.contains("polygon"));
    }
}
