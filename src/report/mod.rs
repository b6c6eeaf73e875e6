//! The report: one self-contained HTML page on a training run, its methods compared, its pictures inside.
//!
//! [`Report`] is plain data; [`html`] turns it into a page with no script and no outside resource. Every section stands
//! only if it has something to show. A number that is missing is NaN here, `null` in JSON and an en dash on the page.

pub mod overlay;
pub mod svg;

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt::Write;
use svg::{Axes, Series, escape, fixed};

/// Everything that a report shows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The page's title.
    pub title: String,
    /// What was found, in one sentence.
    pub conclusion: String,
    /// The unit of every error below, `mm` or `px`.
    pub unit: String,
    /// Landmark names, in the order of every per-landmark list.
    pub landmarks: Vec<String>,
    /// The methods side by side; `copy`, `match`, `joint`, `single` and `fused` have fixed colours.
    pub methods: Vec<Method>,
    /// Loss curves, one chart a stage.
    pub losses: Vec<LossCurves>,
    /// How the pseudo-labels went.
    pub pseudo_labels: Option<PseudoLabels>,
    /// Joint training, seen landmark by landmark.
    pub seesaw: Option<Seesaw>,
    /// Pictures of detections.
    pub gallery: Vec<GalleryItem>,
    /// How the results were obtained.
    pub provenance: Provenance,
}

/// One method's figures.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Method {
    /// `copy`, `match`, `joint`, `single`, `fused`, or any other name.
    pub name: String,
    /// Mean radial error.
    #[serde(deserialize_with = "number")]
    pub mre: f64,
    /// Standard deviation of the radial errors.
    #[serde(deserialize_with = "number")]
    pub sd: f64,
    /// The 95 % confidence interval of the mean.
    #[serde(deserialize_with = "number")]
    pub interval: Option<(f64, f64)>,
    /// Successful detection rates: (threshold in the report's unit, fraction in \[0, 1\]).
    #[serde(deserialize_with = "number")]
    pub sdr: Vec<(f64, f64)>,
    /// Trained parameters.
    pub parameters: u64,
    /// Arena bytes of the detection plan; 0 where there is none.
    pub arena_bytes: u64,
    /// Milliseconds to detect all landmarks in one image; 0 where not measured.
    #[serde(deserialize_with = "number")]
    pub ms_per_image: f64,
    /// (mean, standard deviation) of the radial error, one a landmark.
    #[serde(deserialize_with = "number")]
    pub per_landmark: Vec<(f64, f64)>,
}

/// A named curve.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Curve {
    /// The curve's name; a method's name gives it the method's colour.
    pub name: String,
    /// (x, y) in ascending x.
    #[serde(deserialize_with = "number")]
    pub points: Vec<(f64, f64)>,
}

/// The losses of one stage over its steps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LossCurves {
    /// The stage's name.
    pub stage: String,
    /// Whether the loss axis is logarithmic.
    pub log: bool,
    /// The losses.
    pub curves: Vec<Curve>,
}

/// Pseudo-labels over training steps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PseudoLabels {
    /// Error against the truth, in the report's unit, where the truth is known.
    pub error: Vec<Curve>,
    /// Spread under augmentation, in the report's unit.
    pub spread: Vec<Curve>,
    /// Updates accepted at each step.
    #[serde(deserialize_with = "number")]
    pub accepted: Vec<(f64, f64)>,
    /// Updates refused by the gate at each step.
    #[serde(deserialize_with = "number")]
    pub refused: Vec<(f64, f64)>,
    /// (confidence, error) of the final pseudo-labels: whether the confidence can be trusted.
    #[serde(deserialize_with = "number")]
    pub confidence_error: Vec<(f64, f64)>,
}

/// Joint training at checkpoints: does one landmark's gain come with another's loss?
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Seesaw {
    /// The checkpoints' steps.
    #[serde(deserialize_with = "number")]
    pub steps: Vec<f64>,
    /// Mean error, `[checkpoint][landmark]`, in the report's unit.
    #[serde(deserialize_with = "number")]
    pub errors: Vec<Vec<f64>>,
    /// Final joint − single error, one a landmark; positive: the single model is better.
    #[serde(deserialize_with = "number")]
    pub delta: Vec<f64>,
}

impl Seesaw {
    /// Changes of error from each checkpoint to the next, `[landmark][interval]`; NaN where an end is missing.
    pub fn changes(&self) -> Vec<Vec<f64>> {
        let landmarks = self.errors.iter().map(Vec::len).max().unwrap_or(0);
        let error = |at: usize, k: usize| self.errors[at].get(k).copied().unwrap_or(f64::NAN);
        (0..landmarks).map(|k| (1..self.errors.len()).map(|t| error(t, k) - error(t - 1, k)).collect()).collect()
    }

    /// For each interval between checkpoints: (landmark pairs of which one gained while the other lost, all pairs).
    pub fn opposed_pairs(&self) -> Vec<(usize, usize)> {
        let changes = self.changes();
        let opposed = |t: usize| {
            let count = |of: fn(f64) -> bool| changes.iter().filter(|c| of(c[t])).count();
            let n = count(f64::is_finite);
            (count(|v| v.is_finite() && v < 0.) * count(|v| v.is_finite() && v > 0.), n * n.saturating_sub(1) / 2)
        };
        (0..self.errors.len().saturating_sub(1)).map(opposed).collect()
    }
}

/// A picture with its caption.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GalleryItem {
    /// What it shows; also the text for those who cannot see it.
    pub caption: String,
    /// A PNG file ([`overlay::png_bytes`]). Not part of the JSON, where bytes would be a list of numbers.
    #[serde(skip)]
    pub png: Vec<u8>,
}

/// How the results were obtained.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The command line.
    pub command: String,
    /// The effective configuration (TOML).
    pub config: String,
    /// The device that trained.
    pub device: String,
    /// Wall-clock seconds; 0 where not measured.
    #[serde(deserialize_with = "number")]
    pub seconds: f64,
    /// (what, version), such as ("onemark", "0.1.0").
    pub versions: Vec<(String, String)>,
}

/// What may hold a missing number. JSON has no NaN: `serde_json` writes `null`, and this reads it back.
trait MaybeMissing {
    type Json: for<'de> Deserialize<'de>;
    fn from_json(json: Self::Json) -> Self;
}

impl MaybeMissing for f64 {
    type Json = Option<f64>;
    fn from_json(json: Self::Json) -> Self {
        json.unwrap_or(f64::NAN)
    }
}

impl MaybeMissing for (f64, f64) {
    type Json = (Option<f64>, Option<f64>);
    fn from_json((a, b): Self::Json) -> Self {
        (f64::from_json(a), f64::from_json(b))
    }
}

impl<T: MaybeMissing> MaybeMissing for Vec<T> {
    type Json = Vec<T::Json>;
    fn from_json(json: Self::Json) -> Self {
        json.into_iter().map(T::from_json).collect()
    }
}

impl<T: MaybeMissing> MaybeMissing for Option<T> {
    type Json = Option<T::Json>;
    fn from_json(json: Self::Json) -> Self {
        json.map(T::from_json)
    }
}

fn number<'de, D: Deserializer<'de>, T: MaybeMissing>(deserializer: D) -> Result<T, D::Error> {
    T::Json::deserialize(deserializer).map(T::from_json)
}

const PAGE_STYLE: &str = "\
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);\
font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif}
main{max-width:62rem;margin:0 auto;padding:2.5rem 1rem 4rem}h1{font-size:1.15rem;font-weight:600;color:var(--muted);margin:0 0 .5rem}
h2{font-size:1.3rem;line-height:1.3;margin:3.2rem 0 .4rem;padding-top:1.2rem;border-top:1px solid var(--rule)}h3{font-size:1rem;margin:0 0 .4rem}
p{margin:.4rem 0;max-width:46rem;overflow-wrap:break-word}.lead{font-size:clamp(1.35rem,1rem + 1.8vw,2rem);line-height:1.3;font-weight:600;letter-spacing:-.01em;margin:0 0 .8rem;max-width:none;text-wrap:balance}
.note{font-size:.875rem;margin-top:.7rem}.m,figcaption,caption{color:var(--muted)}figcaption,caption{font-size:.875rem;text-align:left;max-width:46rem}caption{padding-bottom:.5rem}
figure{margin:1.4rem 0 0}.scroll{overflow-x:auto}.scroll:focus-visible{outline:2px solid var(--c0)}.wide svg.chart{min-width:44rem}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1.6rem 1.5rem;margin-top:1.2rem}.grid figure{margin:0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.94rem;margin-top:1rem}
th,td{padding:.5rem .6rem;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap;vertical-align:top}
thead th{font-weight:600;font-size:.84rem;color:var(--muted);vertical-align:bottom}thead tr:not(:last-child) th[colspan]{border-bottom:0;padding-bottom:0}thead th[colspan]{text-align:center}
th:first-child,td:first-child{text-align:left}thead tr+tr th:first-child{text-align:right}tbody th{font-weight:600}tr:first-child>th:first-child,tbody th{position:sticky;left:0;background:var(--paper)}td small{display:block;color:var(--muted);font-size:.8rem}td strong{font-weight:700}
.chip{width:1rem;height:1rem;vertical-align:-.15rem;margin-right:.45rem}.gallery img{display:block;width:100%;height:auto;border-radius:4px;background:#000}.gallery figcaption{margin-top:.4rem;overflow-wrap:anywhere}
.key{display:inline-block;width:7rem;height:.7rem;border-radius:2px;margin:0 .4rem;print-color-adjust:exact;-webkit-print-color-adjust:exact}
details{margin-top:1.2rem}summary{cursor:pointer;font-weight:600}dl{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1.2rem;margin:1rem 0}dt{color:var(--muted)}dd{margin:0;overflow-wrap:anywhere}
pre{background:var(--band);border:1px solid var(--rule);border-radius:4px;padding:.8rem 1rem;overflow-x:auto;font:.85rem/1.5 ui-monospace,'Liberation Mono',monospace;margin:.3rem 0 1rem}
@media print{main{max-width:none;padding:0}h2{break-after:avoid}figure,tr{break-inside:avoid}.scroll{overflow:visible}.wide svg.chart{min-width:0}pre{white-space:pre-wrap}\
table{font-size:.8rem}th,td{padding:.3rem}details::details-content{content-visibility:visible;height:auto}}
";

/// The report as one HTML page: no script, nothing fetched, every string escaped.
pub fn html(report: &Report) -> String {
    let title = if report.title.is_empty() { "onemark report" } else { &report.title };
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n<style>\n{1}{PAGE_STYLE}</style>\n\
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
    key_figures(&mut out, report);
    per_landmark(&mut out, report);
    seesaw(&mut out, report);
    pseudo_labels(&mut out, report);
    losses(&mut out, report);
    gallery(&mut out, report);
    how(&mut out, provenance);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn key_figures(out: &mut String, report: &Report) {
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

fn per_landmark(out: &mut String, report: &Report) {
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

fn seesaw(out: &mut String, report: &Report) {
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

fn pseudo_labels(out: &mut String, report: &Report) {
    let Some(labels) = &report.pseudo_labels else { return };
    let unit = &report.unit;
    let updates = [
        Curve { name: "accepted".into(), points: labels.accepted.clone() },
        Curve { name: "refused".into(), points: labels.refused.clone() },
    ];
    let confidence = [Curve { name: String::new(), points: labels.confidence_error.clone() }];
    let line = |title: &str, y: &str, curves: &[Curve]| {
        svg::line_chart(&Axes { title, x: "step", y, log_y: false }, &series(curves))
    };
    let axes = Axes {
        title: "Confidence and error of the final pseudo-labels",
        x: "confidence",
        y: &format!("error, {unit}"),
        log_y: false,
    };
    let charts = [
        (
            line("Pseudo-label error over training", &format!("mean error, {unit}"), &labels.error),
            "Error of the pseudo-labels against the truth, which serves evaluation alone.",
        ),
        (
            line("Pseudo-label spread over training", &format!("spread, {unit}"), &labels.spread),
            "Spread of the predictions under augmentation.",
        ),
        (
            line("Pseudo-label updates over training", "updates", &updates),
            "Updates that the gate accepted and refused (confidence, spread, shape, step).",
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

fn losses(out: &mut String, report: &Report) {
    let chart = |l: &LossCurves| {
        svg::line_chart(
            &Axes { title: &format!("Loss of stage {}", l.stage), x: "step", y: "loss", log_y: l.log },
            &series(&l.curves),
        )
    };
    let charts: Vec<_> = report.losses.iter().map(|l| (l, chart(l))).filter(|c| !c.1.is_empty()).collect();
    if charts.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>Training losses</h2>\n<p class=\"m\">Lines are means over stretches of steps, bands the range within each.</p>\n<div class=\"grid\">\n");
    for (l, chart) in charts {
        let caption = if l.log { format!("{}. Logarithmic loss axis.", l.stage) } else { format!("{}.", l.stage) };
        figure(out, &chart, &caption, false);
    }
    out.push_str("</div>\n</section>\n");
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

fn percent(fraction: f64) -> String {
    if fraction.is_finite() { format!("{} %", fixed(fraction * 100., 1)) } else { "–".into() }
}

/// 950, 12.3 k, 4.56 M: three significant digits.
fn count(n: u64) -> String {
    match n {
        0..1000 => n.to_string(),
        1000..1_000_000 => format!("{} k", significant(n as f64 / 1e3)),
        _ => format!("{} M", significant(n as f64 / 1e6)),
    }
}

fn bytes(n: u64) -> String {
    match n {
        0 => "–".into(),
        1..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{} KiB", significant(n as f64 / 1024.)),
        1_048_576..1_073_741_824 => format!("{} MiB", significant(n as f64 / 1_048_576.)),
        _ => format!("{} GiB", significant(n as f64 / 1_073_741_824.)),
    }
}

fn milliseconds(ms: f64) -> String {
    match ms {
        ms if !ms.is_finite() || ms <= 0. => "–".into(),
        ms if ms < 1. => format!("{} µs", significant(ms * 1e3)),
        ms if ms < 1000. => format!("{} ms", significant(ms)),
        ms => format!("{} s", significant(ms / 1e3)),
    }
}

fn significant(v: f64) -> String {
    fixed(v, if v < 9.995 { 2 } else { usize::from(v < 99.95) })
}

fn duration(seconds: f64) -> String {
    if !(0. ..1e12).contains(&seconds) {
        return "–".into();
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{} s", significant(seconds)),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// RFC 4648, section 4, padded.
fn base64(data: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(data.len().div_ceil(3) * 4);
    for chunk in data.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let sextet = (bits >> (18 - 6 * i) & 63) as usize;
            out.push(if i <= chunk.len() { ALPHABET[sextet] as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odd(text: &str) -> Report {
        let (v, pair) = (f64::NAN, (f64::NAN, f64::INFINITY));
        let curve = || vec![Curve { name: text.into(), points: vec![pair, (1., 2.), (2., v)] }];
        let method = Method {
            name: text.into(),
            mre: v,
            sd: f64::INFINITY,
            interval: Some(pair),
            sdr: vec![(2., v), (v, 0.5)],
            ms_per_image: v,
            per_landmark: vec![(1., v), pair],
            ..Method::default()
        };
        Report {
            title: text.into(),
            conclusion: text.into(),
            unit: text.into(),
            landmarks: vec![text.into()],
            methods: vec![method.clone(), Method { mre: 1., ..method }],
            losses: vec![LossCurves { stage: text.into(), log: true, curves: curve() }],
            pseudo_labels: Some(PseudoLabels {
                error: curve(),
                spread: curve(),
                accepted: vec![(1., 5.)],
                refused: vec![pair],
                confidence_error: vec![(0.5, 1.), pair],
            }),
            seesaw: Some(Seesaw {
                steps: vec![0., v],
                errors: vec![vec![1., 2., v], vec![2., 1.], vec![v]],
                delta: vec![v, 0.3, -0.2],
            }),
            gallery: vec![GalleryItem { caption: text.into(), png: vec![1, 2] }, GalleryItem::default()],
            provenance: Provenance {
                command: text.into(),
                config: text.into(),
                device: text.into(),
                seconds: v,
                versions: vec![(text.into(), text.into())],
            },
        }
    }

    #[test]
    fn every_string_is_escaped() {
        let page = html(&odd("<script>\"'&</script>"));
        assert!(
            !page.contains("<script") && !page.contains("</script") && page.contains("&lt;script&gt;&quot;&#39;&amp;")
        );
        assert!(!page.contains("http:") && !page.contains("https:"), "nothing outside is named");
    }

    #[test]
    fn missing_numbers_are_never_printed() {
        let page = html(&odd("text"));
        let words = page.replace(|c: char| !c.is_ascii_alphanumeric(), " ");
        assert!(!words.split(' ').any(|w| w == "NaN" || w == "inf"));
    }

    #[test]
    fn an_empty_report_is_a_page_without_sections() {
        let empty = Report {
            methods: vec![],
            seesaw: Some(Seesaw::default()),
            pseudo_labels: Some(PseudoLabels::default()),
            ..Report::default()
        };
        let page = html(&empty);
        assert!(page.contains("<h1>onemark report</h1>") && page.ends_with("</html>\n"));
        assert!(!page.contains("<section") && !page.contains("<svg") && !page.contains("<table"));
        html(&Report { methods: vec![Method::default()], ..Report::default() });
    }

    #[test]
    fn json_keeps_missing_numbers() {
        let report = odd("text");
        let back: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert!(back.methods[0].mre.is_nan() && back.seesaw.as_ref().unwrap().errors[2][0].is_nan());
        assert_eq!(back.methods[1].mre, 1.);
        assert!(serde_json::from_str::<Report>("{}").unwrap().methods.is_empty());
    }

    #[test]
    fn opposed_pairs_are_gains_times_losses() {
        let seesaw = Seesaw {
            errors: vec![vec![1.; 4], vec![0.5, 0.5, 2., 1.], vec![0.4, 0.4, 1., f64::NAN]],
            ..Seesaw::default()
        };
        assert_eq!(seesaw.opposed_pairs(), [(2, 6), (0, 3)]);
    }

    #[test]
    fn base64_vectors_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([count(999), count(12_345), count(4_560_000)], ["999", "12.3 k", "4.56 M"]);
        assert_eq!([bytes(0), bytes(1536), bytes(300 << 20)], ["–", "1.50 KiB", "300 MiB"]);
        assert_eq!(
            [milliseconds(0.25), milliseconds(12.34), milliseconds(2500.), milliseconds(f64::NAN)],
            ["250 µs", "12.3 ms", "2.50 s", "–"]
        );
        assert_eq!([duration(4.2), duration(102.), duration(7260.)], ["4.20 s", "1 min 42 s", "2 h 1 min"]);
    }
}
