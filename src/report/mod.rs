//! The report: one self-contained HTML page on a training run, its methods compared, its pictures inside.
//!
//! [`Report`] is plain data; [`html`] turns it into a page with no script and no outside resource. Every section stands
//! only if it has something to show. A number that is missing is NaN here and an en dash on the page.

pub mod overlay;
mod page;
mod seesaw;
pub mod svg;
mod text;

pub use page::html;
pub use seesaw::{Phase, Seesaw};

/// Everything that a report shows.
#[derive(Clone, Debug, Default)]
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
    /// What became of each landmark's pseudo-labels, a stage an entry.
    pub trajectories: Vec<Trajectories>,
    /// Training of what landmarks share, seen landmark by landmark, a stage an entry.
    pub seesaws: Vec<Seesaw>,
    /// Pictures of detections.
    pub gallery: Vec<GalleryItem>,
    /// How the results were obtained.
    pub provenance: Provenance,
}

/// One method's figures.
#[derive(Clone, Debug, Default)]
pub struct Method {
    /// `copy`, `match`, `joint`, `single`, `fused`, or any other name.
    pub name: String,
    /// Mean radial error.
    pub mre: f64,
    /// Standard deviation of the radial errors.
    pub sd: f64,
    /// The 95 % confidence interval of the mean.
    pub interval: Option<(f64, f64)>,
    /// Successful detection rates: (threshold in the report's unit, fraction in \[0, 1\]).
    pub sdr: Vec<(f64, f64)>,
    /// Trained parameters.
    pub parameters: u64,
    /// Arena bytes of the detection plan; 0 where there is none.
    pub arena_bytes: u64,
    /// Milliseconds to detect all landmarks in one image; 0 where not measured.
    pub ms_per_image: f64,
    /// (mean, standard deviation) of the radial error, one a landmark.
    pub per_landmark: Vec<(f64, f64)>,
    /// (mean score, share of right points) of groups of points of like score; empty where there are no scores.
    pub reliability: Vec<(f64, f64)>,
    /// Mean radial error of the 80 % of points with the highest scores.
    pub trusted_mre: f64,
}

/// A named curve.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// The curve's name; a method's name gives it the method's colour.
    pub name: String,
    /// (x, y) in ascending x.
    pub points: Vec<(f64, f64)>,
}

/// The losses of one stage over its steps.
#[derive(Clone, Debug, Default)]
pub struct LossCurves {
    /// The stage's name.
    pub stage: String,
    /// The losses.
    pub curves: Vec<Curve>,
}

/// Pseudo-labels over training steps.
#[derive(Clone, Debug, Default)]
pub struct PseudoLabels {
    /// Mean error against the truth at the steps where it is known, in the report's unit.
    pub error: Vec<Curve>,
    /// Mean distance between predictions in two views, and mean step of accepted updates, in the report's unit.
    pub spread: Vec<Curve>,
    /// Updates accepted at each step.
    pub accepted: Vec<(f64, f64)>,
    /// Updates refused by the gate at each step.
    pub refused: Vec<(f64, f64)>,
    /// (confidence, error) of the final pseudo-labels: whether the confidence can be trusted.
    pub confidence_error: Vec<(f64, f64)>,
}

/// What became of each landmark's pseudo-labels in a stage.
#[derive(Clone, Debug, Default)]
pub struct Trajectories {
    /// The stage's name.
    pub stage: String,
    /// In the order of the report's landmarks.
    pub landmarks: Vec<Trajectory>,
}

/// One landmark's pseudo-labels over the steps of a stage: (step, number of labels) and (step, length in the report's unit).
#[derive(Clone, Debug, Default)]
pub struct Trajectory {
    /// Labels that an update moved.
    pub accepted: Vec<(f64, f64)>,
    /// Labels that stayed because the two views disagreed.
    pub refused_spread: Vec<(f64, f64)>,
    /// Labels that stayed because the step went far from where the arrangement of all landmarks expects them.
    pub refused_shape: Vec<(f64, f64)>,
    /// Labels that stayed because the step was too long.
    pub refused_step: Vec<(f64, f64)>,
    /// Mean distance of the labels from where they are at the end.
    pub distance: Vec<(f64, f64)>,
    /// Mean error, where the truth of training images is known.
    pub error: Vec<(f64, f64)>,
}

/// A picture with its caption.
#[derive(Clone, Debug, Default)]
pub struct GalleryItem {
    /// What it shows; also the text for those who cannot see it.
    pub caption: String,
    /// A PNG file ([`overlay::png_bytes`]).
    pub png: Vec<u8>,
}

/// How the results were obtained.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// The command line.
    pub command: String,
    /// The effective configuration (TOML).
    pub config: String,
    /// The device that trained.
    pub device: String,
    /// Wall-clock seconds; 0 where not measured.
    pub seconds: f64,
    /// (what, version), such as ("onemark", "0.1.0").
    pub versions: Vec<(String, String)>,
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
            reliability: vec![(0.2, 0.4), pair, (v, 0.5)],
            trusted_mre: v,
            ..Method::default()
        };
        Report {
            title: text.into(),
            conclusion: text.into(),
            unit: text.into(),
            landmarks: vec![text.into()],
            methods: vec![method.clone(), Method { mre: 1., ..method }],
            losses: vec![LossCurves { stage: text.into(), curves: curve() }],
            pseudo_labels: Some(PseudoLabels {
                error: curve(),
                spread: curve(),
                accepted: vec![(1., 5.)],
                refused: vec![pair],
                confidence_error: vec![(0.5, 1.), pair],
            }),
            trajectories: vec![Trajectories {
                stage: text.into(),
                landmarks: vec![
                    Trajectory {
                        accepted: vec![(1., 5.), pair],
                        distance: vec![pair, (0., 1.)],
                        ..Trajectory::default()
                    },
                    Trajectory { error: vec![(0., v), (1., 2.)], ..Trajectory::default() },
                ],
            }],
            seesaws: vec![Seesaw {
                stage: text.into(),
                frozen: Some(v),
                steps: vec![0., v],
                errors: vec![vec![1., 2., v], vec![2., 1.], vec![v]],
                delta: vec![v, 0.3, -0.2],
            }],
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
            seesaws: vec![Seesaw::default()],
            trajectories: vec![Trajectories::default()],
            pseudo_labels: Some(PseudoLabels::default()),
            ..Report::default()
        };
        let page = html(&empty);
        assert!(page.contains("<h1>onemark report</h1>") && page.ends_with("</html>\n"));
        assert!(!page.contains("<section") && !page.contains("<svg") && !page.contains("<table"));
        html(&Report { methods: vec![Method::default()], ..Report::default() });
    }
}
