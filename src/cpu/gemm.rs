//! The matrix product under all CPU twins: `c = a b` with `a` anywhere in memory.
//!
//! The left operand is read where it lies: its rows and columns are [`Grid`]s, so that a zero-padded image *is* the left matrix
//! of a convolution (rows are output pixels, columns are taps) and of its weight gradient (rows are taps, columns are output
//! pixels), without an im2col buffer. The right operand has contiguous rows, padded to a multiple of [`LANES`].
//!
//! One tile of `MR` rows and `NV` vectors of columns lives in registers while `k` runs; each result is one chain of fused
//! multiply-adds over ascending `k`. So its bits depend neither on tile sizes nor on the processor, as long as it has fused
//! multiply-adds (x86-64-v3 and later, aarch64). The tile is one generic function over vectors; the widest that the processor
//! has is chosen when the program runs.
#![allow(unsafe_code)]

use crate::kernel::Real;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::any::TypeId;
#[cfg(target_arch = "x86_64")]
use std::arch::is_x86_feature_detected;

/// What the rows of a right operand are padded to a multiple of.
pub const LANES: usize = 8;

/// Where the elements of an axis lie: element `i` is `i / inner * far + i % inner * near` from the start.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// Elements of a run.
    pub inner: usize,
    /// Distance within a run.
    pub near: usize,
    /// Distance between the starts of runs.
    pub far: usize,
}

impl Grid {
    /// `len` elements a constant distance apart.
    pub fn line(len: usize, near: usize) -> Self {
        Self { inner: len.max(1), near, far: 0 }
    }

    fn at(&self, i: usize) -> usize {
        i / self.inner * self.far + i % self.inner * self.near
    }

    /// The furthest offset among `len` elements; none if that cannot be counted.
    fn reach(&self, len: usize) -> Option<usize> {
        let last = len - 1;
        let within = last.min(self.inner - 1).checked_mul(self.near)?;
        // Of the last run, or where that is short of the one before.
        let at = (last / self.inner).checked_mul(self.far)?.checked_add(last % self.inner * self.near)?;
        Some(at.max((last / self.inner).saturating_sub(1).checked_mul(self.far)?.checked_add(within)?))
    }
}

/// A left operand: element `(m, k)` is `data[rows.at(m) + columns.at(k)]`.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a, T> {
    /// Where the elements lie.
    pub data: &'a [T],
    /// Offsets of rows.
    pub rows: Grid,
    /// Offsets of columns; their number is a multiple of `inner`.
    pub columns: Grid,
}

/// A right operand: `k` rows of `row` elements each, of which the product uses the first `n`. What lies between `n` and the next
/// multiple of [`LANES`] is read but has no say.
#[derive(Clone, Copy, Debug)]
pub struct Right<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// Distance between rows.
    pub row: usize,
}

/// What a result starts from.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a, T> {
    /// Zero.
    Zero,
    /// A value for each column.
    Row(&'a [T]),
    /// What `c` holds.
    Sum,
}

/// The width that the rows of a right operand of `n` columns are padded to.
pub fn padded(n: usize) -> usize {
    n.next_multiple_of(LANES)
}

/// Transposes `from: [n, k]` into the rows of a right operand, `[k, padded(n)]`.
pub fn pack_transposed<T: Real>(from: &[T], n: usize, k: usize, to: &mut [T]) {
    let width = padded(n);
    // Blocks of eight columns of `from` keep both sides in the first-level cache.
    for (block, to) in to[..k * width].chunks_mut(8 * width).enumerate() {
        let first = 8 * block;
        for (i, to) in to.chunks_exact_mut(width).enumerate() {
            let (values, rest) = to.split_at_mut(n);
            values.iter_mut().zip(from[first + i..].iter().step_by(k)).for_each(|(to, &v)| *to = v);
            rest.fill(T::zero());
        }
    }
}

/// `c = start + a b` for `a: [m, k]`, `b: [k, n]` and `c: [m, n]`, its rows without gaps.
///
/// Single-threaded: the caller cuts work into pieces by shape alone, so that sums associate the same way on any number of
/// threads.
///
/// # Panics
/// If an operand reaches beyond its slice.
pub fn gemm<T: Real>([m, n, k]: [usize; 3], a: Left<T>, b: Right<T>, start: Start<T>, c: &mut [T]) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(k.is_multiple_of(a.columns.inner), "columns come in whole runs");
    let left = || a.rows.reach(m)?.checked_add(a.columns.reach(k)?);
    assert!(k == 0 || left().is_some_and(|end| end < a.data.len()), "the left operand reaches beyond its slice");
    let right = || (k - 1).checked_mul(b.row)?.checked_add(padded(n));
    assert!(
        padded(n) <= b.row && (k == 0 || right().is_some_and(|end| end <= b.data.len())),
        "the right operand reaches beyond its slice"
    );
    assert!(m.checked_mul(n).is_some_and(|end| end <= c.len()), "the result reaches beyond its slice");
    let product = Product { m, n, k, a, b, start };
    // SAFETY: the three slices hold all elements that the product touches, just checked; the processor has the features asked
    // for; the vectors' items are `T`s.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if TypeId::of::<T>() == TypeId::of::<f32>() {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                return with_avx512(product, c);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return with_avx2(product, c);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if TypeId::of::<T>() == TypeId::of::<f32>() {
            product.panels::<std::arch::aarch64::float32x4_t, 8, 2>(0, c);
            return;
        }
        product.panels::<Plain<T>, 4, 1>(0, c);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn with_avx512<T: Real>(product: Product<T>, c: &mut [T]) {
    use std::arch::x86_64::{__m256, __m512};
    // SAFETY: the caller's.
    unsafe {
        let column = product.panels::<__m512, 8, 2>(0, c);
        let column = product.panels::<__m512, 8, 1>(column, c);
        product.panels::<__m256, 8, 1>(column, c);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn with_avx2<T: Real>(product: Product<T>, c: &mut [T]) {
    use std::arch::x86_64::__m256;
    // SAFETY: the caller's.
    unsafe {
        let column = product.panels::<__m256, 6, 2>(0, c);
        product.panels::<__m256, 6, 1>(column, c);
    }
}

#[derive(Clone, Copy)]
struct Product<'a, T> {
    m: usize,
    n: usize,
    k: usize,
    a: Left<'a, T>,
    b: Right<'a, T>,
    start: Start<'a, T>,
}

/// The widest tile.
const WIDEST: usize = 32;
/// The tallest tile.
const TALLEST: usize = 8;

impl<T: Real> Product<'_, T> {
    /// Panels of `NV` vectors of columns from `column` on, as many as fit the padded width, each over all rows: the panel of
    /// `b` stays in cache. Returns the first column that is left.
    ///
    /// # Safety
    /// The operands' slices hold every element of the product, `V`'s items are `T`s, and the processor has `V`'s instructions.
    #[inline(always)]
    unsafe fn panels<V: Vector, const MR: usize, const NV: usize>(&self, mut column: usize, c: &mut [T]) -> usize {
        let width = NV * V::LEN;
        let mut edge = [T::zero(); TALLEST * WIDEST];
        while column + width <= padded(self.n) {
            for first in (0..self.m).step_by(MR) {
                let (rows, columns) = (MR.min(self.m - first), width.min(self.n - column));
                if (rows, columns) == (MR, width) {
                    let c = &mut c[first * self.n + column..];
                    // SAFETY: the caller's; `c` holds `MR` rows of `width` elements from here on.
                    unsafe { self.tile::<V, MR, NV>(first, rows, column, self.start, c.as_mut_ptr(), self.n) };
                    continue;
                }
                let row = |i: usize| (first + i) * self.n + column;
                for (i, edge) in edge.chunks_exact_mut(width).enumerate().take(rows) {
                    match self.start {
                        Start::Zero => edge[..columns].fill(T::zero()),
                        Start::Row(start) => edge[..columns].copy_from_slice(&start[column..][..columns]),
                        Start::Sum => edge[..columns].copy_from_slice(&c[row(i)..][..columns]),
                    }
                }
                // SAFETY: the caller's; `edge` holds `MR` rows of `width` elements.
                unsafe { self.tile::<V, MR, NV>(first, rows, column, Start::Sum, edge.as_mut_ptr(), width) };
                for (i, edge) in edge.chunks_exact(width).enumerate().take(rows) {
                    c[row(i)..][..columns].copy_from_slice(&edge[..columns]);
                }
            }
            column += width;
        }
        column
    }

    /// The `MR` rows from `first` on and `NV` vectors of columns from `column` on, into rows of `c` that lie `c_row` apart. Rows
    /// beyond the first `rows` repeat the last of those.
    ///
    /// # Safety
    /// As for [`Product::panels`]; `c` holds `MR` such rows.
    #[inline(always)]
    unsafe fn tile<V: Vector, const MR: usize, const NV: usize>(
        &self,
        first: usize,
        rows: usize,
        column: usize,
        start: Start<T>,
        c: *mut T,
        c_row: usize,
    ) {
        let Self { k, a, b, .. } = *self;
        let starts: [usize; MR] = std::array::from_fn(|i| a.rows.at(first + i.min(rows - 1)));
        let (left, right, c) = (a.data.as_ptr(), b.data.as_ptr().cast::<V::Item>(), c.cast::<V::Item>());
        // SAFETY: the caller's: every row is below `m`, every column below `k` or the padded `n`.
        unsafe {
            let mut sums: [[V; NV]; MR] = match start {
                Start::Zero => [[V::splat(V::Item::default()); NV]; MR],
                Start::Row(row) => {
                    let row = row[column..][..NV * V::LEN].as_ptr().cast::<V::Item>();
                    [std::array::from_fn(|j| V::load(row.add(j * V::LEN))); MR]
                }
                Start::Sum => std::array::from_fn(|i| std::array::from_fn(|j| V::load(c.add(i * c_row + j * V::LEN)))),
            };
            let mut right = right.add(column);
            for run in 0..k / a.columns.inner {
                let mut left = left.add(run * a.columns.far);
                for _ in 0..a.columns.inner {
                    let columns: [V; NV] = std::array::from_fn(|j| V::load(right.add(j * V::LEN)));
                    for i in 0..MR {
                        let factor = V::splat(*left.add(starts[i]).cast::<V::Item>());
                        for j in 0..NV {
                            sums[i][j] = V::multiply_add(factor, columns[j], sums[i][j]);
                        }
                    }
                    left = left.wrapping_add(a.columns.near);
                    right = right.wrapping_add(b.row);
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                for (j, sum) in sums.iter().enumerate() {
                    sum.store(c.add(i * c_row + j * V::LEN));
                }
            }
        }
    }
}

/// Numbers in one register.
trait Vector: Copy {
    /// `f32`, or the number of a [`Plain`] vector.
    type Item: Copy + Default;
    /// How many.
    const LEN: usize;

    /// # Safety
    /// The processor has the vector's instructions, here and below.
    unsafe fn splat(x: Self::Item) -> Self;
    /// # Safety
    /// `from` points at [`LEN`](Self::LEN) items.
    unsafe fn load(from: *const Self::Item) -> Self;
    /// # Safety
    /// `to` points at [`LEN`](Self::LEN) items.
    unsafe fn store(self, to: *mut Self::Item);
    /// `a b + c`.
    ///
    /// # Safety
    /// As for [`Vector::splat`].
    unsafe fn multiply_add(a: Self, b: Self, c: Self) -> Self;
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! vector {
    ($arch:ident::$vector:ident, $len:literal, $splat:ident, $load:ident, $store:ident, |$a:ident, $b:ident, $c:ident| $fma:expr) => {
        impl Vector for std::arch::$arch::$vector {
            type Item = f32;
            const LEN: usize = $len;
            #[inline(always)]
            unsafe fn splat(x: f32) -> Self {
                // SAFETY: the caller's, here and below.
                unsafe { std::arch::$arch::$splat(x) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                unsafe { std::arch::$arch::$load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                unsafe { std::arch::$arch::$store(to, self) }
            }
            #[inline(always)]
            unsafe fn multiply_add($a: Self, $b: Self, $c: Self) -> Self {
                use std::arch::$arch::*;
                unsafe { $fma }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector!(x86_64::__m512, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, |a, b, c| _mm512_fmadd_ps(a, b, c));
#[cfg(target_arch = "x86_64")]
vector!(x86_64::__m256, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, |a, b, c| _mm256_fmadd_ps(a, b, c));
#[cfg(target_arch = "aarch64")]
vector!(aarch64::float32x4_t, 4, vdupq_n_f32, vld1q_f32, vst1q_f32, |a, b, c| vfmaq_f32(c, a, b));

/// Where no vector of `T` is known: for `f64`, which checks and is not in a hurry, and for processors without the
/// instructions, where a fused multiply-add would be a slow call.
#[derive(Clone, Copy)]
struct Plain<T>([T; LANES]);

impl<T: Real> Vector for Plain<T> {
    type Item = T;
    const LEN: usize = LANES;
    unsafe fn splat(x: T) -> Self {
        Self([x; LANES])
    }
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { from.cast::<[T; LANES]>().read() })
    }
    unsafe fn store(self, to: *mut T) {
        // SAFETY: the caller's.
        unsafe { to.cast::<[T; LANES]>().write(self.0) }
    }
    unsafe fn multiply_add(a: Self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|i| a.0[i] * b.0[i] + c.0[i]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers, whose products and sums are exact.
    fn digits(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7 + seed * 5 + i / 3) % 11) as f32 - 5.0).collect()
    }

    #[test]
    fn equals_the_triple_loop_at_awkward_sizes() {
        for m in [1, 2, 7, 8, 9, 25] {
            for n in [1, 7, 8, 9, 16, 19, 33, 64, 75] {
                for k in [1, 2, 13] {
                    let (a, row) = (digits(m * k, 1), digits(n, 3));
                    let transposed = digits(n * k, 2);
                    let mut b = vec![f32::NAN; k * padded(n)];
                    pack_transposed(&transposed, n, k, &mut b);
                    let left = Left { data: &a, rows: Grid::line(m, k), columns: Grid::line(k, 1) };
                    let mut c = vec![f32::NAN; m * n];
                    let right = Right { data: &b, row: padded(n) };
                    gemm([m, n, k], left, right, Start::Row(&row), &mut c);
                    gemm([m, n, k], left, right, Start::Sum, &mut c);
                    for (at, &c) in c.iter().enumerate() {
                        let (i, j) = (at / n, at % n);
                        let dot: f32 = (0..k).map(|l| a[i * k + l] * transposed[j * k + l]).sum();
                        assert_eq!(c, row[j] + 2.0 * dot, "{m} x {n} x {k} at {i}, {j}");
                    }
                }
            }
        }
    }

    #[test]
    fn reads_rows_and_columns_where_they_lie() {
        // A 4 x 5 image of 2 channels as the left matrix of a 2 x 3 convolution: 3 x 3 pixels, 12 taps.
        let image = digits(40, 4);
        let ones = vec![1.0f32; 12 * LANES];
        let rows = Grid { inner: 3, near: 2, far: 10 };
        let columns = Grid { inner: 6, near: 1, far: 10 };
        let mut c = [0.0f32; 9];
        let right = Right { data: &ones, row: LANES };
        gemm([9, 1, 12], Left { data: &image, rows, columns }, right, Start::Zero, &mut c);
        let expected = |y: usize, x: usize| -> f32 {
            (0..2).flat_map(|dy| (0..6).map(move |i| (y + dy) * 10 + x * 2 + i)).map(|at| image[at]).sum()
        };
        assert!((0..9).all(|p| c[p] == expected(p / 3, p % 3)));
    }

    #[test]
    #[should_panic(expected = "beyond its slice")]
    fn refuses_to_read_outside() {
        let left = Left { data: &[1.0f32; 3], rows: Grid::line(2, 2), columns: Grid::line(2, 1) };
        gemm([2, 1, 2], left, Right { data: &[1.0; 16], row: 8 }, Start::Zero, &mut [0.0; 4]);
    }
}
