//! The one door to the `gemm` crate: bounds are checked here, so that callers are safe code.
#![allow(unsafe_code)]

use crate::kernel::Real;

/// A strided matrix inside a slice: element `(i, j)` is `data[i * row + j * col]`. Rows may overlap.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// Distance between rows.
    pub row: usize,
    /// Distance between columns.
    pub col: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A matrix with given distances between rows and columns.
    pub fn new(data: &'a [T], row: usize, col: usize) -> Self {
        Self { data, row, col }
    }

    fn check(&self, rows: usize, cols: usize) {
        assert!((rows - 1) * self.row + (cols - 1) * self.col < self.data.len(), "matrix reaches beyond its slice");
    }
}

/// `c = a b` or, with `accumulate`, `c += a b`, for `a: [m, k]`, `b: [k, n]` and `c: [m, n]` with rows `c_row` apart.
///
/// Single-threaded: the caller cuts work into pieces by shape alone, so that sums associate the same way on any number of
/// threads.
pub fn gemm<T: Real>([m, n, k]: [usize; 3], a: Matrix<T>, b: Matrix<T>, c: &mut [T], c_row: usize, accumulate: bool) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    a.check(m, k);
    b.check(k, n);
    assert!(c_row >= n && (m - 1) * c_row + n <= c.len(), "result reaches beyond its slice");
    // SAFETY: every element the call touches lies inside the three slices, checked above; `c` is borrowed mutably and so
    // overlaps neither `a` nor `b`, and its rows do not overlap each other since `c_row >= n`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            c_row as isize,
            accumulate,
            a.data.as_ptr(),
            a.col as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.col as isize,
            b.row as isize,
            T::one(),
            T::one(),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplies_strided_and_overlapping_rows() {
        let a = [1.0f64, 2.0, 3.0, 4.0, 5.0]; // rows of three, one apart: a Hankel matrix
        let b = [1.0f64, 10.0, 100.0, 2.0, 20.0, 200.0];
        let mut c = [1.0f64; 6];
        gemm([3, 2, 3], Matrix::new(&a, 1, 1), Matrix::new(&b, 1, 3), &mut c, 2, true);
        assert_eq!(c, [322.0, 643.0, 433.0, 865.0, 544.0, 1087.0]);
    }

    #[test]
    #[should_panic(expected = "beyond its slice")]
    fn refuses_to_read_outside() {
        gemm([2, 2, 2], Matrix::new(&[1.0f32; 3], 2, 1), Matrix::new(&[1.0; 4], 2, 1), &mut [0.0; 4], 2, false);
    }
}
