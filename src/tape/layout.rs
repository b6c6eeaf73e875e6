//! Where each parameter lies in the one flat buffer of a model.
//!
//! ```text
//! [ shared parameters | landmark 0's parameters | landmark 1's | ... ]
//! ```
//!
//! A landmark's part is contiguous: it can be sliced out, merged, and has a gradient norm of its own, so that training K
//! landmarks in lockstep, in groups or one by one gives the same bits. Every parameter starts at a multiple of
//! [`ALIGN`] elements, which is what GPU bindings ask for; the gaps stay zero.

use crate::data::files::{FNV_START, fnv1a};
use crate::kernel::Shape;
use crate::kernel::tensor::Operand;
use crate::random::Stream;
use serde::{Deserialize, Serialize};

/// Elements that a parameter's start is a multiple of: 256 bytes in f32, 128 in f16.
pub const ALIGN: usize = 64;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// Normal with this standard deviation.
    Normal(f32),
}

/// A parameter's declaration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Dotted name.
    pub name: String,
    /// Shape; landmark extent 1 is shared.
    pub shape: Shape,
    /// Start.
    pub init: Init,
}

/// The places of a model's parameters in its flat buffer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// Declarations in order.
    pub parameters: Vec<Parameter>,
    offsets: Vec<usize>,
    /// Elements of the shared part.
    pub shared_len: usize,
    /// Elements of one landmark's part.
    pub distinct_len: usize,
    /// Landmarks that have a part; 0 where all parameters are shared.
    pub landmarks: usize,
}

impl Layout {
    /// Places the parameters in order.
    pub fn new(parameters: Vec<Parameter>) -> Self {
        let mut layout = Self { landmarks: 0, ..Self::default() };
        for parameter in &parameters {
            let len = parameter.shape.slice_len().next_multiple_of(ALIGN);
            let part = if parameter.shape.k == 1 { &mut layout.shared_len } else { &mut layout.distinct_len };
            layout.offsets.push(*part);
            *part += len;
            if parameter.shape.k > 1 {
                assert!(layout.landmarks == 0 || layout.landmarks == parameter.shape.k, "one landmark extent a model");
                layout.landmarks = parameter.shape.k;
            }
        }
        layout.parameters = parameters;
        layout
    }

    /// Elements of the flat buffer, gaps included.
    pub fn len(&self) -> usize {
        self.shared_len + self.landmarks * self.distinct_len
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Parameters in all, without gaps.
    pub fn count(&self) -> usize {
        self.parameters.iter().map(|p| p.shape.len()).sum()
    }

    /// The offset of a parameter's first slice, and its operand.
    pub fn place(&self, index: usize) -> (usize, Operand) {
        let shape = self.parameters[index].shape;
        if shape.k == 1 {
            (self.offsets[index], Operand { shape, k_stride: 0 })
        } else {
            (self.shared_len + self.offsets[index], Operand { shape, k_stride: self.distinct_len })
        }
    }

    /// The range of each block that has a gradient norm of its own: the shared part, then each landmark's.
    pub fn blocks(&self) -> Vec<std::ops::Range<usize>> {
        let shared = (self.shared_len > 0).then_some(0..self.shared_len);
        let distinct = (0..self.landmarks).map(|k| {
            let start = self.shared_len + k * self.distinct_len;
            start..start + self.distinct_len
        });
        shared.into_iter().chain(distinct).collect()
    }

    /// The flat buffer at the start of training. `landmarks[i]` is the identity of slice `i`, so that a landmark starts
    /// the same in whatever group it is trained.
    pub fn init(&self, seed: u64, landmarks: &[usize]) -> Vec<f32> {
        let mut flat = vec![0.0; self.len()];
        for (index, parameter) in self.parameters.iter().enumerate() {
            let (offset, operand) = self.place(index);
            for k in 0..parameter.shape.k {
                let start = offset + k * operand.k_stride;
                let slice = &mut flat[start..start + parameter.shape.slice_len()];
                match parameter.init {
                    Init::Zeros => {}
                    Init::Ones => slice.fill(1.0),
                    Init::Normal(std) => {
                        // A model of one landmark starts as that landmark's part of a larger one.
                        let who = match landmarks {
                            [only] => *only as u64,
                            _ if parameter.shape.k == 1 => u64::MAX,
                            many => many[k] as u64,
                        };
                        let mut random = Stream::new(seed, &[fnv1a(FNV_START, parameter.name.as_bytes()), who]);
                        slice.fill_with(|| random.normal() as f32 * std);
                    }
                }
            }
        }
        flat
    }

    /// A parameter's values without gaps, landmark after landmark.
    pub fn extract(&self, flat: &[f32], index: usize) -> Vec<f32> {
        let (offset, operand) = self.place(index);
        let shape = operand.shape;
        (0..shape.k).flat_map(|k| flat[offset + k * operand.k_stride..][..shape.slice_len()].iter().copied()).collect()
    }

    /// Puts a parameter's values, landmark after landmark, into the flat buffer.
    pub fn insert(&self, flat: &mut [f32], index: usize, values: &[f32]) {
        let (offset, operand) = self.place(index);
        let len = operand.shape.slice_len();
        for (k, slice) in values.chunks(len).enumerate() {
            flat[offset + k * operand.k_stride..][..len].copy_from_slice(slice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(k: usize) -> Layout {
        let parameter = |name: &str, shape: [usize; 5]| Parameter {
            name: name.into(),
            shape: shape.into(),
            init: Init::Normal(1.0),
        };
        Layout::new(vec![
            parameter("a", [1, 1, 1, 1, 5]),
            parameter("b", [k, 2, 1, 1, 40]),
            parameter("c", [k, 1, 1, 1, 3]),
        ])
    }

    #[test]
    fn landmarks_are_contiguous_and_start_the_same_in_any_group() {
        let (all, pair) = (layout(4), layout(2));
        assert_eq!((all.shared_len, all.distinct_len, all.len()), (64, 128 + 64, 64 + 4 * 192));
        let (full, part) = (all.init(7, &[0, 1, 2, 3]), pair.init(7, &[2, 3]));
        assert_eq!(full[all.blocks()[3].clone()], part[pair.blocks()[1].clone()]);
        assert_ne!(full[all.blocks()[1].clone()], full[all.blocks()[2].clone()]);
        assert_eq!(full[..64], part[..64]);
    }

    #[test]
    fn extract_inverts_insert() {
        let layout = layout(3);
        let mut flat = vec![0.0; layout.len()];
        let values: Vec<f32> = (0..layout.parameters[1].shape.len()).map(|i| i as f32).collect();
        layout.insert(&mut flat, 1, &values);
        assert_eq!(layout.extract(&flat, 1), values);
    }
}
