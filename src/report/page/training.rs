//! What training left: pseudo-labels and losses.

use super::{figure, series};
use crate::report::svg::{self, Axes, fixed};
use crate::report::text::percent;
use crate::report::{Curve, LossCurves, Report};
use std::fmt::Write;

pub fn pseudo_labels(out: &mut String, report: &Report) {
    let Some(labels) = &report.pseudo_labels else { return };
    let unit = &report.unit;
    let updates = [
        Curve { name: "accepted".into(), points: labels.accepted.clone() },
        Curve { name: "refused".into(), points: labels.refused.clone() },
    ];
    let confidence = [Curve { name: String::new(), points: labels.confidence_error.clone() }];
    let line = |title: &str, y: &str, curves: &[Curve]| svg::line_chart(&Axes { title, x: "step", y }, &series(curves));
    let axes = Axes {
        title: "Confidence and error of the final pseudo-labels",
        x: "confidence",
        y: &format!("error, {unit}"),
    };
    let charts = [
        (
            line("Pseudo-label error over training", &format!("mean error, {unit}"), &labels.error),
            "Mean error of the pseudo-labels before the first update and after each. The truth serves evaluation alone.",
        ),
        (
            line("Pseudo-label spread and steps over training", &format!("mean distance, {unit}"), &labels.spread),
            "How far predictions in two views lie apart, and how far accepted updates would move a label.",
        ),
        (
            line("Pseudo-label updates over training", "updates", &updates),
            "Updates that the gates of spread, shape and step accepted and refused.",
        ),
        (
            svg::scatter(&axes, &series(&confidence)),
            "Confidence against error, a point for each final pseudo-label; where the confidence can be trusted, errors fall to the right.",
        ),
    ];
    if charts.iter().all(|c| c.0.is_empty()) {
        return;
    }
    out.push_str("<section>\n<h2>Pseudo-labels</h2>\n");
    let sum = |points: &[(f64, f64)]| points.iter().map(|p| p.1).filter(|v| v.is_finite()).sum::<f64>();
    let (accepted, refused) = (sum(&labels.accepted), sum(&labels.refused));
    if accepted + refused > 0. {
        let _ = writeln!(
            out,
            "<p>{} of {} updates were accepted ({}).</p>",
            fixed(accepted, 0),
            fixed(accepted + refused, 0),
            percent(accepted / (accepted + refused))
        );
    }
    out.push_str("<div class=\"grid\">\n");
    charts.iter().for_each(|(chart, caption)| figure(out, chart, caption, false));
    out.push_str("</div>\n</section>\n");
}

pub fn losses(out: &mut String, report: &Report) {
    let chart = |l: &LossCurves| {
        svg::line_chart(
            &Axes { title: &format!("Loss of stage {}", l.stage), x: "step", y: "loss" },
            &series(&l.curves),
        )
    };
    let charts: Vec<_> = report.losses.iter().map(|l| (l, chart(l))).filter(|c| !c.1.is_empty()).collect();
    if charts.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>Training losses</h2>\n<p class=\"m\">Lines are means over stretches of steps, bands the range within each.</p>\n<div class=\"grid\">\n");
    for (l, chart) in charts {
        figure(out, &chart, &format!("Loss of stage {}.", l.stage), false);
    }
    out.push_str("</div>\n</section>\n");
}
