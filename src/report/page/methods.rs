//! The methods side by side: key figures, and the error of each landmark.

use super::{colour, figure};
use crate::report::svg::{self, Series, escape, fixed};
use crate::report::text::{bytes, count, milliseconds, percent};
use crate::report::{Method, Report};
use std::fmt::Write;

pub fn key_figures(out: &mut String, report: &Report) {
    let (methods, unit) = (&report.methods, escape(&report.unit));
    if methods.is_empty() {
        return;
    }
    let mut thresholds: Vec<f64> = methods.iter().flat_map(|m| &m.sdr).map(|s| s.0).filter(|t| t.is_finite()).collect();
    thresholds.sort_by(f64::total_cmp);
    thresholds.dedup();
    let rate = |m: &Method, t: f64| m.sdr.iter().find(|s| s.0 == t).map_or(f64::NAN, |s| s.1);
    let single = methods.iter().find(|m| m.name == "single");
    let intervals = methods.iter().any(|m| m.interval.is_some());
    let span = if thresholds.is_empty() { "" } else { " rowspan=\"2\"" };
    out.push_str("<section>\n<h2>Key figures</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Key figures\">\n<table>\n");
    let _ = write!(
        out,
        "<caption>Errors, rates and costs, a row for each method</caption>\n\
         <thead><tr><th scope=\"col\"{span}>Method</th><th scope=\"col\"{span}>MRE, {unit}</th>",
    );
    if !thresholds.is_empty() {
        let _ = write!(out, "<th scope=\"colgroup\" colspan=\"{}\">SDR within</th>", thresholds.len());
    }
    let _ = write!(
        out,
        "<th scope=\"col\"{span}>Parameters</th><th scope=\"col\"{span}>Arena</th><th scope=\"col\"{span}>Time per image</th></tr>"
    );
    if !thresholds.is_empty() {
        out.push_str("<tr>");
        for t in &thresholds {
            let _ = write!(out, "<th scope=\"col\">{} {unit}</th>", fixed(*t, usize::from(t.fract() != 0.)));
        }
        out.push_str("</tr>");
    }
    out.push_str("</thead>\n<tbody>\n");
    let least = methods.iter().map(|m| m.mre).filter(|v| v.is_finite()).fold(f64::INFINITY, f64::min);
    let bold =
        |text: String, best: bool| if best && methods.len() > 1 { format!("<strong>{text}</strong>") } else { text };
    for (i, m) in methods.iter().enumerate() {
        let chip = format!(
            "<svg class=\"chip\" viewBox=\"0 0 16 16\" aria-hidden=\"true\" style=\"--s:var(--c{0})\">{1}</svg>",
            colour(&m.name, i),
            svg::mark(colour(&m.name, i), 8., 8., 5.5).replace("class=\"f\"", "fill=\"var(--s)\"")
        );
        let sd = if m.sd.is_finite() { format!(" ± {}", fixed(m.sd, 2)) } else { String::new() };
        let interval = m.interval.filter(|i| i.0.is_finite() && i.1.is_finite());
        let interval =
            interval.map_or(String::new(), |(a, b)| format!("<small>{} to {}</small>", fixed(a, 2), fixed(b, 2)));
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{chip}{}</th><td>{}{sd}{interval}</td>",
            escape(&m.name),
            bold(fixed(m.mre, 2), m.mre == least)
        );
        for t in &thresholds {
            let best = methods.iter().map(|m| rate(m, *t)).filter(|v| v.is_finite()).fold(0., f64::max);
            let _ = write!(out, "<td>{}</td>", bold(percent(rate(m, *t)), rate(m, *t) == best && best > 0.));
        }
        let share = |of: fn(&Method) -> f64| match single {
            Some(s) if s.name != m.name && of(s) > 0. && of(m) > 0. => {
                format!("<small>{} %</small>", fixed(of(m) / of(s) * 100., 0))
            }
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "<td>{}{}</td><td>{}{}</td><td>{}{}</td></tr>",
            count(m.parameters),
            share(|m| m.parameters as f64),
            bytes(m.arena_bytes),
            share(|m| m.arena_bytes as f64),
            milliseconds(m.ms_per_image),
            share(|m| m.ms_per_image)
        );
    }
    let _ = writeln!(
        out,
        "</tbody>\n</table>\n</div>\n<p class=\"m note\">MRE: mean radial error ± standard deviation{}. {}{}\
         Arena: memory that detection works in{}.</p>\n</section>",
        if intervals { ", below it the 95 % confidence interval of the mean" } else { "" },
        if thresholds.is_empty() {
            ""
        } else {
            "SDR: successful detection rate, the share of landmarks within a distance. "
        },
        if methods.len() > 1 { "Best error and rates in bold. " } else { "" },
        if single.is_some() { "; percentages are of the single models" } else { "" },
    );
}

pub fn per_landmark(out: &mut String, report: &Report) {
    let unit = &report.unit;
    let k = report.methods.iter().map(|m| m.per_landmark.len()).max().unwrap_or(0);
    let name = |i: usize| report.landmarks.get(i).cloned().unwrap_or_else(|| format!("landmark {}", i + 1));
    let error = |m: &Method, i: usize| m.per_landmark.get(i).map_or(f64::NAN, |p| p.0);
    let reach =
        |m: &Method| m.per_landmark.iter().map(|p| p.0 + p.1.max(0.)).filter(|v| v.is_finite()).fold(0., f64::max);
    let others = report.methods.iter().filter(|m| m.name != "copy").map(reach).fold(0., f64::max);
    let dwarfs = |m: &Method| m.name == "copy" && others > 0. && reach(m) > 2. * others;
    let shown: Vec<(usize, &Method)> = report.methods.iter().enumerate().filter(|(_, m)| !dwarfs(m)).collect();
    let worst = |i: usize| shown.iter().map(|(_, m)| error(m, i)).filter(|v| v.is_finite()).fold(0., f64::max);
    let mut order: Vec<usize> = (0..k).collect();
    order.sort_by(|a, b| worst(*b).total_cmp(&worst(*a)));
    let series: Vec<Series> = shown
        .iter()
        .map(|(i, m)| Series {
            name: m.name.clone(),
            colour: colour(&m.name, *i),
            points: order.iter().map(|i| m.per_landmark.get(*i).copied().unwrap_or((f64::NAN, f64::NAN))).collect(),
        })
        .collect();
    let rows: Vec<String> = order.iter().map(|i| name(*i)).collect();
    let chart = svg::dot_plot(
        "Mean radial error of each landmark, by method",
        &format!("radial error, {unit}"),
        &rows,
        &series,
    );
    if chart.is_empty() {
        return;
    }
    let mut caption =
        String::from("Mean radial error with one standard deviation to each side; the hardest landmarks first.");
    if shown.len() < report.methods.len() {
        caption.push_str(" Copy, which puts the template’s coordinates on every image, is left out: its errors would dwarf the others.");
    }
    let wins = |j: usize| {
        let best = |i: usize| {
            report.methods.iter().map(|m| error(m, i)).filter(|v| v.is_finite()).fold(f64::INFINITY, f64::min)
        };
        (0..k).filter(|i| error(&report.methods[j], *i) == best(*i)).count()
    };
    let mut won: Vec<(usize, &str)> =
        report.methods.iter().enumerate().map(|(j, m)| (wins(j), m.name.as_str())).filter(|w| w.0 > 0).collect();
    won.sort_by_key(|w| std::cmp::Reverse(w.0));
    out.push_str("<section>\n<h2>Error per landmark</h2>\n");
    if report.methods.len() > 1 {
        let won: Vec<String> = won.iter().map(|(n, name)| format!("{name} at {n}")).collect();
        let _ = writeln!(out, "<p>Lowest mean error, of {k} landmarks: {}.</p>", escape(&won.join(", ")));
    }
    figure(out, &chart, &caption, true);
    out.push_str("<details><summary>The same in numbers</summary>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Error per landmark\">\n");
    let _ = write!(
        out,
        "<table><caption>Mean radial error ± standard deviation, {}</caption>\n<thead><tr><th scope=\"col\">Landmark</th>",
        escape(unit)
    );
    report.methods.iter().for_each(|m| {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(&m.name));
    });
    out.push_str("</tr></thead>\n<tbody>\n");
    for i in 0..k {
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escape(&name(i)));
        for m in &report.methods {
            let (mean, sd) = m.per_landmark.get(i).copied().unwrap_or((f64::NAN, f64::NAN));
            let sd = if sd.is_finite() { format!(" ± {}", fixed(sd, 2)) } else { String::new() };
            let _ = write!(out, "<td>{}{sd}</td>", fixed(mean, 2));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n</div></details>\n</section>\n");
}
