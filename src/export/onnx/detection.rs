//! The statements of [`crate::detect`] in ONNX's terms; the networks are translated from their recorded programs.
//!
//! Points are `[k, 2]`, numbers of each landmark `[k, 1]`.

use super::arrangement;
use super::frame::{Frame, normalise};
use super::graph::{Attribute, Type, Value};
use super::program::{Maps, translate};
use crate::Result;
use crate::detect::{TOLERANCE, sharpest};
use crate::learn::augment::View;
use crate::learn::crops::VIEWS;
use crate::learn::dataset::Dataset;
use crate::learn::matching::{OUTSIDE, SHARP};
use crate::model::{Kind, Model};
use crate::plan::Program;
use crate::tape::{Region, Tape};

/// Where something was seen, as [`crate::learn::crops::Sight`]: a row a landmark.
#[derive(Clone, Copy)]
struct Sights<'g> {
    points: Value<'g>,
    spreads: Value<'g>,
    disagreements: Value<'g>,
}

impl<'g> Sights<'g> {
    /// Reads what a soft-argmax found, `[k, n, 1, c, 4]` with one image and either many landmarks or many channels. Returns
    /// the probabilities of the peaks too.
    fn new(found: Value<'g>) -> (Self, Value<'g>) {
        let rows = found.transpose(&[0, 3, 1, 2]).reshape(&[-1, 4]);
        let disagreements = rows.graph().floats(&[1, 1], &[0.0]);
        let sights = Self { points: rows.slices(1, &[0, 1]), spreads: rows.slices(1, &[3]), disagreements };
        (sights, rows.slices(1, &[2]))
    }
}

/// Points and scores, as [`crate::detect::Detector::detect`] finds them.
pub fn detect<'g>(model: &Model, image: Value<'g>) -> Result<(Value<'g>, Value<'g>)> {
    let (graph, header, config) = (image.graph(), &model.header, &model.header.config);
    let global = Frame::new(image, config.global_side, config.global_contrast);
    if header.kind == Kind::Joint {
        let (mut tape, shape) = (Tape::new(), [1, 1, Dataset::MULTIPLE, Dataset::MULTIPLE, 1]);
        let frame = tape.input("frame", shape);
        config.joint.record_look(&mut tape, header.landmarks.len(), frame)?;
        let program = Program::new(&tape);
        let found = translate(graph, &program, &model.net, &mut Maps::new(), &[global.padded()])?;
        return Ok(settle(model, Sights::new(found[0]).0, global, config.joint.sharp()));
    }
    let (coarse, scores) = settle(model, matches(model, global)?, global, SHARP);
    if header.kind == Kind::Match {
        return Ok((coarse, scores));
    }
    graph.label("local");
    let local = Frame::new(image, config.local_side, 0.0);
    let sights = look_closer(model, local, local.stored(coarse))?;
    Ok(settle(model, sights, local, config.crop.sharp()))
}

/// As [`crate::learn::propose::TemplateFeatures::locate`]: free matches, then matches near where their arrangement expects them.
fn matches<'g>(model: &Model, global: Frame<'g>) -> Result<Sights<'g>> {
    let (graph, config, template) = (global.pixels.graph(), &model.header.config, &model.template);
    let k = template.points.len();
    let (mut tape, side) = (Tape::new(), Dataset::MULTIPLE);
    let view = tape.input("view", [1, 1, side, side, 1]);
    config.matching.record_look(&mut tape, view)?;
    let (frame, mut maps) = (global.padded(), Maps::new());
    translate(graph, &Program::new(&tape), &model.matching, &mut maps, &[frame])?;
    let program = config.matching.locate_program([side, side], k)?;

    graph.label("template");
    let feature = |values: &Vec<f32>| graph.floats(&[k, config.matching.embedding], values).transpose(&[1, 0]);
    let features: Vec<Value> =
        template.features.0.iter().map(|values| feature(values).reshape(&[1, -1, 1, k as i64])).collect();
    // Pixels of the finest map, which is half as fine as the frame.
    let axis = |i: i64, extents: &[i64]| graph.range(frame.extents(&[i]) / 2).reshape(extents);
    let (x, y) = (axis(3, &[1, 1, 1, -1]), axis(2, &[1, 1, -1, 1]));
    let beyond = |at: Value<'g>, axis: i64| global.size.slices(0, &[axis]).with("Less", at * 2 + 1);
    let outside = beyond(x, 0).with("Or", beyond(y, 1));
    let mut locate = |prior: Value<'g>| -> Result<(Sights<'g>, Value<'g>)> {
        let prior = outside.choose(OUTSIDE, prior);
        let inputs: Vec<Value> = [prior].into_iter().chain(features.iter().copied()).collect();
        let (found, peaks) = Sights::new(translate(graph, &program, &model.matching, &mut maps, &inputs)?[0]);
        Ok((Sights { points: (found.points + 0.5) * 2.0 - 0.5, spreads: found.spreads * 2.0, ..found }, peaks))
    };

    let (free, peaks) = locate(graph.floats(&[1], &[0.0]))?;
    if config.propose.prior == 0.0 {
        return Ok(free);
    }
    graph.label("arrangement");
    let side = config.global_side as f64;
    let points: Vec<f32> = template.points.iter().flatten().map(|&v| v as f32).collect();
    let points = graph.floats(&[k, 2], &points);
    let expected = arrangement::arrange(points, free.points, peaks.max(1e-6), config.propose.outlier * side);
    let expected = (expected + 0.5) / 2.0 - 0.5;
    let off = |at: Value<'g>, axis: i64| at.cast(Type::Float) - expected.slices(1, &[axis]).reshape(&[1, -1, 1, 1]);
    let tolerance = config.propose.prior * side;
    Ok(locate((off(x, 0).square() + off(y, 1).square()) * (-2.0 / (tolerance * tolerance)) as f32)?.0)
}

/// As [`crate::learn::crops::Locator::find`]: once to centre, then several views whose mean is the answer.
fn look_closer<'g>(model: &Model, local: Frame<'g>, coarse: Value<'g>) -> Result<Sights<'g>> {
    let (graph, header, config) = (coarse.graph(), &model.header, &model.header.config);
    let (k, side) = (header.landmarks.len(), config.crop.side);
    let mut tape = Tape::new();
    let crops = tape.input("crops", [k, 1, side, side, 1]);
    config.crop.record_look(&mut tape, Region::Ema, header.extents(), crops)?;
    let program = Program::new(&tape);
    let look = |centres: Value<'g>, (scale, radians, dx, dy): (f64, f64, f64, f64)| -> Result<Sights<'g>> {
        graph.label("view");
        let view = View::similarity(side, side, [dx, dy], scale, radians);
        let crops = crops_of(local, centres, view, side);
        let (found, _) = Sights::new(translate(graph, &program, &model.net, &mut Maps::new(), &[crops])?[0]);
        graph.label("sight");
        let [[a, b, x], [c, d, y]] = view.0.map(|row| row.map(|v| v as f32));
        let turned = found.points.with("MatMul", graph.floats(&[2, 2], &[a, c, b, d]));
        Ok(Sights { points: turned + graph.floats(&[1, 2], &[x, y]) + centres, ..found })
    };

    let centres = look(coarse, VIEWS[0])?.points;
    let views = VIEWS.into_iter().take(config.views.max(1));
    let seen = views.map(|view| look(centres, view)).collect::<Result<Vec<Sights>>>()?;
    let mean = |value: &dyn Fn(&Sights<'g>) -> Value<'g>| {
        let sum = seen.iter().map(value).reduce(|sum, value| sum + value).expect("a view at least");
        sum / seen.len() as f32
    };
    let points = mean(&|sights| sights.points);
    let disagreements = mean(&|sights| (sights.points - points).square().sum(&[1])).apply("Sqrt");
    Ok(Sights { points, spreads: mean(&|sights| sights.spreads), disagreements })
}

/// Crops `[k, 1, side, side]` of an image that views around `centres` show, its border continued outwards.
fn crops_of<'g>(local: Frame<'g>, centres: Value<'g>, view: View, side: usize) -> Value<'g> {
    let graph = centres.graph();
    let offsets: Vec<f32> = (0..side * side)
        .flat_map(|pixel| view.stored([(pixel % side) as f64, (pixel / side) as f64]).map(|v| v as f32))
        .collect();
    let at = graph.floats(&[1, side * side, 2], &offsets) + centres.reshape(&[-1, 1, 2]);
    // GridSample's coordinates have the outer edges of the image at -1 and 1.
    let grid = (at * 2.0 + 1.0) / local.size.cast(Type::Float) - 1.0;
    let grid = grid.reshape(&[1, -1, side as i64, 2]);
    let border = [("padding_mode", Attribute::Text("border"))];
    let crops = graph.node("GridSample", &[local.pixels, grid], &border);
    normalise(crops.reshape(&[-1, 1, side as i64, side as i64]))
}

/// As `Detector::settle`: detections in the original image, weighed against each other.
fn settle<'g>(model: &Model, sights: Sights<'g>, frame: Frame<'g>, sharp: f64) -> (Value<'g>, Value<'g>) {
    let graph = sights.points.graph();
    graph.label("settle");
    let points = frame.original(sights.points);
    let blur = (sights.spreads.square() + sights.disagreements.square()).apply("Sqrt").max(1e-9);
    let weights = (graph.floats(&[1, 1], &[sharp as f32]) / blur).min(1.0);
    let own = weights * sharpest(model.header.kind) as f32;
    let (points, squares) = match &model.shape {
        Some(shape) => {
            let (settled, deviations) = arrangement::settle(shape, points, weights);
            let tolerance = graph.floats(&[1, 1], &[(TOLERANCE / model.header.config.shape.noise) as f32]);
            (settled, own * if shape.mean.len() > 2 { tolerance / deviations } else { own })
        }
        None => (points, own.square()),
    };
    let scores = (squares * -1.0).apply("Exp") * -1.0 + 1.0;
    (points.max(0.0).min((frame.original - 1).cast(Type::Float)), scores)
}
