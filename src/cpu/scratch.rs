//! Per-thread working memory that is kept between calls, so that a steady state allocates nothing: what a
//! program's steps ask for is reserved when it is loaded.

use crate::kernel::Real;
use std::cell::RefCell;

thread_local! {
    static SCRATCH: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with `len` elements of unspecified content. Calls on one thread do not nest.
pub fn with_scratch<T: Real, R>(len: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    SCRATCH.with_borrow_mut(|memory| {
        let words = (len * size_of::<T>()).div_ceil(size_of::<u64>());
        if memory.len() < words {
            memory.resize(words, 0);
        }
        f(&mut bytemuck::cast_slice_mut(&mut memory[..words])[..len])
    })
}

/// Sees to it that every thread of the current pool has `len` elements.
pub fn reserve<T: Real>(len: usize) {
    rayon::broadcast(|_| with_scratch(len, |_: &mut [T]| ()));
}
