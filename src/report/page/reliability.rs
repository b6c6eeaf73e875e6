//! Whether scores can be trusted.

use super::{colour, figure};
use crate::report::svg::{self, Axes, Series, escape, fixed};
use crate::report::{Method, Report};
use std::fmt::Write;

pub fn section(out: &mut String, report: &Report) {
    let scored: Vec<(usize, &Method)> =
        report.methods.iter().enumerate().filter(|(_, m)| !m.reliability.is_empty()).collect();
    let mut series: Vec<Series> = scored
        .iter()
        .map(|(i, m)| Series { name: m.name.clone(), colour: colour(&m.name, *i), points: m.reliability.clone() })
        .collect();
    let axes = Axes { title: "Scores and shares of right points", x: "score", y: "share of right points" };
    if scored.is_empty() {
        return;
    }
    series.push(Series { name: "as promised".into(), colour: colour("copy", 0), points: vec![(0., 0.), (1., 1.)] });
    out.push_str("<section>\n<h2>Scores</h2>\n");
    let trusted = scored.iter().filter(|(_, m)| m.trusted_mre.is_finite());
    let trusted: Vec<String> =
        trusted.map(|(_, m)| format!("{} {} of {}", m.name, fixed(m.trusted_mre, 2), fixed(m.mre, 2))).collect();
    let _ = writeln!(
        out,
        "<p>Mean error in {} of the 80 % of points with the highest scores, and of all: {}.</p>",
        escape(&report.unit),
        escape(&trusted.join(", "))
    );
    let caption = "Points in eight groups of rising score: the mean score of a group, which is the estimated probability \
                   that a point is within 1.2 % of the image\u{2019}s longer side of the truth, and how many are.";
    figure(out, &svg::line_chart(&axes, &series), caption, false);
    out.push_str("</section>\n");
}
