//! A model as one ONNX graph that has the whole detection in it, image in, landmarks out.
//!
//! | | | |
//! |---|---|---|
//! | input | `image` | f32 `[1, 1, H, W]`, grey in `[0, 1]`, of any size |
//! | output | `points` | f32 `[1, K, 2]`: x, y in pixels of that image, pixel centres at integers |
//! | output | `scores` | f32 `[1, K]` in `[0, 1]` |

mod arrangement;
mod detection;
mod frame;
mod graph;
mod program;
mod proto;
#[cfg(test)]
mod tests;

use crate::Result;
use crate::model::Model;
use graph::{Extent, Graph, Type};
use proto::Message;

/// The version of ONNX's operators.
pub const OPSET: i64 = 17;
/// The version of ONNX's file format that came with it.
const IR_VERSION: i64 = 8;

/// The model as a `ModelProto`. Its metadata has `landmarks` (their names, a JSON array), `kind` and, if known, `spacing`
/// (millimetres a pixel of the training images).
pub fn export(model: &Model) -> Result<Vec<u8>> {
    let (graph, header) = (Graph::default(), &model.header);
    let k = header.landmarks.len();
    graph.label("image");
    let image_extents = [Extent::Fixed(1), Extent::Fixed(1), Extent::Any("height"), Extent::Any("width")];
    let image = graph.input("image", Type::Float, Some(&image_extents));
    let (points, scores) = detection::detect(model, image)?;
    let [one, landmarks, two] = [1, k, 2].map(Extent::Fixed);
    graph.output("points", points.reshape(&[1, k as i64, 2]), Type::Float, Some(&[one, landmarks, two]));
    graph.output("scores", scores.reshape(&[1, k as i64]), Type::Float, Some(&[one, landmarks]));

    let names = serde_json::to_string(&header.landmarks).expect("names are JSON");
    let spacing = header.spacing.map(|mm| ("spacing", mm.to_string()));
    Ok(encode(graph, [("landmarks", names), ("kind", header.kind.name().into())].into_iter().chain(spacing)))
}

/// A graph with metadata as a `ModelProto`.
fn encode<'a>(graph: Graph, metadata: impl IntoIterator<Item = (&'a str, String)>) -> Vec<u8> {
    let entry = |(key, value): (&str, String)| Message::default().bytes(1, key).bytes(2, value);
    let model = Message::default().int(1, IR_VERSION).bytes(2, "onemark").bytes(3, env!("CARGO_PKG_VERSION"));
    let model = model.bytes(7, graph.encode("onemark")).bytes(8, Message::default().int(2, OPSET));
    model.each(14, metadata.into_iter().map(entry)).into_bytes()
}
