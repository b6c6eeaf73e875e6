//! Joint training, seen landmark by landmark.

use super::figure;
use crate::report::svg::{self, Axes, Series, fixed};
use crate::report::{Report, Seesaw};
use std::fmt::Write;

pub fn section(out: &mut String, report: &Report) {
    let Some(seesaw) = &report.seesaw else { return };
    let unit = &report.unit;
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
    let map = svg::heat_map(
        "Change of each landmark’s error between checkpoints of joint training",
        unit,
        "joint training step",
        &rows,
        &columns,
        &cells,
        ("opposed pairs", &shares),
    );
    let mut delta: Vec<(String, f64)> =
        seesaw.delta.iter().enumerate().map(|(i, d)| (name(i), *d)).filter(|d| d.1.is_finite()).collect();
    delta.sort_by(|a, b| b.1.total_cmp(&a.1));
    let bars = svg::diverging_bars(
        "Final error, joint minus single, of each landmark",
        ["joint better", "single better"],
        &delta,
    );
    if map.is_empty() && bars.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>The seesaw</h2>\n");
    let (opposed, all) = pairs.iter().fold((0, 0), |(a, b), (o, n)| (a + o, b + n));
    if all > 0 {
        let k = changes.len();
        let _ = writeln!(
            out,
            "<p>From one checkpoint of joint training to the next, {} % of the landmark pairs ({}) moved against each other: one gained while \
             the other lost. 0 % would be all landmarks moving together; about half is what movements \
             independent of each other give.</p>",
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
    if !bars.is_empty() {
        let better = delta.iter().filter(|d| d.1 > 0.).count();
        out.push_str("<div class=\"grid\">\n");
        let caption = format!(
            "Final mean error, joint − single, {unit}. The single models are better at {better} of {} landmarks.",
            delta.len()
        );
        figure(out, &bars, &caption, false);
        let curves: Vec<Series> = extremes(seesaw);
        let axes = Axes {
            title: "Error of the best, median and worst landmark over joint training",
            x: "joint training step",
            y: &format!("mean error, {unit}"),
            log_y: false,
        };
        figure(
            out,
            &svg::line_chart(&axes, &curves),
            "The landmarks with the lowest, median and highest error at each checkpoint of joint training.",
            false,
        );
        out.push_str("</div>\n");
    }
    out.push_str("</section>\n");
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
