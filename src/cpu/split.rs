//! Borrows of many disjoint parts of a program's memory at once: the one place where the CPU executor is unsafe.
#![allow(unsafe_code)]

use crate::kernel::Operand;
use crate::plan::{Place, Slot};
use crate::tape::Region;
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// A program's arena and the persistent buffers.
pub(super) struct Memory<'a, T> {
    arena: (*mut T, usize),
    regions: BTreeMap<Region, (*mut T, usize)>,
    borrow: PhantomData<&'a mut T>,
}

impl<'a, T> Memory<'a, T> {
    pub fn new(arena: &'a mut [T], regions: &'a mut BTreeMap<Region, Vec<T>>) -> Self {
        let part = |slice: &mut [T]| (slice.as_mut_ptr(), slice.len());
        let regions = regions.iter_mut().map(|(&region, buffer)| (region, part(buffer))).collect();
        Self { arena: part(arena), regions, borrow: PhantomData }
    }

    /// The slot's slice of each landmark.
    fn parts(&self, slot: &Slot) -> Vec<(*mut T, usize)> {
        let (start, len) = match slot.place {
            Place::Arena => self.arena,
            Place::Region(region) => self.regions[&region],
        };
        assert!(slot.offset + slot.operand.span() <= len, "{} lies outside its buffer", slot.name);
        let Operand { shape, k_stride } = slot.operand;
        // SAFETY: every slice lies within the span, which lies inside the buffer, just checked.
        (0..shape.k).map(|k| (unsafe { start.add(slot.offset + k * k_stride) }, shape.slice_len())).collect()
    }

    /// The landmark slices of the slots to read and of those to write.
    ///
    /// # Panics
    /// If a slice to write overlaps any other.
    #[expect(clippy::type_complexity, reason = "two lists of lists of slices")]
    pub fn split(&mut self, reads: &[&Slot], writes: &[&Slot]) -> (Vec<Vec<&[T]>>, Vec<Vec<&mut [T]>>) {
        let parts = |slots: &[&Slot]| slots.iter().map(|slot| self.parts(slot)).collect::<Vec<_>>();
        let (reads, writes) = (parts(reads), parts(writes));
        let range =
            |&(start, len): &(*mut T, usize), write| (start as usize, start as usize + len * size_of::<T>(), write);
        let mut ranges: Vec<(usize, usize, bool)> = reads.iter().flatten().map(|part| range(part, false)).collect();
        ranges.extend(writes.iter().flatten().map(|part| range(part, true)));
        ranges.sort_unstable();
        // Sorted by start: a range that reaches into a later one is seen when the furthest end so far is kept.
        let (mut read_end, mut write_end) = (0, 0);
        for (start, end, write) in ranges {
            assert!(start >= write_end && !(write && start < read_end), "a tensor to write overlaps another");
            if write { write_end = end } else { read_end = read_end.max(end) }
        }
        // SAFETY: every part lies inside a buffer that `self` borrows mutably for as long as the slices live; parts to write
        // are disjoint from all others, checked above.
        let read = |(start, len): (*mut T, usize)| unsafe { std::slice::from_raw_parts(start as *const T, len) };
        let write = |(start, len): (*mut T, usize)| unsafe { std::slice::from_raw_parts_mut(start, len) };
        (
            reads.into_iter().map(|parts| parts.into_iter().map(read).collect()).collect(),
            writes.into_iter().map(|parts| parts.into_iter().map(write).collect()).collect(),
        )
    }
}
