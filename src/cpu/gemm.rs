//! The matrix product under all CPU twins: `c = a b` with `a` anywhere in memory.
//!
//! The left operand is read where it lies: its rows and columns are [`Grid`]s, so that a zero-padded image *is* the left matrix
//! of a convolution (rows are output pixels, columns are taps) and of its weight gradient (rows are taps, columns are output
//! pixels), without an im2col buffer. The right operand has contiguous rows, padded to a multiple of [`LANES`].
//!
//! One tile of `MR x NR` results lives in registers while `k` runs; each result is one chain of fused multiply-adds over
//! ascending `k`. So its bits depend neither on tile sizes nor on the processor, as long as it has fused multiply-adds
//! (x86-64-v3 and later, aarch64). The tile is plain code on arrays, which the compiler turns into vectors for each level of
//! instruction set; the level is chosen when the program runs.
#![allow(unsafe_code)]

use crate::kernel::Real;

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

    /// The furthest offset among `len` elements.
    fn reach(&self, len: usize) -> usize {
        let last = len - 1;
        self.at(last).max(last.min(self.inner - 1) * self.near + (last / self.inner).saturating_sub(1) * self.far)
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
    assert!(k == 0 || a.rows.reach(m) + a.columns.reach(k) < a.data.len(), "the left operand reaches beyond its slice");
    assert!(
        padded(n) <= b.row && (k == 0 || (k - 1) * b.row + padded(n) <= b.data.len()),
        "the right operand reaches beyond its slice"
    );
    assert!(m * n <= c.len(), "the result reaches beyond its slice");
    let product = Product { m, n, k, a, b, start };
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512vl") {
            // SAFETY: the processor has the features, just asked.
            return unsafe { with_avx512(product, c) };
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { with_avx2(product, c) };
        }
    }
    if cfg!(target_arch = "aarch64") {
        product.run::<8, 8, true>(c);
    } else {
        // Without the instruction a fused multiply-add is a slow call.
        product.run::<4, 8, false>(c);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,fma")]
fn with_avx512<T: Real>(product: Product<T>, c: &mut [T]) {
    if size_of::<T>() == 4 { product.run::<8, 32, true>(c) } else { product.run::<8, 16, true>(c) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<T: Real>(product: Product<T>, c: &mut [T]) {
    if size_of::<T>() == 4 { product.run::<6, 16, true>(c) } else { product.run::<6, 8, true>(c) }
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

impl<T: Real> Product<'_, T> {
    /// Panels of columns as wide as `NR` at most, each over all rows: the panel stays in cache.
    #[inline(always)]
    fn run<const MR: usize, const NR: usize, const FMA: bool>(&self, c: &mut [T]) {
        let mut column = 0;
        while column < self.n {
            match padded(self.n - column) {
                width if width >= 32 && NR >= 32 => column += self.panel::<MR, 32, FMA>(column, c),
                width if width >= 16 && NR >= 16 => column += self.panel::<MR, 16, FMA>(column, c),
                _ => column += self.panel::<MR, 8, FMA>(column, c),
            }
        }
    }

    #[inline(always)]
    fn panel<const MR: usize, const NR: usize, const FMA: bool>(&self, column: usize, c: &mut [T]) -> usize {
        for first in (0..self.m).step_by(MR) {
            self.tile::<MR, NR, FMA>(first, column, c);
        }
        NR
    }

    /// Rows `first..first + MR` and columns `column..column + NR` of the result; those outside it are computed from the last
    /// row or from padding, and not stored.
    #[inline(always)]
    fn tile<const MR: usize, const NR: usize, const FMA: bool>(&self, first: usize, column: usize, c: &mut [T]) {
        let Self { m, n, a, b, .. } = *self;
        let (rows, width) = (MR.min(m - first), NR.min(n - column));
        let mut sums = [[T::zero(); NR]; MR];
        match self.start {
            Start::Zero => {}
            Start::Row(row) => sums.iter_mut().for_each(|sums| sums[..width].copy_from_slice(&row[column..][..width])),
            Start::Sum => {
                for (i, sums) in sums.iter_mut().enumerate().take(rows) {
                    sums[..width].copy_from_slice(&c[(first + i) * n + column..][..width]);
                }
            }
        }
        let starts: [usize; MR] = std::array::from_fn(|i| a.rows.at(first + i.min(rows - 1)));
        let (inner, near) = (a.columns.inner, a.columns.near);
        for run in 0..self.k / inner {
            let left: [&[T]; MR] =
                std::array::from_fn(|i| &a.data[starts[i] + run * a.columns.far..][..(inner - 1) * near + 1]);
            let right = &b.data[run * inner * b.row + column..];
            for k in 0..inner {
                let right: &[T; NR] = right[k * b.row..][..NR].try_into().expect("of this length");
                for i in 0..MR {
                    let factor = left[i][k * near];
                    for j in 0..NR {
                        sums[i][j] =
                            if FMA { factor.mul_add(right[j], sums[i][j]) } else { factor * right[j] + sums[i][j] };
                    }
                }
            }
        }
        for (i, sums) in sums.iter().enumerate().take(rows) {
            c[(first + i) * n + column..][..width].copy_from_slice(&sums[..width]);
        }
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
