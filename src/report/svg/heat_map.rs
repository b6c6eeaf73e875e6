//! A heat map over a strip of bars.

use super::scale::tick_label;
use super::{FULL, chart, cut, escape, fixed, label, rule, text_width, usable};
use std::fmt::Write;

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
    let decimals = (1. - full.log10().floor()).clamp(2., 9.) as usize; // two significant digits, whatever the size
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
    out.push_str(&label(
        left + 372.,
        20.,
        "start",
        "m",
        &format!("full colour: {} {unit} or more", fixed(full, decimals)),
    ));
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
    for (j, v) in columns.iter().enumerate().step_by(every).filter(|(_, v)| usable(**v)) {
        out.push_str(&label(left + width * (j as f64 + 0.5), base + 18., "middle", "m", &tick_label(*v, 1.)));
    }
    out.push_str(&label(left + (FULL - left) / 2., base + 38., "middle", "m", x_label));
    chart(FULL, base + 46., title, &out)
}
