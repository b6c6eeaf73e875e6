//! Shapes, and operands: a shape and where its landmark slices lie.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// `[landmarks, batch, height, width, channels]`, channels fastest.
///
/// A convolution weight is `[landmarks, c_out, k_h, k_w, c_in]`; a vector lies along `c`; points are `[k, n, 1, p, 2]`, x
/// before y.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "[usize; 5]", into = "[usize; 5]")]
pub struct Shape {
    /// Landmarks: 1 is shared by all.
    pub k: usize,
    /// Batch.
    pub n: usize,
    /// Height.
    pub h: usize,
    /// Width.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Shape {
    /// Elements in all.
    pub fn len(&self) -> usize {
        self.k * self.slice_len()
    }

    /// [`Shape::len`], unless no memory could hold as many.
    pub fn checked_len(&self) -> Option<usize> {
        let len = self.dims().into_iter().try_fold(1usize, usize::checked_mul)?;
        (len <= isize::MAX as usize / size_of::<f64>()).then_some(len)
    }

    /// Whether an extent is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements of one landmark's slice.
    pub fn slice_len(&self) -> usize {
        self.n * self.image_len()
    }

    /// Elements of one sample.
    pub fn image_len(&self) -> usize {
        self.h * self.w * self.c
    }

    /// Pixels of one sample.
    pub fn pixels(&self) -> usize {
        self.h * self.w
    }

    /// The same shape with another landmark extent.
    pub fn with_k(self, k: usize) -> Self {
        Self { k, ..self }
    }

    /// The same shape with another number of channels.
    pub fn with_c(self, c: usize) -> Self {
        Self { c, ..self }
    }

    /// The landmark extent of an operation on these shapes: 1 broadcasts against K.
    pub fn broadcast_k(op: &'static str, shapes: &[Shape]) -> Result<usize> {
        let k = shapes.iter().map(|s| s.k).max().unwrap_or(1);
        match shapes.iter().find(|s| s.k != 1 && s.k != k) {
            Some(s) => Err(Error::Shape { op, cause: format!("landmark extents {} and {k} do not broadcast", s.k) }),
            None => Ok(k),
        }
    }

    /// The extents in order.
    pub fn dims(self) -> [usize; 5] {
        self.into()
    }
}

impl From<[usize; 5]> for Shape {
    fn from([k, n, h, w, c]: [usize; 5]) -> Self {
        Self { k, n, h, w, c }
    }
}

impl From<Shape> for [usize; 5] {
    fn from(s: Shape) -> Self {
        [s.k, s.n, s.h, s.w, s.c]
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {}, {}, {}, {}]", self.k, self.n, self.h, self.w, self.c)
    }
}

/// Fails with a message unless a condition on shapes holds.
pub(crate) fn expect(op: &'static str, holds: bool, cause: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Shape { op, cause: cause() }) }
}

/// How a tensor's numbers are stored. Arithmetic is in f32 whatever they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Element {
    /// Single precision.
    #[default]
    F32,
    /// Half precision, on GPUs that have it.
    F16,
}

impl Element {
    /// Bytes of a number.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// A shape and the distance between its landmark slices, in elements; 0 where all landmarks share the one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operand {
    /// The shape.
    pub shape: Shape,
    /// Elements between landmark slices. Slices of a parameter lie one landmark's whole model apart.
    pub k_stride: usize,
}

impl Operand {
    /// Slices one after another without gaps.
    pub fn dense(shape: Shape) -> Self {
        Self { shape, k_stride: if shape.k == 1 { 0 } else { shape.slice_len() } }
    }

    /// [`Operand::span`], unless no memory could hold as many; of no landmarks there is none.
    pub fn checked_span(&self) -> Option<usize> {
        self.shape.checked_len()?;
        let before = self.shape.k.checked_sub(1)?.checked_mul(self.k_stride)?;
        before.checked_add(self.shape.slice_len())
    }

    /// Elements from the first to the last, gaps included.
    pub fn span(&self) -> usize {
        (self.shape.k - 1) * self.k_stride + self.shape.slice_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_memory_holds_is_told() {
        let span = |shape: [usize; 5], k_stride: usize| Operand { shape: shape.into(), k_stride }.checked_span();
        assert_eq!(span([3, 1, 2, 2, 5], 100), Some(220));
        assert_eq!(span([1, 1 << 20, 1 << 22, 1 << 22, 1], 0), None, "2^64, which wraps to 0");
        assert_eq!(span([2, 1, 1, 1, 1], usize::MAX), None);
        assert_eq!(span([0, 1, 1, 1, 1], 1), None);
    }
}
