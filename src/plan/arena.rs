//! Packs tensors whose lifetimes overlap into disjoint parts of one arena: the largest first, each at the lowest offset that
//! is free for as long as it lives (greedy by size, Pisarchyk and Lee 2020).

use super::{Place, Slot, Step};

/// Words of four bytes that a place is a multiple of: 256 bytes, what GPU bindings ask for.
const ALIGN: usize = 64;

/// When a slot is first and last used: 0 is before the first step, which is 1.
pub(super) type Life = Option<(usize, usize)>;

/// The life of each of `count` slots.
pub(super) fn lives(count: usize, steps: &[Step], inputs: &[usize], outputs: &[usize]) -> Vec<Life> {
    let mut lives: Vec<Life> = vec![None; count];
    let mut touch = |slot: usize, time: usize| {
        let life = lives[slot].get_or_insert((time, time));
        *life = (life.0.min(time), life.1.max(time));
    };
    // Inputs are uploaded before the first step, outputs are read after the last.
    inputs.iter().for_each(|&slot| touch(slot, 0));
    outputs.iter().for_each(|&slot| touch(slot, steps.len() + 1));
    for (i, step) in steps.iter().enumerate() {
        step.inputs.iter().chain(&step.outputs).chain(&step.scratch).for_each(|&slot| touch(slot, i + 1));
    }
    lives
}

/// Words that a slot takes in the arena.
pub(super) fn size(slot: &Slot) -> usize {
    (slot.bytes() / 4).next_multiple_of(ALIGN as u64) as usize
}

/// The word of the arena at which a slot begins.
fn start(slot: &Slot) -> usize {
    (slot.byte_offset() / 4) as usize
}

/// Sets the offsets of the slots in the arena. Returns its words, and its words if nothing shared memory.
pub(super) fn pack(slots: &mut [Slot], lives: &[Life]) -> (usize, usize) {
    let mut order: Vec<usize> =
        (0..slots.len()).filter(|&i| slots[i].place == Place::Arena && lives[i].is_some()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(size(&slots[i])));
    let mut placed: Vec<usize> = Vec::new();
    for &i in &order {
        let overlap = |&j: &usize| {
            let ((a, b), (c, d)) = (lives[i].expect("filtered"), lives[j].expect("filtered"));
            a <= d && c <= b
        };
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .copied()
            .filter(overlap)
            .map(|j| (start(&slots[j]), start(&slots[j]) + size(&slots[j])))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if offset + size(&slots[i]) <= start {
                break;
            }
            offset = offset.max(end);
        }
        slots[i].offset = 4 * offset / slots[i].element.bytes() as usize;
        placed.push(i);
    }
    let end = |&i: &usize| start(&slots[i]) + size(&slots[i]);
    (placed.iter().map(end).max().unwrap_or(0), placed.iter().map(|&i| size(&slots[i])).sum())
}

#[cfg(test)]
mod tests {
    use crate::plan::{Place, Program};
    use crate::tape::Tape;

    #[test]
    fn tensors_alive_at_once_do_not_overlap_and_memory_is_reused() {
        let mut tape = Tape::new();
        let x = tape.input("x", [1, 2, 8, 8, 3]);
        let mut y = x;
        for _ in 0..6 {
            let z = tape.scale_shift(y, 2.0, 1.0).unwrap();
            y = tape.add(z, y).unwrap();
        }
        tape.output(y);
        let program = Program::new(&tape);
        assert!(program.arena_len * 2 < program.arena_len_unaliased);
        let last_use = |slot: usize| {
            let used = program.steps.iter().rposition(|step| step.inputs.contains(&slot)).unwrap_or(0);
            if program.outputs.contains(&slot) { usize::MAX } else { used }
        };
        for (time, step) in program.steps.iter().enumerate() {
            let live = (0..program.slots.len()).filter(|&s| {
                let born = program.steps.iter().position(|step| step.outputs.contains(&s)).unwrap_or(0);
                program.slots[s].place == Place::Arena && born <= time && time <= last_use(s)
            });
            for other in live.filter(|s| !step.outputs.contains(s)) {
                for &out in &step.outputs {
                    let (a, b) = (&program.slots[out], &program.slots[other]);
                    let apart = a.byte_offset() + a.bytes() <= b.byte_offset()
                        || b.byte_offset() + b.bytes() <= a.byte_offset();
                    assert!(apart, "{} and {} overlap", a.name, b.name);
                }
            }
        }
    }
}
