//! The template's landmarks matched into an image, checked against each other; in training, the first pseudo-labels.

#[cfg(feature = "train")]
mod training;
#[cfg(feature = "train")]
pub use training::{Proposal, pseudo_labels};

use super::augment::{Point, View};
use super::dataset::Dataset;
use super::matching::{Features, Match, Matcher};
use super::shape::Similarity;
use crate::Result;
use serde::{Deserialize, Serialize};

/// How matches are checked. Lengths are shares of the image's longer side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ProposeConfig {
    /// Augmented views of the template whose features are averaged.
    pub views: usize,
    /// Distance at which a landmark counts as an outlier of the arrangement.
    pub outlier: f64,
    /// Standard deviation of the prior around where the arrangement expects a landmark; 0 matches without it.
    pub prior: f64,
    /// Cycle error that halves the confidence.
    pub cycle: f64,
}

impl Default for ProposeConfig {
    fn default() -> Self {
        Self { views: 8, outlier: 0.02, prior: 0.02, cycle: 0.02 }
    }
}

/// The template on a matcher: what landmarks look like and how they are arranged.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateFeatures {
    /// Landmarks in the global data set's stored pixels.
    pub points: Vec<Point>,
    /// Averaged features.
    pub features: Features,
}

impl TemplateFeatures {
    /// Matches into an image: freely, then with a prior around where the free matches' arrangement expects each landmark.
    /// Returns matches and expectations in stored pixels.
    pub fn locate(
        &self,
        matcher: &mut Matcher,
        dataset: &Dataset,
        image: usize,
        config: &ProposeConfig,
    ) -> Result<(Vec<Match>, Vec<Point>)> {
        let side = dataset.sizes[image].into_iter().max().unwrap_or(1) as f64;
        matcher.look(&dataset.plain(image, View::WHOLE).encode())?;
        let free = matcher.locate(dataset, image, &self.features, None)?;
        let expected = self.arrange(&free, config.outlier * side);
        if config.prior == 0.0 {
            return Ok((free, expected));
        }
        let matches = matcher.locate(dataset, image, &self.features, Some((&expected, config.prior * side)))?;
        let expected = self.arrange(&matches, config.outlier * side);
        Ok((matches, expected))
    }

    fn arrange(&self, matches: &[Match], outlier: f64) -> Vec<Point> {
        let to: Vec<Point> = matches.iter().map(|m| m.point).collect();
        let weights: Vec<f64> = matches.iter().map(|m| m.peak.max(1e-6)).collect();
        let fit = Similarity::fit_robust(&self.points, &to, &weights, outlier);
        self.points.iter().map(|&p| fit.apply(p)).collect()
    }
}
