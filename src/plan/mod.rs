//! Turns a tape into a static program: dead operations dropped, activations fused into what produces their input, tensors
//! packed into one arena. A [`Program`] is plain data that an executor runs again and again.

mod arena;
mod fuse;

use crate::kernel::tensor::Operand;
use crate::kernel::{Bind, Cost, Dispatch, Op, Shape};
use crate::tape::{Layout, Region, Source, Tape, Var};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a tensor lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In the program's arena, which is reused within a run.
    Arena,
    /// In a persistent buffer.
    Region(Region),
}

/// A tensor of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// Name, for tables and messages.
    pub name: String,
    /// Shape and landmark stride.
    pub operand: Operand,
    /// Which buffer.
    pub place: Place,
    /// Its first element there.
    pub offset: usize,
}

/// One operation of a program. Tensors are indices into [`Program::slots`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What is computed.
    pub op: Op,
    /// Tensors read.
    pub inputs: Vec<usize>,
    /// Tensors written (updated, for operations in place).
    pub outputs: Vec<usize>,
    /// Working memory, if any.
    pub scratch: Option<usize>,
    /// Where in the network.
    pub label: String,
    /// FLOPs and bytes.
    pub cost: Cost,
}

/// A static program. See the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// All tensors.
    pub slots: Vec<Slot>,
    /// The operations in order.
    pub steps: Vec<Step>,
    /// Tensors uploaded before a run, in the order of their declaration.
    pub inputs: Vec<usize>,
    /// Tensors returned by a run.
    pub outputs: Vec<usize>,
    /// Elements of the arena.
    pub arena_len: usize,
    /// Elements of the arena if no two tensors shared memory.
    pub arena_len_unaliased: usize,
    /// Elements of each persistent buffer that the program touches.
    pub regions: BTreeMap<Region, usize>,
    /// Parameters of the model, without gaps.
    pub parameters: usize,
}

impl Program {
    /// Plans a tape.
    pub fn new(tape: &Tape) -> Self {
        let mut tape = tape.clone();
        fuse::drop_dead(&mut tape);
        fuse::fuse_activations(&mut tape);
        let layouts: BTreeMap<Region, Layout> = tape.parameters.keys().map(|&r| (r, tape.layout(r))).collect();
        let mut builder = Builder { tape: &tape, layouts: &layouts, slots: Vec::new(), index: BTreeMap::new() };

        let inputs = builder.inputs();
        let mut steps = Vec::new();
        for node in &tape.nodes {
            let shapes = |vars: &[Var]| vars.iter().map(|&v| tape.shape(v)).collect::<Vec<Shape>>();
            let (x, y) = (shapes(&node.inputs), shapes(&node.outputs));
            let scratch = match node.op.scratch(&x, &y) {
                0 => None,
                len => Some(builder.scratch(&node.label, len)),
            };
            steps.push(Step {
                inputs: node.inputs.iter().map(|&v| builder.slot(v)).collect(),
                outputs: node.outputs.iter().map(|&v| builder.slot(v)).collect(),
                scratch,
                cost: node.op.cost(&x, &y),
                op: node.op.clone(),
                label: node.label.clone(),
            });
        }
        let outputs: Vec<usize> = tape.outputs.iter().map(|&v| builder.slot(v)).collect();
        let mut slots = builder.slots;
        let lives = arena::lives(slots.len(), &steps, &inputs, &outputs);
        let (arena_len, arena_len_unaliased) = arena::pack(&mut slots, &lives);
        let mut regions = BTreeMap::new();
        for slot in &slots {
            if let Place::Region(region) = slot.place {
                let end = slot.offset + slot.operand.span();
                // A program may touch only some of a model's parameters; the buffer is the whole model's.
                let whole = layouts.get(&region).map_or(end, |layout| layout.len().max(end));
                regions.entry(region).and_modify(|len: &mut usize| *len = whole.max(*len)).or_insert(whole);
            }
        }
        let parameters = layouts.get(&Region::Params).or(layouts.get(&Region::Ema)).map_or(0, Layout::count);
        Self { slots, steps, inputs, outputs, arena_len, arena_len_unaliased, regions, parameters }
    }

    /// The GPU launches in order, each with the step that it belongs to and the slots behind its bindings.
    pub fn dispatches(&self) -> impl Iterator<Item = (usize, Dispatch, Vec<Option<usize>>)> {
        self.steps.iter().enumerate().flat_map(|(index, step)| {
            let operands = |slots: &[usize]| slots.iter().map(|&i| self.slots[i].operand).collect::<Vec<Operand>>();
            let slot = |bind: &Bind| match *bind {
                Bind::In(i) => Some(step.inputs[i]),
                Bind::Out(i) => Some(step.outputs[i]),
                Bind::Scratch => step.scratch,
                Bind::Unused => None,
            };
            let dispatches = step.op.gpu(&operands(&step.inputs), &operands(&step.outputs)).into_iter();
            dispatches.map(move |dispatch| {
                let slots = dispatch.binds.iter().map(slot).collect();
                (index, dispatch, slots)
            })
        })
    }

    /// FLOPs and bytes of one run.
    pub fn cost(&self) -> Cost {
        self.steps.iter().fold(Cost::default(), |sum, step| Cost {
            flops: sum.flops + step.cost.flops,
            bytes: sum.bytes + step.cost.bytes,
        })
    }

    /// Bytes of the arena.
    pub fn arena_bytes(&self) -> u64 {
        4 * self.arena_len as u64
    }

    /// Bytes of the arena and of the persistent buffers.
    pub fn total_bytes(&self) -> u64 {
        self.arena_bytes() + self.regions.values().map(|&len| 4 * len as u64).sum::<u64>()
    }

    /// When each slot is first and last used, counted from 1 for the first step: inputs are there before it, at 0, and
    /// outputs are read after the last. None for a slot that nothing uses.
    pub fn lives(&self) -> Vec<Option<(usize, usize)>> {
        arena::lives(self.slots.len(), &self.steps, &self.inputs, &self.outputs)
    }

    /// Bytes of the arena that hold something that is needed, during each step.
    pub fn live_bytes(&self) -> Vec<u64> {
        let mut live = vec![0; self.steps.len()];
        for (slot, life) in self.slots.iter().zip(self.lives()).filter(|(slot, _)| slot.place == Place::Arena) {
            let Some((first, last)) = life else { continue };
            let during = first.max(1) - 1..last.min(self.steps.len());
            live[during].iter_mut().for_each(|bytes| *bytes += 4 * arena::size(slot) as u64);
        }
        live
    }

    /// The largest tensors, as a phrase for messages.
    pub fn largest(&self) -> String {
        let mut slots: Vec<&Slot> = self.slots.iter().collect();
        slots.sort_by_key(|slot| std::cmp::Reverse(slot.operand.shape.len()));
        let phrase = |slot: &&Slot| {
            let mib = slot.operand.shape.len() as f64 * 4.0 / f64::from(1 << 20);
            format!("{} {:?} ({mib:.1} MiB)", slot.name, slot.operand.shape)
        };
        slots.iter().take(3).map(phrase).collect::<Vec<_>>().join(", ")
    }
}

struct Builder<'a> {
    tape: &'a Tape,
    layouts: &'a BTreeMap<Region, Layout>,
    slots: Vec<Slot>,
    index: BTreeMap<Var, usize>,
}

impl Builder<'_> {
    fn inputs(&mut self) -> Vec<usize> {
        let vars = (0..self.tape.tensors.len() as u32).map(Var);
        let inputs: Vec<Var> = vars.filter(|v| self.tape.tensors[v.0 as usize].source == Source::Input).collect();
        inputs.into_iter().map(|v| self.slot(v)).collect()
    }

    fn slot(&mut self, v: Var) -> usize {
        if let Some(&index) = self.index.get(&v) {
            return index;
        }
        let tensor = &self.tape.tensors[v.0 as usize];
        let (place, offset, operand) = match self.tape.place(self.layouts, v) {
            Some((region, offset, operand)) => (Place::Region(region), offset, operand),
            None => (Place::Arena, 0, Operand::dense(tensor.shape)),
        };
        self.slots.push(Slot { name: tensor.name.clone(), operand, place, offset });
        self.index.insert(v, self.slots.len() - 1);
        self.slots.len() - 1
    }

    fn scratch(&mut self, label: &str, len: usize) -> usize {
        let operand = Operand::dense([1, 1, 1, 1, len].into());
        self.slots.push(Slot { name: format!("{label}.scratch"), operand, place: Place::Arena, offset: 0 });
        self.slots.len() - 1
    }
}
