//! Small charts as inline SVG strings: lines, dots with error bars, scatter, diverging bars, heat map.
//!
//! Colours are CSS custom properties ([`STYLE`]), so that one document serves light and dark; the palette is Okabe and
//! Ito's, and series differ by shape or dash as well. Values that are not finite are left out, never printed; a chart
//! that has nothing to show is an empty string. Titles of marks are what a browser shows on hovering.

mod heat_map;
mod lines;
mod multiple;
mod rows;
mod scale;

pub use heat_map::heat_map;
pub use lines::{line_chart, scatter};
pub use multiple::{Reach, small_multiple};
pub use rows::{diverging_bars, dot_plot};
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
}

const PALETTE: usize = 6;
/// Width of a chart that stands in half a page, and of one that takes the whole, in CSS pixels.
const HALF: f64 = 480.;
const FULL: f64 = 960.;
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
        let axes = Axes { title: "t", x: "x", y: "y" };
        printable(&line_chart(&axes, &series));
        printable(&scatter(&axes, &series));
        printable(&dot_plot("t", "mm", &rows, &series));
        printable(&diverging_bars("t", ["a", "b"], &ODD.map(|v| (String::new(), v))));
        let mut reach = Reach::default();
        reach.include(&series, &series);
        printable(&small_multiple("n", "t", "x", &series, &series, reach));
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
        assert_eq!(small_multiple("", "", "", &[], &[], Reach::default()), "");
        assert_eq!(heat_map("", "", "", &[], &[], &[], ("", &[])), "");
        assert!(line_chart(&Axes::default(), &series(&[(5., 2.)])).contains("<circle"));
    }

    #[test]
    fn long_series_stay_small() {
        let points: Vec<_> = (0..100_000).map(|i| (f64::from(i), f64::from(i % 7))).collect();
        let svg = line_chart(&Axes::default(), &[Series { points, ..Series::default() }]);
        assert!(svg.len() < 20_000 && svg.contains("polygon"));
    }
}
