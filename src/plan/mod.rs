//! Turns a tape into a static program: dead operations dropped, activations fused into what produces their input, tensors
//! packed into one arena. A [`Program`] is plain data that an executor runs again and again.

mod arena;
mod fuse;
mod half;

#[cfg(feature = "gpu")]
use crate::gpu::{Choice, shaders};
#[cfg(feature = "gpu")]
use crate::kernel::{Bind, Dispatch};
use crate::kernel::{Cost, Element, Op, Operand, Shape};
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
    /// How its numbers are stored.
    pub element: Element,
    /// Which buffer.
    pub place: Place,
    /// Its first element there, in elements of its own.
    pub offset: usize,
}

impl Slot {
    /// Bytes from the first element to the last, in whole words of four.
    pub fn bytes(&self) -> u64 {
        (self.operand.span() as u64 * self.element.bytes()).next_multiple_of(4)
    }

    /// Bytes of its buffer before it.
    pub fn byte_offset(&self) -> u64 {
        self.offset as u64 * self.element.bytes()
    }
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
    /// Words of the arena, four bytes each.
    pub arena_len: usize,
    /// Words of the arena if no two tensors shared memory.
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
        self.arena_bytes() + self.regions.keys().map(|&region| self.region_bytes(region)).sum::<u64>()
    }

    /// Bytes of a persistent buffer.
    pub fn region_bytes(&self, region: Region) -> u64 {
        let slot = self.slots.iter().find(|slot| slot.place == Place::Region(region));
        self.regions.get(&region).map_or(0, |&len| len as u64) * slot.map_or(0, |slot| slot.element.bytes())
    }

    /// The operands of slots.
    pub fn operands(&self, slots: &[usize]) -> Vec<Operand> {
        slots.iter().map(|&slot| self.slots[slot].operand).collect()
    }

    /// The GPU launches of a step, in the variants that are chosen and for how its operands are stored.
    #[cfg(feature = "gpu")]
    pub(crate) fn launches(&self, step: &Step, choice: &Choice) -> Vec<Dispatch> {
        let (x, y) = (self.operands(&step.inputs), self.operands(&step.outputs));
        let half = |slots: &[usize]| slots.iter().any(|&slot| self.slots[slot].element == Element::F16);
        let (reads, writes) = (half(&step.inputs), half(&step.outputs));
        let mut launches = match choice.tile(&step.op, &x, &y, reads) {
            Some(tile) => step.op.gpu_tiled(tile, &x, &y),
            None => step.op.gpu(&x, &y),
        };
        let suffixes: &[&str] = match (reads, writes) {
            (false, false) => &[],
            (false, true) => &["_to_f16", "_f16"],
            (true, false) => &["_to_f32", "_f16"],
            (true, true) => &["_f16"],
        };
        for launch in &mut launches {
            let mut variants =
                suffixes.iter().filter_map(|suffix| shaders::find(&format!("{}{suffix}", launch.shader)));
            launch.shader = variants.next().map_or(launch.shader, |variant| variant.name);
        }
        launches
    }

    /// The GPU launches in order, each with the step that it belongs to and the slots behind its bindings.
    #[cfg(feature = "gpu")]
    pub(crate) fn dispatches(&self, choice: &Choice) -> impl Iterator<Item = (usize, Dispatch, Vec<Option<usize>>)> {
        self.steps.iter().enumerate().flat_map(|(index, step)| {
            let slot = |bind: &Bind| match *bind {
                Bind::In(i) => Some(step.inputs[i]),
                Bind::Out(i) => Some(step.outputs[i]),
                Bind::Scratch => step.scratch,
                Bind::Unused => None,
            };
            self.launches(step, choice).into_iter().map(move |dispatch| {
                let slots = dispatch.binds.iter().map(slot).collect();
                (index, dispatch, slots)
            })
        })
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
            let mib = (slot.operand.shape.len() as u64 * slot.element.bytes()) as f64 / f64::from(1 << 20);
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
        self.slots.push(Slot { name: tensor.name.clone(), operand, element: Element::F32, place, offset });
        self.index.insert(v, self.slots.len() - 1);
        self.slots.len() - 1
    }

    fn scratch(&mut self, label: &str, len: usize) -> usize {
        let operand = Operand::dense([1, 1, 1, 1, len].into());
        let name = format!("{label}.scratch");
        self.slots.push(Slot { name, operand, element: Element::F32, place: Place::Arena, offset: 0 });
        self.slots.len() - 1
    }
}
