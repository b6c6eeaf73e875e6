//! The arrangement of landmarks: what [`crate::learn::shape`] and [`crate::learn::shape_model`] do, in ONNX's terms.
//!
//! Points are `[k, 2]`, numbers of each landmark `[k, 1]`. As there, all is in double precision: what contradicts itself is weighed by
//! small differences of large numbers.

use super::graph::{Double, Graph, Type, Value};
use crate::learn::shape_model::{DOUBT, LEAST, OUTLIER, ROUNDS, ShapeModel};

/// `p -> a p + b p' + t`, where `p'` is `p` turned by a right angle.
struct Similarity<'g> {
    a: Value<'g>,
    b: Value<'g>,
    t: Value<'g>,
}

/// `(x, y) -> (-y, x)`.
fn turned(points: Value) -> Value {
    points.with("MatMul", points.graph().doubles(&[2, 2], &[0.0, 1.0, -1.0, 0.0]))
}

impl<'g> Similarity<'g> {
    fn linear(&self, points: Value<'g>) -> Value<'g> {
        points * self.a + turned(points) * self.b
    }

    fn apply(&self, points: Value<'g>) -> Value<'g> {
        self.linear(points) + self.t
    }

    fn inverse(&self) -> Self {
        let square = self.a.square() + self.b.square();
        let turns = square.graph().doubles(&[1], &[1e-18]).with("Less", square);
        let (a, b) =
            (turns.choose(self.a / square, Double(1.0)), turns.choose(self.b * Double(-1.0) / square, Double(0.0)));
        let back = Self { a, b, t: self.t };
        Self { t: back.linear(self.t) * Double(-1.0), ..back }
    }

    fn fit(from: Value<'g>, to: Value<'g>, weights: Value<'g>) -> Self {
        let total = weights.sum(&[0]).max(Double(1e-12));
        let mean = |points: Value<'g>| (points * weights).sum(&[0]) / total;
        let (from_mean, to_mean) = (mean(from), mean(to));
        let (p, q) = (from - from_mean, to - to_mean);
        let moment = |a: Value<'g>, b: Value<'g>| (a * b * weights).sum(&[0, 1]);
        let square = moment(p, p);
        let spread = square.graph().doubles(&[1], &[1e-9]).with("Less", square);
        let (a, b) = (
            spread.choose(moment(p, q) / square, Double(1.0)),
            spread.choose(moment(turned(p), q) / square, Double(0.0)),
        );
        let centred = Self { a, b, t: to_mean };
        Self { t: to_mean - centred.linear(from_mean), ..centred }
    }
}

/// Where the arrangement of matches expects the template's `points`: as `Similarity::fit_robust`.
pub fn arrange<'g>(points: Value<'g>, matches: Value<'g>, weights: Value<'g>, tolerance: f64) -> Value<'g> {
    let [points, matches, weights] = [points, matches, weights].map(|value| value.cast(Type::Double));
    let mut expected = Similarity::fit(points, matches, weights).apply(points);
    for _ in 0..10 {
        let current = weights * say(distance(expected, matches) / Double(tolerance), 1.0);
        expected = Similarity::fit(points, matches, current).apply(points);
    }
    expected.cast(Type::Float)
}

/// Points weighed against each other by a shape model, and how far each may be off by what the others say, in `noise`.
pub fn settle<'g>(model: &ShapeModel, points: Value<'g>, given: Value<'g>) -> (Value<'g>, Value<'g>) {
    let (graph, k) = (points.graph(), model.mean.len());
    let [points, given] = [points, given].map(|value| value.cast(Type::Double));
    let column = |values: &[f64]| graph.doubles(&[k, 1], values);
    let mean = graph.doubles(&[k, 2], model.mean.as_flattened());
    let noise = column(&vec![model.noise; k]);
    let align = |fit: &Similarity<'g>| fit.apply(points) - mean;
    let mut seen = align(&Similarity::fit(points, mean, given));
    let mut hidden = graph.doubles(&[k, 2], &vec![0.0; 2 * k]);
    let mut usual = column(&(0..k).map(|landmark| model.variation(landmark)).collect::<Vec<_>>());
    let mut fit = None;
    for _ in 0..=ROUNDS {
        let weights = given * say(distance(seen, hidden) / usual, OUTLIER).square();
        let aligned = Similarity::fit(points, mean, weights);
        seen = align(&aligned);
        hidden = posterior(model, seen, weights);
        usual = noise;
        fit = Some(aligned);
    }
    let back = fit.expect("there are rounds").inverse();
    let residuals = distance(seen, hidden);
    let deviations = (residuals.square() + column(&model.apart).square()).apply("Sqrt") / noise;
    let settled = back.apply(mean + hidden + (seen - hidden) * trust(residuals / noise) * Double(model.own));
    (settled.cast(Type::Float), deviations.cast(Type::Float))
}

/// `E[x | v]`, see [`ShapeModel`]: `v - D (S + D)^-1 v`.
fn posterior<'g>(model: &ShapeModel, seen: Value<'g>, weights: Value<'g>) -> Value<'g> {
    let (graph, n) = (seen.graph(), 2 * model.mean.len());
    let noise = graph.doubles(&[1, 2], &[model.noise * model.noise; 2]) / weights.max(Double(LEAST));
    let system = graph.doubles(&[n, n], &model.covariance) + identity(graph, n) * noise.reshape(&[-1, 1]);
    let y = solve(system, seen.reshape(&[-1, 1]), n);
    seen - noise * y.reshape(&[-1, 2])
}

/// `a^-1 b` for a positive definite `a: [n, n]` and `b: [n, 1]`: Gauss-Jordan elimination of the rows of `[a | b]`.
fn solve<'g>(a: Value<'g>, b: Value<'g>, n: usize) -> Value<'g> {
    let graph = a.graph();
    let eliminated = graph.repeat(n, Type::Double, graph.concat(&[a, b], 1), |i, rows| {
        let i = i.reshape(&[1]);
        let row = rows.gather(0, i);
        // All of the column goes but its pivot, which becomes 1.
        let column = rows.gather(1, i) - identity(rows.graph(), n).gather(1, i);
        rows - column.with("MatMul", row / row.gather(1, i))
    });
    eliminated.slices(1, &[n as i64])
}

fn identity(graph: &Graph, n: usize) -> Value<'_> {
    let values: Vec<f64> = (0..n * n).map(|i| if i % (n + 1) == 0 { 1.0 } else { 0.0 }).collect();
    graph.doubles(&[n, n], &values)
}

/// As in [`crate::learn::shape_model`]: how much a landmark whose residual is `r` is believed.
fn say<'g>(r: Value<'g>, half: f64) -> Value<'g> {
    r.graph().doubles(&[1], &[1.0]) / ((r / Double(half)).square() + Double(1.0))
}

/// As in [`crate::learn::shape_model`]: how far a point whose residual is `r` noises is believed.
fn trust(r: Value) -> Value {
    r.graph().doubles(&[1], &[1.0]) / ((r / Double(DOUBT)).square().square() + Double(1.0))
}

/// Distances of points, `[k, 1]`.
fn distance<'g>(p: Value<'g>, q: Value<'g>) -> Value<'g> {
    (p - q).square().sum(&[1]).apply("Sqrt")
}
