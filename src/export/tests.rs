//! What the tests of exports share.

use crate::learn::augment::Point;
use crate::learn::config::Config;
use crate::learn::matching::Features;
use crate::learn::propose::TemplateFeatures;
use crate::learn::shape_model::ShapeModel;
use crate::model::{Header, Kind, Model, VERSION};
use crate::random::Stream;
use crate::tape::Layout;

/// A model of random numbers, none of them zero.
pub fn model(kind: Kind, landmarks: usize, shape: bool) -> Model {
    let mut config = Config { global_side: 70, local_side: 100, views: 3, ..Config::default() };
    config.matching.channels = vec![4, 8, 8];
    config.matching.embedding = 6;
    (config.crop.side, config.crop.channels) = (16, vec![4, 8]);
    config.joint.channels = vec![4, 8, 8];
    config.fuse.rank = 2;
    config.shape.noise = if shape { 0.01 } else { 0.0 };
    let header = Header {
        version: VERSION,
        kind,
        landmarks: (0..landmarks).map(|k| format!("landmark {k}")).collect(),
        config,
        spacing: Some(0.25),
        template: "none".into(),
        images: 2,
        onemark: String::new(),
    };
    let mut random = Stream::new(5, &[landmarks as u64]);
    let (matching, net) = header.layouts();
    let mut fill = |layout: &Layout| {
        let mut flat = layout.init(1, &(0..landmarks).collect::<Vec<_>>());
        flat.iter_mut().for_each(|v| *v += 0.2 * random.normal() as f32);
        flat
    };
    let (matching, net) = (fill(&matching), fill(&net));
    let (embedding, levels) = (header.config.matching.embedding, header.config.matching.channels.len() - 1);
    let mut level = || {
        let mut features: Vec<f32> = (0..landmarks * embedding).map(|_| random.normal() as f32).collect();
        for feature in features.chunks_mut(embedding) {
            let norm = feature.iter().map(|v| v * v).sum::<f32>().sqrt();
            feature.iter_mut().for_each(|v| *v /= norm);
        }
        features
    };
    let features = Features((0..levels).map(|_| level()).collect());
    let points: Vec<Point> = (0..landmarks).map(|_| [random.range(5.0, 60.0), random.range(5.0, 60.0)]).collect();
    let seen = |random: &mut Stream| points.iter().map(|p| p.map(|v| v + random.range(-9.0, 9.0))).collect();
    let seen: Vec<Vec<Point>> = (0..20).map(|_| seen(&mut random)).collect();
    let shape = shape.then(|| ShapeModel::learn(&points, &seen, &vec![vec![1.0; landmarks]; 20], 1.0));
    Model { header, matching, template: TemplateFeatures { points, features }, shape, net }
}
