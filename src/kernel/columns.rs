//! Channels-last images read row by row, for reductions over their pixels channel by channel (CPU).
//!
//! ```text
//! [pixels, c] -> rows of several whole pixels, where c is small, or of a part of one pixel's channels, where c is large
//! ```
//!
//! The columns of those rows are reduced side by side, so that the vectors of a CPU are full whatever c is. How an image is cut
//! depends on c alone.

use super::Real;
use std::ops::Range;

/// Columns, at most.
pub(super) const WIDTH: usize = 64;

/// Rows whose sum joins the total at once: short chains of additions keep rounding small in f32.
const ROWS: usize = 64;

/// Columns that are reduced side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    c: usize,
    /// Distance between rows.
    stride: usize,
    first: usize,
    len: usize,
}

impl Columns {
    /// All columns of images of `c` channels.
    pub fn all(c: usize) -> impl Iterator<Item = Self> {
        Self::of(c, 0..c)
    }

    /// The columns of a range of the channels; of all, if they are fewer than the width.
    pub fn of(c: usize, channels: Range<usize>) -> impl Iterator<Item = Self> {
        let (stride, columns) = if c < WIDTH { (WIDTH / c * c, 0..WIDTH / c * c) } else { (c, channels) };
        let end = columns.end;
        columns.step_by(WIDTH).map(move |first| Self { c, stride, first, len: WIDTH.min(end - first) })
    }

    /// The rows of an image; the last may be shorter.
    #[inline(always)]
    fn rows<T>(self, image: &[T]) -> impl Iterator<Item = &[T]> {
        image.chunks(self.stride).map(move |row| &row[self.first..row.len().min(self.first + self.len)])
    }

    /// The same, to write.
    #[inline(always)]
    fn rows_mut<T>(self, image: &mut [T]) -> impl Iterator<Item = &mut [T]> {
        image.chunks_mut(self.stride).map(move |row| {
            let end = row.len().min(self.first + self.len);
            &mut row[self.first..end]
        })
    }

    /// The channels that the columns are of, in order.
    pub fn channels(self) -> Range<usize> {
        self.first..self.first + self.len.min(self.c)
    }

    /// A value for each column, from its channel.
    pub fn spread<T: Copy + Default>(self, value: impl Fn(usize) -> T) -> [T; WIDTH] {
        let mut columns = [T::default(); WIDTH];
        let period = self.len.min(self.c);
        for (j, channel) in self.channels().enumerate() {
            let value = value(channel);
            columns[j..self.len].iter_mut().step_by(period).for_each(|column| *column = value);
        }
        columns
    }

    /// What the columns of each channel amount to together, in all of them.
    #[inline(always)]
    fn join<T: Copy>(self, columns: &mut [T; WIDTH], f: impl Fn(T, T) -> T) {
        if self.c >= self.len {
            return;
        }
        for j in 0..self.c {
            let of_channel = || (j..self.len).step_by(self.c);
            let total = of_channel().skip(1).fold(columns[j], |total, other| f(total, columns[other]));
            of_channel().for_each(|column| columns[column] = total);
        }
    }

    /// `N` sums over the pixels of each channel, in all columns of it: of `terms(column, x, y)` of two images' values.
    pub fn sums<T: Real, const N: usize>(
        self,
        x: &[T],
        y: &[T],
        terms: impl Fn(usize, T, T) -> [T; N],
    ) -> [[T; WIDTH]; N] {
        pulp::Arch::new().dispatch(Sums { columns: self, x, y, terms })
    }

    /// The largest value of each channel, in all columns of it.
    pub fn max<T: Real>(self, x: &[T]) -> [T; WIDTH] {
        pulp::Arch::new().dispatch(Max { columns: self, x })
    }

    /// `f(column, x, y)` of two images' values, into a third's columns.
    pub fn map<T: Real>(self, to: &mut [T], x: &[T], y: &[T], f: impl Fn(usize, T, T) -> T) {
        pulp::Arch::new().dispatch(Map { columns: self, to, x, y, f });
    }
}

// Function objects, compiled for the widest vectors that the CPU has: closures need not be inlined where those are known.

struct Sums<'a, T, F> {
    columns: Columns,
    x: &'a [T],
    y: &'a [T],
    terms: F,
}

impl<T: Real, F: Fn(usize, T, T) -> [T; N], const N: usize> pulp::NullaryFnOnce for Sums<'_, T, F> {
    type Output = [[T; WIDTH]; N];

    #[inline(always)]
    fn call(self) -> Self::Output {
        let Self { columns, x, y, terms } = self;
        let (mut totals, mut parts) = ([[T::zero(); WIDTH]; N], [[T::zero(); WIDTH]; N]);
        for (row, (x, y)) in columns.rows(x).zip(columns.rows(y)).enumerate() {
            // Shown to be within the width, the loop needs no checks and vectorises.
            for j in 0..x.len().min(y.len()).min(WIDTH) {
                let terms = terms(j, x[j], y[j]);
                for n in 0..N {
                    parts[n][j] += terms[n];
                }
            }
            if row % ROWS == ROWS - 1 {
                flush(&mut totals, &mut parts);
            }
        }
        flush(&mut totals, &mut parts);
        totals.iter_mut().for_each(|total| columns.join(total, |a, b| a + b));
        totals
    }
}

#[inline(always)]
fn flush<T: Real, const N: usize>(totals: &mut [[T; WIDTH]; N], parts: &mut [[T; WIDTH]; N]) {
    let pairs = totals.as_flattened_mut().iter_mut().zip(parts.as_flattened_mut());
    pairs.for_each(|(total, part)| *total += std::mem::take(part));
}

struct Max<'a, T> {
    columns: Columns,
    x: &'a [T],
}

impl<T: Real> pulp::NullaryFnOnce for Max<'_, T> {
    type Output = [T; WIDTH];

    #[inline(always)]
    fn call(self) -> Self::Output {
        let Self { columns, x } = self;
        let mut max = [T::neg_infinity(); WIDTH];
        for row in columns.rows(x) {
            for j in 0..row.len().min(WIDTH) {
                max[j] = max[j].max(row[j]);
            }
        }
        columns.join(&mut max, T::max);
        max
    }
}

struct Map<'a, T, F> {
    columns: Columns,
    to: &'a mut [T],
    x: &'a [T],
    y: &'a [T],
    f: F,
}

impl<T: Real, F: Fn(usize, T, T) -> T> pulp::NullaryFnOnce for Map<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { columns, to, x, y, f } = self;
        for ((to, x), y) in columns.rows_mut(to).zip(columns.rows(x)).zip(columns.rows(y)) {
            for j in 0..to.len().min(x.len()).min(y.len()).min(WIDTH) {
                to[j] = f(j, x[j], y[j]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_in_one_column_and_channels_are_joined() {
        for c in [1, 2, 3, 19, 32, 63, 64, 65, 100, 128, 130] {
            for pixels in [1, 2, 63, 64, 65, 200] {
                let x: Vec<f64> = (0..pixels * c).map(|i| (i * 7 % 11) as f64).collect();
                let (mut seen, mut mapped) = (vec![0; x.len()], vec![f64::NAN; x.len()]);
                let mut channels = Vec::new();
                for columns in Columns::all(c) {
                    columns.rows_mut(&mut seen).flatten().for_each(|seen| *seen += 1);
                    let [sum, products] = columns.sums(&x, &x, |_, a, b| [a, a * b]);
                    let max = columns.max(&x);
                    columns.map(&mut mapped, &x, &x, |j, a, b| a + b - max[j]);
                    let channel = columns.spread(|channel| channel);
                    for (j, ch) in columns.channels().enumerate() {
                        let of = || x.iter().skip(ch).step_by(c);
                        assert_eq!((sum[j], products[j]), (of().sum(), of().map(|v| v * v).sum()), "{c} {pixels}");
                        let largest = of().copied().fold(0.0, f64::max);
                        assert_eq!((channel[j], max[j]), (ch, largest));
                        let pairs = of().zip(mapped.iter().skip(ch).step_by(c));
                        pairs.for_each(|(x, mapped)| assert_eq!(*mapped, 2.0 * x - largest));
                    }
                    for row in columns.rows(&(0..pixels * c).collect::<Vec<_>>()) {
                        assert!(row.iter().zip(channel).all(|(i, ch)| i % c == ch));
                    }
                    channels.extend(columns.channels());
                }
                assert!(seen.iter().all(|&n| n == 1));
                assert_eq!(channels, (0..c).collect::<Vec<_>>());
            }
        }
    }
}
