//! Rows of dots with error bars, and of bars to both sides of zero.

use super::scale::Scale;
use super::{FULL, HALF, Series, chart, cut, escape, fixed, label, legend, mark, palette, rule, text_width, usable};
use std::fmt::Write;

/// Horizontal dots with error bars (mean ± standard deviation), a band of rows for each of `rows`, one row a series.
pub fn dot_plot(title: &str, x_label: &str, rows: &[String], series: &[Series]) -> String {
    let present: Vec<&Series> = series.iter().filter(|s| s.points.iter().any(|p| usable(p.0))).collect();
    let all = || present.iter().flat_map(|s| s.points.iter().take(rows.len())).filter(|p| usable(p.0));
    let spread = |p: &(f64, f64)| if usable(p.1) { p.1.abs() } else { 0. };
    let left = 16. + rows.iter().map(|r| text_width(&cut(r, 24))).fold(40., f64::max);
    let Some(x) = Scale::new(all().map(|p| p.0 + spread(p)), true, left, FULL - 14.) else {
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
    let Some(x) = Scale::new(rows.iter().map(|r| r.1), true, left + room, HALF - 48.) else {
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
