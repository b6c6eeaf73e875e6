//! The same program with f16 storage: half the bytes wherever nothing but storage is lost.
//!
//! Parameters, maps that programs leave to each other, and what [kernels read and write in f16](crate::kernel::Kernel::half), are
//! stored in f16; arithmetic and sums stay in f32. Inputs, outputs, images and scratch memory stay f32. A kernel runs in f16 if one of its inputs is stored so, or is an
//! input of the program; where it needs the other type, a conversion goes before it.

use super::{Place, Program, Slot, Step, arena};
use crate::kernel::convert::Convert;
use crate::kernel::tensor::Element;
use crate::kernel::{Half, Op, Operand};
use crate::tape::Region;
use std::collections::BTreeMap;

impl Region {
    /// How its numbers are stored where that of programs is this: parameters and maps like it, all else in f32.
    pub fn element(self, storage: Element) -> Element {
        if matches!(self, Self::Params | Self::Ema | Self::Teacher | Self::Maps) { storage } else { Element::F32 }
    }
}

impl Program {
    /// With f16 storage; one that has it stays as it is. For programs that only look: a training step keeps its state in f32.
    pub fn half(mut self) -> Self {
        for slot in &mut self.slots {
            if let Place::Region(region) = slot.place {
                slot.element = region.element(Element::F16);
            }
        }
        let inputs = self.inputs.clone();
        let mut rewrite = Rewrite { slots: self.slots, inputs, steps: Vec::new(), converted: BTreeMap::new() };
        self.steps.into_iter().for_each(|step| rewrite.step(step));
        self.outputs = self.outputs.iter().map(|&slot| rewrite.converted(slot, Element::F32)).collect();
        (self.slots, self.steps) = (rewrite.slots, rewrite.steps);
        let lives = arena::lives(self.slots.len(), &self.steps, &self.inputs, &self.outputs);
        (self.arena_len, self.arena_len_unaliased) = arena::pack(&mut self.slots, &lives);
        self
    }
}

struct Rewrite {
    slots: Vec<Slot>,
    inputs: Vec<usize>,
    steps: Vec<Step>,
    /// Slots that hold another's values in another type.
    converted: BTreeMap<(usize, Element), usize>,
}

impl Rewrite {
    fn step(&mut self, mut step: Step) {
        if matches!(step.op, Op::Convert(_)) {
            return self.push(step);
        }
        let begins = |slot: &usize| self.slots[*slot].element == Element::F16 || self.inputs.contains(slot);
        let half = step.op.half().filter(|&half| half == Half::Writes || step.inputs.iter().any(begins));
        let (reads, writes) = match half {
            None => (Element::F32, Element::F32),
            Some(Half::Reads) => (Element::F16, Element::F32),
            Some(Half::Writes) => (Element::F32, Element::F16),
            Some(Half::Both) => (Element::F16, Element::F16),
        };
        step.inputs = step.inputs.iter().map(|&slot| self.converted(slot, reads)).collect();
        let Some(&first) = step.outputs.first() else { return self.push(step) };
        match self.slots[first].place {
            Place::Arena => self.slots[first].element = writes,
            // All programs see a persistent buffer in its own type.
            Place::Region(_) if self.slots[first].element != writes => {
                step.outputs[0] = self.beside(first, writes);
                let from = step.outputs[0];
                self.push(step);
                return self.convert(from, first);
            }
            Place::Region(_) => {}
        }
        self.push(step);
    }

    /// A slot with a slot's values in this type: that itself, or what a conversion writes.
    fn converted(&mut self, slot: usize, element: Element) -> usize {
        if self.slots[slot].element == element {
            return slot;
        }
        if let Some(&known) = self.converted.get(&(slot, element)) {
            return known;
        }
        let to = self.beside(slot, element);
        self.converted.insert((slot, element), to);
        self.convert(slot, to);
        to
    }

    /// A new slot for a slot's values in another type.
    fn beside(&mut self, slot: usize, element: Element) -> usize {
        let Slot { name, operand, .. } = self.slots[slot].clone();
        self.slots.push(Slot { name, operand: Operand::dense(operand.shape), element, place: Place::Arena, offset: 0 });
        self.slots.len() - 1
    }

    fn convert(&mut self, from: usize, to: usize) {
        let op = Op::from(Convert {});
        let shape = self.slots[from].operand.shape;
        let cost = op.cost(&[shape], &[shape]);
        self.push(Step { label: op.name().into(), op, inputs: vec![from], outputs: vec![to], scratch: None, cost });
    }

    fn push(&mut self, mut step: Step) {
        let shapes = |slots: &[usize]| slots.iter().map(|&slot| self.slots[slot].operand.shape).collect::<Vec<_>>();
        let moved = step.op.moved(&shapes(&step.inputs), &shapes(&step.outputs));
        let bytes = step.inputs.iter().chain(&step.outputs).map(|&slot| self.slots[slot].element.bytes());
        step.cost.bytes = moved.iter().zip(bytes).map(|(moved, bytes)| moved * bytes).sum();
        self.steps.push(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::{Init, Tape};

    #[test]
    fn maps_are_f16_whoever_writes_them() {
        let mut tape = Tape::new();
        let x = tape.input("x", [1, 1, 8, 8, 4]);
        let w = tape.parameter(Region::Ema, "w", [1, 4, 3, 3, 4], Init::Ones);
        // The one kernel writes f16, the other f32.
        let a = tape.conv2d(x, w, None, None, 1).unwrap();
        let b = tape.scale_shift(x, 2.0, 0.0).unwrap();
        for (name, value) in [("a", a), ("b", b)] {
            let place = tape.parameter(Region::Maps, name, [1, 1, 8, 8, 4], Init::Zeros);
            tape.store(value, place).unwrap();
        }
        let half = Program::new(&tape).half();
        assert_eq!(half.clone().half(), half);
        let maps: Vec<_> = half.slots.iter().filter(|slot| slot.place == Place::Region(Region::Maps)).collect();
        assert!(maps.len() >= 2 && maps.iter().all(|slot| slot.element == Element::F16));
        let writes = |step: &Step| (step.op.name(), half.slots[step.outputs[0]].place);
        let written: Vec<_> = half.steps.iter().map(writes).collect();
        let (arena, maps) = (Place::Arena, Place::Region(Region::Maps));
        assert_eq!(written, [("convert", arena), ("conv2d", maps), ("scale_shift", arena), ("convert", maps)]);
    }

    #[test]
    fn storage_is_halved_and_conversions_stand_where_types_meet() {
        let mut tape = Tape::new();
        let x = tape.input("x", [1, 1, 8, 8, 4]);
        let w = tape.parameter(Region::Ema, "w", [1, 4, 3, 3, 4], Init::Ones);
        let a = tape.conv2d(x, w, None, None, 1).unwrap();
        let b = tape.conv2d(a, w, None, None, 1).unwrap();
        // Neither has f16 variants.
        let c = tape.scale_shift(b, 2.0, 0.0).unwrap();
        let d = tape.sum_all(b).unwrap();
        tape.output(c);
        tape.output(d);
        tape.output(a);
        let (single, half) = (Program::new(&tape), Program::new(&tape).half());
        assert_eq!(half.clone().half(), half, "once is enough");
        let names: Vec<&str> = half.steps.iter().map(|step| step.op.name()).collect();
        assert_eq!(names, ["convert", "conv2d", "conv2d", "convert", "scale_shift", "sum", "convert"]);
        let element = |slot: usize| half.slots[slot].element;
        assert!(half.inputs.iter().chain(&half.outputs).all(|&slot| element(slot) == Element::F32));
        assert_eq!(half.steps[2].inputs.iter().map(|&slot| element(slot)).collect::<Vec<_>>(), [Element::F16; 2]);
        assert_eq!(half.steps[2].cost.bytes * 2, single.steps[1].cost.bytes);
        assert_eq!(half.region_bytes(Region::Ema) * 2, single.region_bytes(Region::Ema));
        assert!(
            single.slots.iter().all(|slot| slot.element == Element::F32) && half.arena_bytes() < single.arena_bytes()
        );
    }
}
