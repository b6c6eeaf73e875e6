//! The autograd tape: records operations on symbolic tensors, once per shape.
//!
//! [`Tape::backward`] appends the gradient as ordinary operations of the same vocabulary, so that everything below the
//! tape serves both directions. Nothing is computed here; `plan` turns the record into a program that executors run.

mod backward;
mod layout;
mod ops;

pub use layout::{ALIGN, Init, Layout, Parameter};

use crate::kernel::tensor::{Operand, expect};
use crate::kernel::{Op, Shape};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A tensor on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Var(pub(crate) u32);

/// A persistent buffer that outlives a run. All of a model's state has the one [`Layout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Region {
    /// Parameters that are trained.
    Params,
    /// Their gradients.
    Grads,
    /// First moments of AdamW.
    Moment1,
    /// Second moments of AdamW.
    Moment2,
    /// Exponential moving average of the parameters.
    Ema,
    /// A frozen model that a program distils from; it has a layout of its own.
    Teacher,
    /// Stored images.
    Data,
    /// Results of one program that others read; they have a layout of their own.
    Maps,
}

impl Region {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::Maps as usize + 1;
}

/// Where a tensor's values come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Source {
    /// Computed by an operation into the arena.
    Computed,
    /// Uploaded before each run.
    Input,
    /// A parameter of the region's layout, by index.
    Parameter(Region, usize),
    /// The gradient of a parameter of [`Region::Params`], by index.
    Gradient(usize),
    /// A whole persistent buffer.
    Buffer(Region),
}

#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub name: String,
    pub shape: Shape,
    pub source: Source,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub op: Op,
    pub inputs: Vec<Var>,
    pub outputs: Vec<Var>,
    pub label: String,
}

/// A record of operations. See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Tape {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<Var>,
    pub(crate) parameters: BTreeMap<Region, Vec<(Parameter, Var)>>,
    scope: Vec<String>,
}

impl Tape {
    /// An empty record.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tensor's shape.
    pub fn shape(&self, v: Var) -> Shape {
        self.tensors[v.0 as usize].shape
    }

    fn tensor(&mut self, name: String, shape: Shape, source: Source) -> Var {
        self.tensors.push(Tensor { name, shape, source });
        Var(self.tensors.len() as u32 - 1)
    }

    /// A tensor that is uploaded before each run. Inputs are passed to a run in the order of their declaration.
    pub fn input(&mut self, name: &str, shape: impl Into<Shape>) -> Var {
        self.tensor(name.into(), shape.into(), Source::Input)
    }

    /// A whole persistent buffer, as the shape says.
    pub fn buffer(&mut self, region: Region, shape: impl Into<Shape>) -> Var {
        self.tensor(format!("{region:?}").to_lowercase(), shape.into(), Source::Buffer(region))
    }

    /// A parameter in a region: [`Region::Params`] to train it, [`Region::Ema`] to read its average,
    /// [`Region::Teacher`] for a frozen model; or in [`Region::Maps`] a place to [store](Tape::store) a result in. The name is prefixed with the current [scope](Tape::scoped).
    pub fn parameter(&mut self, region: Region, name: &str, shape: impl Into<Shape>, init: Init) -> Var {
        let shape = shape.into();
        let name = self.scope.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".");
        let index = self.parameters.get(&region).map_or(0, Vec::len);
        let var = self.tensor(name.clone(), shape, Source::Parameter(region, index));
        self.parameters.entry(region).or_default().push((Parameter { name, shape, init }, var));
        var
    }

    /// The layout of a region's parameters.
    pub fn layout(&self, region: Region) -> Layout {
        let parameters = self.parameters.get(&region).map(Vec::as_slice).unwrap_or_default();
        Layout::new(parameters.iter().map(|(p, _)| p.clone()).collect())
    }

    /// Records under a name, which prefixes parameters and labels.
    pub fn scoped<R>(&mut self, name: &str, record: impl FnOnce(&mut Self) -> R) -> R {
        self.scope.push(name.into());
        let result = record(self);
        self.scope.pop();
        result
    }

    /// Appends an operation. Its outputs' shapes are inferred; an error names the operation and the shapes.
    pub fn push(&mut self, op: impl Into<Op>, inputs: &[Var]) -> Result<Vec<Var>> {
        let op = op.into();
        let shapes: Vec<Shape> = inputs.iter().map(|&v| self.shape(v)).collect();
        expect(op.name(), shapes.iter().all(|s| !s.is_empty()), || format!("an extent is zero in {shapes:?}"))?;
        let outputs = op.infer(&shapes).map_err(|error| match error {
            Error::Shape { op, cause } => Error::Shape { op, cause: format!("{cause} (in {})", self.scope.join(".")) },
            other => other,
        })?;
        let label = self.scope.iter().map(String::as_str).chain([op.name()]).collect::<Vec<_>>().join(".");
        let outputs = outputs.into_iter().map(|s| self.tensor(label.clone(), s, Source::Computed)).collect::<Vec<_>>();
        self.nodes.push(Node { op, inputs: inputs.into(), outputs: outputs.clone(), label });
        Ok(outputs)
    }

    /// Appends an operation that updates persistent buffers, given after its inputs.
    pub(crate) fn push_in_place(&mut self, op: impl Into<Op>, inputs: &[Var], updated: &[Var]) {
        let op = op.into();
        let label = op.name().into();
        self.nodes.push(Node { op, inputs: inputs.into(), outputs: updated.into(), label });
    }

    /// Appends an operation that has one output.
    pub fn push1(&mut self, op: impl Into<Op>, inputs: &[Var]) -> Result<Var> {
        Ok(self.push(op, inputs)?[0])
    }

    /// Makes a computed tensor live where `place` of [`Region::Maps`] does, for other programs to read.
    pub fn store(&mut self, v: Var, place: Var) -> Result<()> {
        let (from, to) = (self.shape(v), self.shape(place));
        let computed = matches!(self.tensors[v.0 as usize].source, Source::Computed);
        let stored = matches!(self.tensors[place.0 as usize].source, Source::Parameter(Region::Maps, _));
        expect("store", from == to, || format!("{from:?} cannot be stored in {to:?}"))?;
        expect("store", computed && stored, || "only what is computed is stored, and in a map".into())?;
        self.tensors[v.0 as usize].source = self.tensors[place.0 as usize].source;
        Ok(())
    }

    /// Marks a tensor as a result that a run returns, in the order of marking.
    pub fn output(&mut self, v: Var) {
        self.outputs.push(v);
    }

    /// Where a parameter or gradient lies in its region: the offset and the operand.
    pub(crate) fn place(&self, layouts: &BTreeMap<Region, Layout>, v: Var) -> Option<(Region, usize, Operand)> {
        let tensor = &self.tensors[v.0 as usize];
        let place = |region: Region, layout: Region, index: usize| {
            let (offset, operand) = layouts[&layout].place(index);
            Some((region, offset, operand))
        };
        match tensor.source {
            Source::Parameter(region, index) => place(region, region, index),
            Source::Gradient(index) => place(Region::Grads, Region::Params, index),
            Source::Buffer(region) => Some((region, 0, Operand::dense(tensor.shape))),
            Source::Computed | Source::Input => None,
        }
    }
}
