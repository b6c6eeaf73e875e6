//! An ONNX graph under construction, written as arithmetic on its values.
//!
//! Nodes have one output each. Equal nodes and equal constants are one, so that what is described twice is computed once.

use super::proto::Message;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Add, Div, Mul, Sub};

/// Element types, by ONNX's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// f32.
    Float = 1,
    /// i64.
    Int = 7,
    /// bool.
    Bool = 9,
    /// f64.
    Double = 11,
}

/// An extent of a graph's input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The same for every image.
    Fixed(usize),
    /// Named, and told by the image.
    Any(&'static str),
}

/// A node's attribute.
pub enum Attribute<'a> {
    /// `INT`.
    Int(i64),
    /// `INTS`.
    Ints(&'a [i64]),
    /// `FLOAT`.
    Float(f32),
    /// `STRING`.
    Text(&'a str),
    /// `GRAPH`.
    Graph(Message),
}

/// See the [module](self).
#[derive(Default)]
pub struct Graph(RefCell<Parts>);

#[derive(Default)]
struct Parts {
    label: String,
    names: Vec<String>,
    nodes: Vec<Message>,
    constants: Vec<Message>,
    inputs: Vec<Message>,
    outputs: Vec<Message>,
    /// What nodes and constants are but for their names. The encodings of the two begin with different bytes.
    known: HashMap<Message, usize>,
}

impl Parts {
    fn name(&mut self, name: String) -> usize {
        self.names.push(name);
        self.names.len() - 1
    }

    fn fresh(&mut self) -> usize {
        let name = format!("{}.{}", self.label, self.names.len());
        self.name(name)
    }
}

/// A value of a graph. Arithmetic on values broadcasts.
#[derive(Clone, Copy)]
pub struct Value<'g> {
    graph: &'g Graph,
    id: usize,
}

impl Graph {
    /// Names what is added from here on.
    pub fn label(&self, label: &str) {
        self.0.borrow_mut().label = label.into();
    }

    /// An input.
    pub fn input(&self, name: &str, kind: Type, extents: Option<&[Extent]>) -> Value<'_> {
        let parts = &mut *self.0.borrow_mut();
        parts.inputs.push(info(name, kind, extents));
        Value { graph: self, id: parts.name(name.into()) }
    }

    /// Makes a value an output.
    pub fn output(&self, name: &str, value: Value, kind: Type, extents: Option<&[Extent]>) {
        let parts = &mut *self.0.borrow_mut();
        parts.outputs.push(info(name, kind, extents));
        let node = node("Identity", &[&parts.names[value.id]], &[]);
        parts.nodes.push(node.bytes(2, name));
    }

    /// A constant of these extents.
    pub fn floats(&self, extents: &[usize], values: &[f32]) -> Value<'_> {
        self.constant(Type::Float, extents, bytemuck::cast_slice(values))
    }

    /// A constant of these extents, in double precision.
    pub fn doubles(&self, extents: &[usize], values: &[f64]) -> Value<'_> {
        self.constant(Type::Double, extents, bytemuck::cast_slice(values))
    }

    /// A constant vector.
    pub fn ints(&self, values: &[i64]) -> Value<'_> {
        self.constant(Type::Int, &[values.len()], bytemuck::cast_slice(values))
    }

    /// What stands for an optional input that is not given.
    pub fn absent(&self) -> Value<'_> {
        Value { graph: self, id: self.0.borrow_mut().name(String::new()) }
    }

    fn constant(&self, kind: Type, extents: &[usize], values: &[u8]) -> Value<'_> {
        let extents: Vec<i64> = extents.iter().map(|&extent| extent as i64).collect();
        let tensor = Message::default().ints(1, &extents).int(2, kind as i64).bytes(9, values);
        let parts = &mut *self.0.borrow_mut();
        let known = parts.known.get(&tensor).copied();
        let id = known.unwrap_or_else(|| {
            let id = parts.fresh();
            parts.constants.push(tensor.clone().bytes(8, &parts.names[id]));
            parts.known.insert(tensor, id);
            id
        });
        Value { graph: self, id }
    }

    /// The output of an operation.
    pub fn node(&self, op: &str, inputs: &[Value], attributes: &[(&str, Attribute)]) -> Value<'_> {
        let parts = &mut *self.0.borrow_mut();
        let names: Vec<&str> = inputs.iter().map(|value| parts.names[value.id].as_str()).collect();
        let node = node(op, &names, attributes);
        let known = parts.known.get(&node).copied();
        let id = known.unwrap_or_else(|| {
            let id = parts.fresh();
            let name = &parts.names[id];
            parts.nodes.push(node.clone().bytes(2, name).bytes(3, name));
            parts.known.insert(node, id);
            id
        });
        Value { graph: self, id }
    }

    /// Values one after another along an axis.
    pub fn concat(&self, values: &[Value], axis: i64) -> Value<'_> {
        self.node("Concat", values, &[("axis", Attribute::Int(axis))])
    }

    /// The integers from 0 to below `end`, a value of one element.
    pub fn range(&self, end: Value) -> Value<'_> {
        let [zero, one] = [0, 1].map(|value: i64| self.constant(Type::Int, &[], bytemuck::bytes_of(&value)));
        self.node("Range", &[zero, end.reshape(&[]), one], &[])
    }

    /// `state`, of this type, after `times` applications of a function of the application's number (a scalar) and the state.
    pub fn repeat<'g>(
        &'g self,
        times: usize,
        kind: Type,
        state: Value<'g>,
        body: impl for<'b> FnOnce(Value<'b>, Value<'b>) -> Value<'b>,
    ) -> Value<'g> {
        let inner = Graph::default();
        inner.label("repeat");
        let [i, go_on] =
            [("repeat.i", Type::Int), ("repeat.go_on", Type::Bool)].map(|(n, t)| inner.input(n, t, Some(&[])));
        let next = body(i, inner.input("repeat.state", kind, None));
        inner.output("repeat.goes_on", go_on, Type::Bool, None);
        inner.output("repeat.next", next, kind, None);
        let attributes = [("body", Attribute::Graph(inner.encode("repeat")))];
        self.node("Loop", &[self.ints(&[times as i64]).reshape(&[]), self.absent(), state], &attributes)
    }

    /// The graph as a `GraphProto`.
    pub fn encode(self, name: &str) -> Message {
        let parts = self.0.into_inner();
        let graph = Message::default().each(1, parts.nodes).bytes(2, name).each(5, parts.constants);
        graph.each(11, parts.inputs).each(12, parts.outputs)
    }
}

/// A `NodeProto` without outputs.
fn node(op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> Message {
    let attribute = |(name, value): &(&str, Attribute)| {
        let message = Message::default().bytes(1, name);
        match value {
            Attribute::Float(value) => message.float(2, *value).int(20, 1),
            Attribute::Int(value) => message.int(3, *value).int(20, 2),
            Attribute::Text(value) => message.bytes(4, value).int(20, 3),
            Attribute::Graph(value) => message.bytes(6, value).int(20, 5),
            Attribute::Ints(values) => message.ints(8, values).int(20, 7),
        }
    };
    Message::default().bytes(4, op).each(1, inputs).each(5, attributes.iter().map(attribute))
}

/// A `ValueInfoProto`.
fn info(name: &str, kind: Type, extents: Option<&[Extent]>) -> Message {
    let mut tensor = Message::default().int(1, kind as i64);
    if let Some(extents) = extents {
        let extent = |extent: &Extent| match extent {
            Extent::Fixed(extent) => Message::default().int(1, *extent as i64),
            Extent::Any(name) => Message::default().bytes(2, name),
        };
        tensor = tensor.bytes(2, Message::default().each(1, extents.iter().map(extent)));
    }
    Message::default().bytes(1, name).bytes(2, Message::default().bytes(1, tensor))
}

impl<'g> Value<'g> {
    /// The graph that it is of.
    pub fn graph(self) -> &'g Graph {
        self.graph
    }

    /// A function of this value alone, by ONNX's name.
    pub fn apply(self, op: &str) -> Self {
        self.graph.node(op, &[self], &[])
    }

    /// An operation on this value and another, by ONNX's name.
    pub fn with(self, op: &str, other: impl Term<'g>) -> Self {
        let other = other.value(self.graph);
        self.graph.node(op, &[self, other], &[])
    }

    /// The greater of the two.
    pub fn max(self, other: impl Term<'g>) -> Self {
        self.with("Max", other)
    }

    /// The lesser of the two.
    pub fn min(self, other: impl Term<'g>) -> Self {
        self.with("Min", other)
    }

    /// The square.
    pub fn square(self) -> Self {
        self * self
    }

    /// Where this is true, one value, elsewhere the other.
    pub fn choose(self, yes: impl Term<'g>, no: impl Term<'g>) -> Self {
        let (yes, no) = (yes.value(self.graph), no.value(self.graph));
        self.graph.node("Where", &[self, yes, no], &[])
    }

    /// As another type.
    pub fn cast(self, to: Type) -> Self {
        self.graph.node("Cast", &[self], &[("to", Attribute::Int(to as i64))])
    }

    /// In these extents: 0 keeps the extent of that axis, -1 is what remains.
    pub fn reshape(self, extents: &[i64]) -> Self {
        self.with("Reshape", self.graph.ints(extents))
    }

    /// With its axes in another order.
    pub fn transpose(self, axes: &[i64]) -> Self {
        self.graph.node("Transpose", &[self], &[("perm", Attribute::Ints(axes))])
    }

    /// Some of the slices along an axis.
    pub fn gather(self, axis: i64, indices: Value) -> Self {
        self.graph.node("Gather", &[self, indices], &[("axis", Attribute::Int(axis))])
    }

    /// Slices along an axis.
    pub fn slices(self, axis: i64, indices: &[i64]) -> Self {
        self.gather(axis, self.graph.ints(indices))
    }

    /// Sums over axes, which keep an extent of 1.
    pub fn sum(self, axes: &[i64]) -> Self {
        self.with("ReduceSum", self.graph.ints(axes))
    }

    /// The greatest along an axis, which keeps an extent of 1.
    pub fn greatest(self, axis: i64) -> Self {
        self.graph.node("ReduceMax", &[self], &[("axes", Attribute::Ints(&[axis]))])
    }

    /// The extents of these axes, a vector.
    pub fn extents(self, axes: &[i64]) -> Self {
        self.apply("Shape").slices(0, axes)
    }
}

/// What arithmetic combines with a value: another value, or a number of the same type.
pub trait Term<'g> {
    /// As a value of a graph.
    fn value(self, graph: &'g Graph) -> Value<'g>;
}

impl<'g> Term<'g> for Value<'g> {
    fn value(self, _: &'g Graph) -> Value<'g> {
        self
    }
}

impl<'g> Term<'g> for f32 {
    fn value(self, graph: &'g Graph) -> Value<'g> {
        graph.floats(&[1], &[self])
    }
}

/// A number in double precision.
pub struct Double(pub f64);

impl<'g> Term<'g> for Double {
    fn value(self, graph: &'g Graph) -> Value<'g> {
        graph.doubles(&[1], &[self.0])
    }
}

impl<'g> Term<'g> for i64 {
    fn value(self, graph: &'g Graph) -> Value<'g> {
        graph.ints(&[self])
    }
}

impl<'g, T: Term<'g>> Add<T> for Value<'g> {
    type Output = Self;
    fn add(self, other: T) -> Self {
        self.with("Add", other)
    }
}

impl<'g, T: Term<'g>> Sub<T> for Value<'g> {
    type Output = Self;
    fn sub(self, other: T) -> Self {
        self.with("Sub", other)
    }
}

impl<'g, T: Term<'g>> Mul<T> for Value<'g> {
    type Output = Self;
    fn mul(self, other: T) -> Self {
        self.with("Mul", other)
    }
}

impl<'g, T: Term<'g>> Div<T> for Value<'g> {
    type Output = Self;
    fn div(self, other: T) -> Self {
        self.with("Div", other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_twice_is_computed_once() {
        let graph = Graph::default();
        let x = graph.input("x", Type::Float, None);
        let once = (x + 1.0) * 2.0;
        let twice = (x + 1.0) * 2.0;
        assert_eq!(once.id, twice.id);
        assert_ne!(once.id, ((x + 1.0) * 3.0).id);
        assert_ne!(x.transpose(&[1, 0]).id, x.transpose(&[0, 1]).id);
        let parts = graph.0.borrow();
        assert_eq!((parts.nodes.len(), parts.constants.len()), (5, 3));
    }
}
