//! What became of each landmark's pseudo-labels.

use crate::report::svg::{self, Reach, Series, escape};
use crate::report::{Report, Trajectories, Trajectory};
use std::fmt::Write;

/// Names and colours of the stacked counts.
const COUNTS: [(&str, usize); 4] =
    [("accepted", 2), ("views disagreed", 1), ("against the others", 3), ("too long a step", 5)];
/// Names and colours of the lines.
const LINES: [(&str, usize); 2] = [("error", 0), ("distance from the end", 4)];

pub fn section(out: &mut String, report: &Report) {
    let mut stages: Vec<(&Trajectories, String)> =
        report.trajectories.iter().map(|t| (t, charts(report, t))).filter(|(_, charts)| !charts.is_empty()).collect();
    // What the detectors come from stands first.
    stages.sort_by_key(|(t, _)| t.stage != "single");
    let Some(((first, charts), others)) = stages.split_first() else { return };
    let unit = escape(&report.unit);
    let any = |of: fn(&Trajectory) -> bool| report.trajectories.iter().flat_map(|t| &t.landmarks).any(of);
    let drawn = [any(|t| !t.error.is_empty()), any(|t| !t.distance.is_empty())];
    let lines = match drawn {
        [true, true] => {
            "their mean error (the truth serves evaluation alone), and how far they are, on average, from where they end"
        }
        [true, false] => "their mean error (the truth serves evaluation alone)",
        [false, _] => "how far the labels are, on average, from where they end",
    };
    let _ = writeln!(
        out,
        "<section>\n<h2>Label trajectories</h2>\n<p>Each landmark’s pseudo-labels over the steps of stage {}. Above: how many labels an \
         update moved, and how many it left alone and why.{} All landmarks have the same axes.</p>",
        escape(&first.stage),
        if drawn == [false; 2] { String::new() } else { format!(" Below, {unit}: {lines}.") },
    );
    out.push_str("<p class=\"m swatches\">");
    for (name, colour) in COUNTS {
        let _ = write!(out, "<span><i style=\"background:var(--c{colour})\"></i>{name}</span> ");
    }
    for (_, (name, colour)) in drawn.iter().zip(&LINES).filter(|(drawn, _)| **drawn) {
        let style = if *colour == 0 { "solid" } else { "dashed" };
        let _ =
            write!(out, "<span><i class=\"line\" style=\"border-top:2px {style} var(--c{colour})\"></i>{name}</span> ");
    }
    let _ = writeln!(out, "</p>\n<div class=\"multiples\">\n{charts}</div>");
    for (stage, charts) in others {
        let _ = writeln!(
            out,
            "<details><summary>The same in stage {}</summary>\n<div class=\"multiples\">\n{charts}</div></details>",
            escape(&stage.stage)
        );
    }
    out.push_str("</section>\n");
}

fn charts(report: &Report, trajectories: &Trajectories) -> String {
    let mut reach = Reach::default();
    let all: Vec<([Series; 4], [Series; 2])> = trajectories.landmarks.iter().map(series).collect();
    all.iter().for_each(|(counts, lines)| reach.include(counts, lines));
    let mut out = String::new();
    for (i, (counts, lines)) in all.iter().enumerate() {
        let name = report.landmarks.get(i).cloned().unwrap_or_else(|| format!("landmark {}", i + 1));
        let title = format!("Pseudo-labels of {name} over stage {}", trajectories.stage);
        let chart = svg::small_multiple(&name, &title, "step", counts, lines, reach);
        if !chart.is_empty() {
            let _ = writeln!(out, "{chart}");
        }
    }
    out
}

fn series(t: &Trajectory) -> ([Series; 4], [Series; 2]) {
    let one = |(name, colour): (&str, usize), points: &[(f64, f64)]| Series {
        name: name.into(),
        colour,
        points: points.into(),
    };
    let [a, b, c, d] = COUNTS;
    let counts = [one(a, &t.accepted), one(b, &t.refused_spread), one(c, &t.refused_shape), one(d, &t.refused_step)];
    (counts, [one(LINES[0], &t.error), one(LINES[1], &t.distance)])
}
