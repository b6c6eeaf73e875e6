//! Proposals in training images, and the pseudo-labels that they become.

use super::{ProposeConfig, TemplateFeatures};
use crate::Result;
use crate::data::point::distance;
use crate::learn::augment::Point;
use crate::learn::dataset::Dataset;
use crate::learn::labels::PseudoLabels;
use crate::learn::matching::{Features, Match, Matcher};
use serde::{Deserialize, Serialize};

/// A landmark proposed in an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Position, pixels of the original image.
    pub point: Point,
    /// Where the arrangement of all landmarks expects it, pixels of the original image.
    pub expected: Point,
    /// Probability of the peak.
    pub peak: f64,
    /// Distance between the template's landmark and the match of this match, as a share of the longer side.
    pub cycle: f64,
}

impl TemplateFeatures {
    /// Reads them off the template image; `points` are in its original pixels.
    pub fn new(matcher: &mut Matcher, dataset: &Dataset, image: usize, points: &[Point], views: usize) -> Result<Self> {
        let points: Vec<Point> = points.iter().map(|&p| dataset.stored(image, p)).collect();
        let features = matcher.template(dataset, image, &points, views)?;
        Ok(Self { points, features })
    }

    /// Matches into an image, to be [checked](TemplateFeatures::check) against the template.
    pub fn seek(
        &self,
        matcher: &mut Matcher,
        dataset: &Dataset,
        image: usize,
        config: &ProposeConfig,
    ) -> Result<Sought> {
        let (matches, expected) = self.locate(matcher, dataset, image, config)?;
        let points: Vec<Point> = matches.iter().map(|m| m.point).collect();
        Ok(Sought { image, features: matcher.features(&points)?, matches, expected })
    }

    /// Adds the cycle error to matches: how far from the template's landmarks the matches' own features are found in the template,
    /// whose plain view was looked at.
    pub fn check(
        &self,
        matcher: &mut Matcher,
        dataset: &Dataset,
        template: usize,
        Sought { image, matches, expected, features }: &Sought,
    ) -> Result<Vec<Proposal>> {
        let side = dataset.sizes[*image].into_iter().max().unwrap_or(1) as f64;
        let back = matcher.locate(dataset, template, features, None)?;
        let proposal = |k: usize| Proposal {
            point: dataset.original(*image, matches[k].point),
            expected: dataset.original(*image, expected[k]),
            peak: matches[k].peak,
            cycle: distance(back[k].point, self.points[k]) / side,
        };
        Ok((0..matches.len()).map(proposal).collect())
    }
}

/// Matches of all landmarks in an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Sought {
    image: usize,
    matches: Vec<Match>,
    expected: Vec<Point>,
    features: Features,
}

/// The first pseudo-labels in stored pixels of a (finer) data set. `proposals[image][landmark]`; the template's are replaced
/// by its annotation (original pixels), with weight one.
pub fn pseudo_labels(
    proposals: &[Vec<Proposal>],
    dataset: &Dataset,
    template: usize,
    annotation: &[Point],
    config: &ProposeConfig,
) -> Vec<PseudoLabels> {
    let label = |k: usize| {
        let mut peaks: Vec<f64> = proposals.iter().map(|p| p[k].peak).collect();
        peaks.sort_by(f64::total_cmp);
        let median = peaks[peaks.len() / 2].max(1e-12);
        let weight = |p: &Proposal| {
            let trust = (p.peak / median).clamp(0.1, 1.0);
            trust / (1.0 + (p.cycle / config.cycle).powi(2))
        };
        let mut labels = PseudoLabels {
            points: proposals.iter().enumerate().map(|(i, p)| dataset.stored(i, p[k].point)).collect(),
            expected: proposals.iter().enumerate().map(|(i, p)| Some(dataset.stored(i, p[k].expected))).collect(),
            weights: proposals.iter().map(|p| weight(&p[k]).max(0.05)).collect(),
            trust: vec![1.0; proposals.len()],
        };
        labels.points[template] = dataset.stored(template, annotation[k]);
        labels.weights[template] = 1.0;
        labels
    };
    (0..annotation.len()).map(label).collect()
}
