//! The report as one HTML page, section by section.

mod methods;
mod reliability;
mod seesaw;
mod training;
mod trajectories;

use super::svg::{self, Series, escape};
use super::text::{base64, duration};
use super::{Curve, GalleryItem, Provenance, Report, overlay};
use std::fmt::Write;

const STYLE: &str = include_str!("style.css");

/// The report as one HTML page: no script, nothing fetched, every string escaped.
pub fn html(report: &Report) -> String {
    let title = if report.title.is_empty() { "onemark report" } else { &report.title };
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n<style>\n{1}{STYLE}</style>\n\
         </head>\n<body>\n<main>\n<h1>{0}</h1>\n",
        escape(title),
        svg::STYLE
    );
    if !report.conclusion.is_empty() {
        let _ = writeln!(out, "<p class=\"lead\">{}</p>", escape(&report.conclusion));
    }
    let provenance = &report.provenance;
    let mut facts: Vec<String> = Vec::new();
    facts.extend((!report.landmarks.is_empty()).then(|| format!("{} landmarks", report.landmarks.len())));
    facts.extend((!provenance.device.is_empty()).then(|| provenance.device.clone()));
    facts.extend((provenance.seconds > 0.).then(|| duration(provenance.seconds)));
    if !facts.is_empty() {
        let _ = writeln!(out, "<p class=\"m\">{}</p>", escape(&facts.join(" · ")));
    }
    methods::key_figures(&mut out, report);
    methods::per_landmark(&mut out, report);
    reliability::section(&mut out, report);
    seesaw::section(&mut out, report);
    training::pseudo_labels(&mut out, report);
    trajectories::section(&mut out, report);
    training::losses(&mut out, report);
    gallery(&mut out, report);
    how(&mut out, provenance);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn gallery(out: &mut String, report: &Report) {
    let items: Vec<&GalleryItem> = report.gallery.iter().filter(|g| !g.png.is_empty()).collect();
    if items.is_empty() {
        return;
    }
    let [low, mid, high] = [0., 0.5, 1.].map(|s| overlay::score_colour(s).map(|c| c.to_string()).join(" "));
    let _ = writeln!(
        out,
        "<section>\n<h2>Detections</h2>\n<p class=\"m\">Rings: detections, coloured by score, 0 \
         <span class=\"key\" style=\"background:linear-gradient(90deg,rgb({low}),rgb({mid}),rgb({high}))\"></span> 1. Crosses: the truth, where it is known.</p>\n<div class=\"grid gallery\">"
    );
    for item in items {
        let caption = escape(&item.caption);
        let _ = writeln!(
            out,
            "<figure><img alt=\"{caption}\" src=\"data:image/png;base64,{}\"><figcaption>{caption}</figcaption></figure>",
            base64(&item.png)
        );
    }
    out.push_str("</div>\n</section>\n");
}

fn how(out: &mut String, provenance: &Provenance) {
    let mut facts: Vec<(&str, String)> = Vec::new();
    facts.extend((!provenance.device.is_empty()).then(|| ("Device", provenance.device.clone())));
    facts.extend((provenance.seconds > 0.).then(|| ("Duration", duration(provenance.seconds))));
    facts.extend(provenance.versions.iter().map(|(what, version)| (what.as_str(), version.clone())));
    if facts.is_empty() && provenance.command.is_empty() && provenance.config.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>How it was obtained</h2>\n<details><summary>Command, configuration, device, versions</summary>\n<dl>");
    for (what, text) in facts {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(what), escape(&text));
    }
    out.push_str("</dl>\n");
    for (what, text) in [("Command", &provenance.command), ("Configuration", &provenance.config)] {
        if !text.is_empty() {
            let _ = writeln!(out, "<h3>{what}</h3>\n<pre>{}</pre>", escape(text));
        }
    }
    out.push_str("</details>\n</section>\n");
}

fn figure(out: &mut String, chart: &str, caption: &str, wide: bool) {
    if !chart.is_empty() {
        let (open, close) =
            if wide { ("<div class=\"scroll wide\" tabindex=\"0\" role=\"group\">", "</div>") } else { ("", "") };
        let _ = writeln!(out, "<figure>{open}{chart}{close}<figcaption>{}</figcaption></figure>", escape(caption));
    }
}

/// A method keeps its colour in every chart; other names take theirs by position.
fn colour(name: &str, position: usize) -> usize {
    match name {
        "single" => 0,
        "joint" | "refused" => 1,
        "fused" | "accepted" => 2,
        "match" => 3,
        "copy" => 4,
        _ => position,
    }
}

fn series(curves: &[Curve]) -> Vec<Series> {
    let one =
        |(i, c): (usize, &Curve)| Series { name: c.name.clone(), colour: colour(&c.name, i), points: c.points.clone() };
    curves.iter().enumerate().map(one).collect()
}
