//! Training of what landmarks share, seen landmark by landmark.

use super::figure;
use crate::report::svg::{self, Axes, Series, fixed};
use crate::report::text::percent;
use crate::report::{Report, Seesaw};
use std::fmt::Write;

pub fn section(out: &mut String, report: &Report) {
    let mut parts = String::new();
    for seesaw in &report.seesaws {
        stage(&mut parts, report, seesaw);
    }
    if parts.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>The seesaw</h2>\n");
    table(out, report);
    out.push_str(&parts);
    out.push_str("</section>\n");
}

/// What trains, as headings and sentences call it.
fn called(stage: &str) -> &str {
    match stage {
        "joint" => "joint training",
        "fused" => "the fusion",
        other => other,
    }
}

/// A row for each phase of each stage.
fn table(out: &mut String, report: &Report) {
    let phases: Vec<_> = report.seesaws.iter().flat_map(Seesaw::phases).collect();
    if phases.is_empty() {
        return;
    }
    out.push_str(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"The seesaw\">\n<table><caption>What landmarks do to \
         each other from one checkpoint to the next</caption>\n<thead><tr><th scope=\"col\">Training</th>\
         <th scope=\"col\">Intervals</th><th scope=\"col\">Opposed pairs</th><th scope=\"col\">By chance</th><th scope=\"col\">Correlation</th>\
         <th scope=\"col\">Negative</th><th scope=\"col\">Worse</th></tr></thead>\n<tbody>\n",
    );
    for phase in phases {
        let of = match (phase.frozen, report.seesaws.iter().any(|s| s.stage == phase.stage && s.frozen.is_some())) {
            (true, _) => ", shared weights frozen",
            (false, true) => ", shared weights free",
            (false, false) => "",
        };
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}{of}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} of {}</td></tr>",
            svg::escape(&phase.stage),
            phase.intervals,
            percent(phase.opposed as f64 / phase.pairs as f64),
            percent(phase.chance / phase.pairs as f64),
            fixed(phase.correlation, 2),
            percent(phase.negative),
            phase.worse,
            phase.landmarks
        );
    }
    out.push_str(
        "</tbody></table>\n</div>\n<p class=\"m note\">Opposed: one landmark of a pair gained while the other lost. By chance: how many pairs \
         would be, were the same changes of each landmark in any order; clearly more than that is a seesaw, clearly less is moving together. \
         Correlation: of the changes of two landmarks’ errors, the mean over all pairs, where a phase has three intervals (the common fall \
         at first is part of it); negative: the share of pairs where it is below 0. Worse: landmarks whose error grew over the phase.</p>\n",
    );
}

fn stage(out: &mut String, report: &Report, seesaw: &Seesaw) {
    let (unit, what) = (&report.unit, called(&seesaw.stage));
    let name = |i: usize| report.landmarks.get(i).cloned().unwrap_or_else(|| format!("landmark {}", i + 1));
    let changes = seesaw.changes();
    let total = |i: usize| changes[i].iter().filter(|v| v.is_finite()).sum::<f64>();
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_by(|a, b| total(*a).total_cmp(&total(*b)));
    let rows: Vec<String> = order.iter().map(|i| name(*i)).collect();
    let cells: Vec<Vec<f64>> = order.iter().map(|i| changes[*i].clone()).collect();
    let pairs = seesaw.opposed_pairs();
    let shares: Vec<f64> = pairs.iter().map(|(o, n)| if *n > 0 { *o as f64 / *n as f64 } else { f64::NAN }).collect();
    let columns: Vec<f64> =
        (1..seesaw.errors.len()).map(|t| seesaw.steps.get(t).copied().unwrap_or(t as f64)).collect();
    let x = format!("step of {what}");
    let map = svg::heat_map(
        &format!("Change of each landmark’s error between checkpoints of {what}"),
        unit,
        &x,
        &rows,
        &columns,
        &cells,
        ("opposed pairs", &shares),
    );
    let mut delta: Vec<(String, f64)> =
        seesaw.delta.iter().enumerate().map(|(i, d)| (name(i), *d)).filter(|d| d.1.is_finite()).collect();
    delta.sort_by(|a, b| b.1.total_cmp(&a.1));
    let bars = svg::diverging_bars(
        &format!("Final error, {} minus single, of each landmark", seesaw.stage),
        [&format!("{} better", seesaw.stage), "single better"],
        &delta,
    );
    if map.is_empty() && bars.is_empty() {
        return;
    }
    let _ = writeln!(out, "<h3 class=\"stage\">{}</h3>", svg::escape(&capital(what)));
    let (opposed, all) = pairs.iter().fold((0, 0), |(a, b), (o, n)| (a + o, b + n));
    if all > 0 {
        let k = changes.len();
        let frozen = seesaw.frozen.filter(|step| step.is_finite());
        let frozen = frozen
            .map_or(String::new(), |step| format!(" From step {} on, what landmarks share is frozen.", fixed(step, 0)));
        let _ = writeln!(
            out,
            "<p>From one checkpoint of {} to the next, {} % of the landmark pairs ({}) moved against each other.{frozen}</p>",
            svg::escape(what),
            fixed(opposed as f64 / all as f64 * 100., 0),
            k * (k - 1) / 2
        );
    }
    figure(
        out,
        &map,
        "Each column is the change since the checkpoint before, each row a landmark, those that gained most over the whole training first. Columns of both colours are the seesaw. Beneath: the share of landmark pairs that moved against each other.",
        true,
    );
    out.push_str("<div class=\"grid\">\n");
    let better = delta.iter().filter(|d| d.1 > 0.).count();
    let caption = format!(
        "Final mean error, {} − single, {unit}. The single models are better at {better} of {} landmarks.",
        seesaw.stage,
        delta.len()
    );
    figure(out, &bars, &caption, false);
    let title = format!("Error of the best, median and worst landmark over {what}");
    let axes = Axes { title: &title, x: &x, y: &format!("mean error, {unit}") };
    let caption = format!("The landmarks with the lowest, median and highest error at each checkpoint of {what}.");
    figure(out, &svg::line_chart(&axes, &extremes(seesaw)), &caption, false);
    out.push_str("</div>\n");
}

/// With a capital at its start.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Lowest, median and highest landmark error at each checkpoint.
fn extremes(seesaw: &Seesaw) -> Vec<Series> {
    let at = |rank: fn(usize) -> usize| {
        let value = |(t, errors): (usize, &Vec<f64>)| {
            let mut errors: Vec<f64> = errors.iter().copied().filter(|v| v.is_finite()).collect();
            errors.sort_by(f64::total_cmp);
            let v = if errors.is_empty() { f64::NAN } else { errors[rank(errors.len())] };
            (seesaw.steps.get(t).copied().unwrap_or(t as f64), v)
        };
        seesaw.errors.iter().enumerate().map(value).collect()
    };
    let series = |name: &str, colour, points| Series { name: name.into(), colour, points };
    vec![series("lowest", 0, at(|_| 0)), series("median", 4, at(|n| n / 2)), series("highest", 1, at(|n| n - 1))]
}
