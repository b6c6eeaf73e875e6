//! What CPU twins see of a program's memory: with the vectors of [`gemm`](super::gemm) the one place where the CPU executor is unsafe.
//!
//! A tensor's landmark slices lie [`Operand::k_stride`] elements apart, and what lies between them may belong to another tensor
//! of the same step. So a view is a pointer and an operand, and lends slices one at a time. That no slice to write overlaps
//! another is checked once, when a program is loaded ([`Sound`]): a run then makes views without allocating.
#![allow(unsafe_code)]

use crate::kernel::{Operand, Real, Shape};
use crate::plan::{Place, Program, Slot, Step};
use crate::tape::Region;
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

/// Persistent buffers by [`Region`].
pub(super) type Regions<T> = [Vec<T>; Region::COUNT];

/// Tensors that a step reads, at most, and that it writes.
const OPERANDS: usize = 8;

/// Elements of a band of rows, about.
const BAND: usize = 1 << 14;

/// Rows of a sample.
#[derive(Clone, Debug)]
pub struct Band {
    /// The landmark.
    pub k: usize,
    /// The sample of its batch.
    pub n: usize,
    /// Which rows.
    pub rows: Range<usize>,
}

/// A tensor that a CPU twin reads.
pub struct In<'a, T> {
    start: *const T,
    operand: Operand,
    memory: PhantomData<&'a [T]>,
}

// SAFETY: it lends what `&[T]` would.
unsafe impl<T: Sync> Sync for In<'_, T> {}

impl<'a, T> In<'a, T> {
    /// The shape.
    pub fn shape(&self) -> Shape {
        self.operand.shape
    }

    /// Landmark `k`'s slice `[n, h, w, c]`; every `k` is valid where the extent is 1.
    pub fn slice(&self, k: usize) -> &'a [T] {
        let Operand { shape, k_stride } = self.operand;
        let k = if shape.k == 1 { 0 } else { k };
        assert!(k < shape.k, "landmark {k} of {}", shape.k);
        // SAFETY: every slice lies in the tensor's memory, which is lent for 'a and which nothing writes: see `Sound`.
        unsafe { std::slice::from_raw_parts(self.start.add(k * k_stride), shape.slice_len()) }
    }

    /// The sample `[h, w, c]` of landmark `k`; every `n` is valid where the batch extent is 1.
    pub fn image(&self, k: usize, n: usize) -> &'a [T] {
        let len = self.shape().image_len();
        let n = if self.shape().n == 1 { 0 } else { n };
        &self.slice(k)[n * len..][..len]
    }

    /// The same rows of a sample as a band of another tensor has of as many rows.
    pub fn rows(&self, band: &Band) -> &'a [T] {
        let row = self.shape().w * self.shape().c;
        &self.image(band.k, band.n)[band.rows.start * row..band.rows.end * row]
    }
}

/// A tensor that a CPU twin writes.
pub struct Out<'a, T> {
    start: *mut T,
    operand: Operand,
    memory: PhantomData<&'a mut [T]>,
}

// SAFETY: it lends what `&mut [T]` would, and only through `&mut self`.
unsafe impl<T: Send> Send for Out<'_, T> {}
// SAFETY: as above; and what `&self` lends is `&[T]`.
unsafe impl<T: Send + Sync> Sync for Out<'_, T> {}

impl<T> Out<'_, T> {
    /// The shape.
    pub fn shape(&self) -> Shape {
        self.operand.shape
    }

    /// Landmark `k`'s elements from `from` on.
    ///
    /// # Safety
    /// The range lies inside the slice and is lent to nobody else.
    #[expect(clippy::mut_from_ref, reason = "the caller lends disjoint parts, each once")]
    unsafe fn part(&self, k: usize, from: usize, len: usize) -> &mut [T] {
        debug_assert!(k < self.operand.shape.k && from + len <= self.operand.shape.slice_len());
        // SAFETY: the part lies in the tensor's memory, which nothing else refers to: see `Sound`; and the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(k * self.operand.k_stride + from), len) }
    }

    /// All landmarks' slices `[n, h, w, c]`.
    pub fn slices(&mut self) -> impl Iterator<Item = &mut [T]> {
        let (this, shape) = (&*self, self.operand.shape);
        // SAFETY: each landmark's slice is lent once.
        (0..shape.k).map(move |k| unsafe { this.part(k, 0, shape.slice_len()) })
    }

    /// The sample `[h, w, c]` of landmark `k`, as far as it is written.
    pub fn image(&self, k: usize, n: usize) -> &[T] {
        let len = self.operand.shape.image_len();
        assert!(k < self.operand.shape.k && n < self.operand.shape.n, "no such sample");
        // SAFETY: what is lent to write borrows all of `self` mutably.
        unsafe { self.part(k, n * len, len) }
    }

    /// The one slice of a tensor that all landmarks share.
    pub fn shared(&mut self) -> &mut [T] {
        assert_eq!(self.operand.shape.k, 1, "only for tensors of landmark extent 1");
        // SAFETY: `self` is borrowed for as long.
        unsafe { self.part(0, 0, self.operand.shape.slice_len()) }
    }
}

impl<T: Send + Sync> Out<'_, T> {
    /// All samples `[h, w, c]`, landmark by landmark.
    pub fn images(&mut self) -> impl IndexedParallelIterator<Item = &mut [T]> {
        self.chunks(self.operand.shape.image_len()).map(|(_, _, image)| image)
    }

    /// All samples cut into bands of rows that are worth a thread's while.
    pub fn bands(&mut self) -> impl IndexedParallelIterator<Item = (Band, &mut [T])> {
        let Shape { n, h, w, c, .. } = self.operand.shape;
        let rows = (BAND / (w * c)).clamp(1, h);
        self.chunks(rows * w * c).map(move |(image, band, part)| {
            let first = band * rows;
            (Band { k: image / n, n: image % n, rows: first..(first + rows).min(h) }, part)
        })
    }

    /// All samples cut into pieces of `len` elements, the last of a sample perhaps shorter: the number of the sample, landmark by
    /// landmark, that of the piece in it, and the piece.
    pub fn chunks(&mut self, len: usize) -> impl IndexedParallelIterator<Item = (usize, usize, &mut [T])> {
        let (this, shape) = (&*self, self.operand.shape);
        let (image_len, each) = (shape.image_len(), shape.image_len().div_ceil(len));
        (0..shape.k * shape.n * each).into_par_iter().map(move |i| {
            let (image, piece) = (i / each, i % each);
            let from = image % shape.n * image_len + piece * len;
            // SAFETY: pieces do not overlap, and each is lent once.
            let part = unsafe { this.part(image / shape.n, from, len.min(image_len - piece * len)) };
            (image, piece, part)
        })
    }
}

/// A program whose tensors lie inside its buffers, and none of whose steps writes a slice that overlaps another that it reads
/// or writes.
pub(super) struct Sound(Program);

impl Sound {
    /// # Panics
    /// If the program is not so: the planner's fault.
    pub fn new(program: Program) -> Self {
        for slot in &program.slots {
            let len = match slot.place {
                Place::Arena => program.arena_len,
                Place::Region(region) => program.regions.get(&region).copied().unwrap_or(0),
            };
            let end = slot.operand.checked_span().and_then(|span| span.checked_add(slot.offset));
            assert!(end.is_some_and(|end| end <= len), "{} lies outside its buffer", slot.name);
        }
        program.steps.iter().for_each(|step| check(&program, step));
        Self(program)
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.0
    }
}

fn check(program: &Program, step: &Step) {
    assert!(step.inputs.len() <= OPERANDS && step.outputs.len() <= OPERANDS, "{} has too many operands", step.label);
    let ranges = |slots: &[usize], written: bool| -> Vec<_> {
        let range = |&slot: &usize| {
            let Slot { place, offset, operand: Operand { shape, k_stride }, .. } = program.slots[slot];
            let region = if let Place::Region(region) = place { Some(region) } else { None };
            (0..shape.k).map(move |k| {
                let start = offset + k * k_stride;
                (region, start, start + shape.slice_len(), written)
            })
        };
        slots.iter().flat_map(range).collect()
    };
    let scratch: Vec<usize> = step.scratch.into_iter().collect();
    let mut all = [ranges(&step.inputs, false), ranges(&step.outputs, true), ranges(&scratch, true)].concat();
    all.sort_unstable();
    for of_one_buffer in all.chunk_by(|a, b| a.0 == b.0) {
        // Sorted by start: a range that reaches into a later one is seen when the furthest end so far is kept.
        let (mut read_end, mut write_end) = (0, 0);
        for &(_, start, end, written) in of_one_buffer {
            let apart = start >= write_end && !(written && start < read_end);
            assert!(apart, "a tensor that {} writes overlaps another", step.label);
            if written { write_end = end } else { read_end = read_end.max(end) }
        }
    }
}

/// A program with its arena and the persistent buffers.
pub(super) struct Memory<'a, T> {
    program: &'a Program,
    arena: *mut T,
    regions: [*mut T; Region::COUNT],
    borrow: PhantomData<&'a mut T>,
}

// SAFETY: it is a mutable borrow of the buffers.
unsafe impl<T: Send> Send for Memory<'_, T> {}

impl<'a, T: Real> Memory<'a, T> {
    /// # Panics
    /// If a buffer is shorter than the program asks for: a fault of the caller.
    pub fn new(program: &'a Sound, arena: &'a mut [T], regions: &'a mut Regions<T>) -> Self {
        let program = program.program();
        let fits = program.regions.iter().all(|(&region, &len)| len <= regions[region as usize].len());
        assert!(fits && program.arena_len <= arena.len(), "a buffer is shorter than the program asks for");
        Self {
            program,
            arena: arena.as_mut_ptr(),
            regions: regions.each_mut().map(|buffer| buffer.as_mut_ptr()),
            borrow: PhantomData,
        }
    }

    /// Runs the step of this number.
    pub fn run(&mut self, index: usize) {
        let Program { slots, steps, .. } = self.program;
        let step = &steps[index];
        let start = |slot: &Slot| {
            let buffer = match slot.place {
                Place::Arena => self.arena,
                Place::Region(region) => self.regions[region as usize],
            };
            // SAFETY: the slots of a sound program lie inside its buffers.
            unsafe { buffer.add(slot.offset) }
        };
        // What is beyond a step's operands has no elements.
        let none = Operand::dense([0; 5].into());
        let inputs: [In<T>; OPERANDS] = std::array::from_fn(|i| match step.inputs.get(i).map(|&slot| &slots[slot]) {
            Some(slot) => In { start: start(slot), operand: slot.operand, memory: PhantomData },
            None => In { start: std::ptr::dangling(), operand: none, memory: PhantomData },
        });
        let mut outputs: [Out<T>; OPERANDS] =
            std::array::from_fn(|i| match step.outputs.get(i).map(|&slot| &slots[slot]) {
                Some(slot) => Out { start: start(slot), operand: slot.operand, memory: PhantomData },
                None => Out { start: std::ptr::dangling_mut(), operand: none, memory: PhantomData },
            });
        let scratch = match step.scratch.map(|slot| &slots[slot]) {
            // SAFETY: nothing else of a sound program's step overlaps its working memory.
            Some(slot) => unsafe { std::slice::from_raw_parts_mut(start(slot), slot.operand.shape.len()) },
            None => &mut [],
        };
        step.op.cpu(&inputs[..step.inputs.len()], &mut outputs[..step.outputs.len()], scratch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Tape;

    /// `y = 2 x + 1`, `z = x + y`.
    fn program() -> Program {
        let mut tape = Tape::new();
        let x = tape.input("x", [2, 1, 1, 1, 64]);
        let y = tape.scale_shift(x, 2.0, 1.0).unwrap();
        let z = tape.add(x, y).unwrap();
        tape.output(z);
        Program::new(&tape)
    }

    #[test]
    fn what_the_planner_makes_is_sound() {
        Sound::new(program());
    }

    #[test]
    #[should_panic(expected = "overlaps another")]
    fn a_result_may_not_lie_on_an_input() {
        let mut program = program();
        let [x, y] = [program.steps[1].inputs[0], program.steps[1].outputs[0]];
        program.slots[y].offset = program.slots[x].offset + 127;
        program.arena_len += 256;
        Sound::new(program);
    }

    #[test]
    #[should_panic(expected = "outside its buffer")]
    fn a_tensor_may_not_reach_beyond_its_buffer() {
        let mut program = program();
        program.arena_len -= 1;
        Sound::new(program);
    }

    #[test]
    fn pieces_cover_every_sample_and_slices_may_interleave() {
        let mut memory: Vec<usize> = vec![usize::MAX; 2 * 14 + 10];
        // Two landmarks of two samples of five elements, 14 apart.
        let operand = Operand { shape: [2, 2, 1, 5, 1].into(), k_stride: 14 };
        let mut out = Out { start: memory.as_mut_ptr(), operand, memory: PhantomData };
        out.chunks(2).for_each(|(image, piece, part)| part.fill(10 * image + piece));
        assert_eq!(out.images().map(|image| image.len()).collect::<Vec<_>>(), [5; 4]);
        let expected = [0, 0, 1, 1, 2, 10, 10, 11, 11, 12].map(|v| [v, v + 20]);
        assert!((0..10).all(|i| [memory[i], memory[14 + i]] == expected[i]));
        assert!(memory[10..14].iter().all(|&v| v == usize::MAX));
    }
}
