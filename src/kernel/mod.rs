//! The registry of kernels: what each computes, its gradient, its CPU twin and its GPU dispatches.
//!
//! Every tensor has the shape `[k, n, h, w, c]`: landmarks, batch, height, width, channels, channels fastest. A landmark
//! extent of 1 is shared by all landmarks and broadcasts; an extent of K is one slice a landmark. Slices lie
//! [`Operand::k_stride`] elements apart, and a stride of 0 *is* the broadcast: no kernel has another case for it.
//!
//! A new kernel is a file here that implements [`Kernel`], its shaders, and one line in the `registry!` below. Parity
//! tests, gradient checks and benchmark rows are made from [`Kernel::samples`].

pub mod activation;
pub mod adamw;
mod columns;
pub mod concat;
pub mod conv2d;
pub mod conv2d_grad;
pub mod convert;
pub mod cross_entropy;
pub mod elementwise;
pub mod group_norm;
pub mod heatmap_loss;
pub mod l2_normalize;
pub mod matmul;
mod padded;
pub mod pool;
pub mod probe;
pub mod probe_half;
pub mod real;
pub mod reduce;
pub mod resize;
pub mod sample_points;
pub mod soft_argmax;
pub mod softmax;
pub mod tensor;
pub mod tile;
pub mod warp;

pub use crate::cpu::{Band, In, Out};
pub use real::Real;
pub use tensor::{Element, Operand, Shape};
pub use tile::Tile;

use crate::Result;
use crate::tape::{Tape, Var};
use serde::{Deserialize, Serialize};

/// What one execution of a kernel costs, from shapes alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Floating-point operations; a fused multiply-add counts two.
    pub flops: u64,
    /// Bytes that must move: what is [needed](Kernel::moved) of each operand, in the type that it is stored in.
    pub bytes: u64,
}

/// A buffer that a dispatch binds, in the order of the shader's `@binding`s after the uniform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// The operation's input of this index.
    In(usize),
    /// The operation's output of this index.
    Out(usize),
    /// The operation's scratch memory.
    Scratch,
    /// Nothing: with these parameters, the shader does not read the binding.
    Unused,
}

/// One launch of a shader variant. The executor may split it by workgroups, through the uniform's `base`.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The variant's name in the table that `build.rs` makes of `shaders/variants.txt`.
    pub shader: &'static str,
    /// The uniform block without its leading `base: u32`, little-endian words.
    pub params: Vec<u8>,
    /// Buffers bound.
    pub binds: Vec<Bind>,
    /// The number of workgroups; the shader linearises, so that one number is enough.
    pub groups: usize,
}

impl Dispatch {
    /// A launch of `groups` workgroups; `params` is the `Params` that `build.rs` reflects from the shader.
    pub(crate) fn new(shader: &'static str, params: impl bytemuck::NoUninit, binds: &[Bind], groups: usize) -> Self {
        Self { shader, params: bytemuck::bytes_of(&params).to_vec(), binds: binds.into(), groups }
    }

    /// A launch with one thread an element, of a shader that imports `lib/element`.
    pub(crate) fn elements(
        shader: &'static str,
        params: impl bytemuck::NoUninit,
        binds: &[Bind],
        elements: usize,
    ) -> Self {
        Self::new(shader, params, binds, elements.div_ceil(256))
    }
}

/// What a kernel reads and writes in f16, in its variants `<variant>_f16`; all else is f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// All inputs.
    Reads,
    /// The first output.
    Writes,
    /// All inputs and the first output.
    Both,
}

/// A number as uniform blocks hold it. Programs in which one does not fit are refused when they are loaded.
pub(crate) fn word(x: usize) -> u32 {
    debug_assert!(u32::try_from(x).is_ok(), "{x} is no u32");
    x as u32
}

/// How a test fills an input.
#[derive(Clone, Copy, Debug)]
pub enum Domain {
    /// Standard normal.
    Normal,
    /// Uniform between two values.
    Range(f32, f32),
    /// Filled by a function from the input's shape and a source of uniform numbers in [0, 1).
    Fill(fn(Shape, &mut dyn FnMut() -> f32) -> Vec<f32>),
}

/// One case for parity tests, gradient checks and benchmarks.
#[derive(Clone, Debug)]
pub struct Sample<K> {
    /// The operation.
    pub op: K,
    /// Its inputs' shapes and how to fill them.
    pub inputs: Vec<(Shape, Domain)>,
}

impl<K> Sample<K> {
    /// A case whose inputs are all standard normal.
    pub fn normal(op: K, shapes: &[[usize; 5]]) -> Self {
        Self { op, inputs: shapes.iter().map(|&s| (Shape::from(s), Domain::Normal)).collect() }
    }

    /// A case with a domain for each input.
    pub fn new(op: K, inputs: &[([usize; 5], Domain)]) -> Self {
        Self { op, inputs: inputs.iter().map(|&(s, d)| (Shape::from(s), d)).collect() }
    }

    fn map<L>(self, f: impl Fn(K) -> L) -> Sample<L> {
        Sample { op: f(self.op), inputs: self.inputs }
    }
}

/// An operation on tensors.
pub trait Kernel: Clone + Sized {
    /// The name in tables, labels and error messages.
    const NAME: &'static str;

    /// The outputs' shapes, or why the inputs do not fit.
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>>;

    /// Appends the gradient: given the gradient `dy` of output 0, one gradient an input, `None` where none flows.
    /// A gradient may keep the landmark extent of the output; the tape sums it down to the input's.
    fn grad(&self, _tape: &mut Tape, x: &[Var], _y: &[Var], _dy: Var) -> Result<Vec<Option<Var>>> {
        Ok(vec![None; x.len()])
    }

    /// The CPU twin. An output's old content is undefined, but for kernels that [update](Kernel::in_place) state.
    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], scratch: &mut [T]);

    /// The launches that compute the outputs on a GPU. Kernels of several variants define [`gpu_tiled`](Kernel::gpu_tiled).
    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        self.gpu_tiled(self.tiles(x, y)[0], x, y)
    }

    /// The GPU variants that fit these operands and give the same bits, the one that shapes choose first; none for kernels
    /// that have no choice.
    fn tiles(&self, _x: &[Operand], _y: &[Operand]) -> Vec<Tile> {
        Vec::new()
    }

    /// The GPU variant on matrix units with f16 fragments of `side` x `side`, if it fits these operands. Its bits are its own.
    fn matrix_tile(&self, _x: &[Operand], _y: &[Operand], _side: usize) -> Option<Tile> {
        None
    }

    /// The launches in one of [`tiles`](Kernel::tiles), or on matrix units.
    fn gpu_tiled(&self, _tile: Tile, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        self.gpu(x, y)
    }

    /// What its f16 variants read and write in f16, if it has those.
    fn half(&self) -> Option<Half> {
        None
    }

    /// Elements of scratch memory, from shapes alone.
    fn scratch(&self, _x: &[Shape], _y: &[Shape]) -> usize {
        0
    }

    /// Elements of working memory that each thread of the CPU twin takes from `cpu::scratch`.
    fn thread_scratch(&self, _x: &[Shape], _y: &[Shape]) -> usize {
        0
    }

    /// Floating-point operations; the default counts one an output element.
    fn flops(&self, _x: &[Shape], y: &[Shape]) -> u64 {
        y.iter().map(|s| s.len() as u64).sum()
    }

    /// Elements that must move, one number an operand, inputs first: by default all of them once. Those that read a part of an input, or
    /// update state, say otherwise.
    fn moved(&self, x: &[Shape], y: &[Shape]) -> Vec<u64> {
        x.iter().chain(y).map(|s| s.len() as u64).collect()
    }

    /// The same operation with this activation applied to its output, if it has that epilogue and none yet.
    fn with_activation(&self, _activation: activation::Activation) -> Option<Self> {
        None
    }

    /// Whether the outputs are persistent state that is read and updated.
    fn in_place(&self) -> bool {
        false
    }

    /// Cases for tests and benchmarks: awkward sizes first.
    fn samples() -> Vec<Sample<Self>>;
}

/// Refuses a tensor whose elements cannot be counted: bounds would be checked with numbers that wrapped.
fn held(op: &'static str, shape: &Shape) -> Result<()> {
    tensor::expect(op, shape.checked_len().is_some(), || format!("{shape:?} is more than any memory holds"))
}

macro_rules! registry {
    ($($(#[$doc:meta])* $module:ident::$kernel:ident,)*) => {
        /// Any kernel, as plain data.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Op { $($(#[$doc])* $kernel($module::$kernel),)* }

        $(impl From<$module::$kernel> for Op {
            fn from(kernel: $module::$kernel) -> Self { Op::$kernel(kernel) }
        })*

        impl Op {
            /// The names of all kernels, in registry order.
            pub const NAMES: &'static [&'static str] = &[$($module::$kernel::NAME,)*];

            /// See [`Kernel::NAME`].
            pub fn name(&self) -> &'static str {
                match self { $(Op::$kernel(_) => $module::$kernel::NAME,)* }
            }

            /// See [`Kernel::infer`].
            pub fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
                x.iter().try_for_each(|x| held(self.name(), x))?;
                let y = match self { $(Op::$kernel(op) => op.infer(x),)* }?;
                y.iter().try_for_each(|y| held(self.name(), y))?;
                Ok(y)
            }

            /// See [`Kernel::grad`].
            pub fn grad(&self, tape: &mut Tape, x: &[Var], y: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
                match self { $(Op::$kernel(op) => op.grad(tape, x, y, dy),)* }
            }

            /// See [`Kernel::cpu`].
            pub fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], scratch: &mut [T]) {
                match self { $(Op::$kernel(op) => op.cpu(x, y, scratch),)* }
            }

            /// See [`Kernel::gpu`].
            pub fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
                match self { $(Op::$kernel(op) => op.gpu(x, y),)* }
            }

            /// See [`Kernel::tiles`].
            pub fn tiles(&self, x: &[Operand], y: &[Operand]) -> Vec<Tile> {
                match self { $(Op::$kernel(op) => op.tiles(x, y),)* }
            }

            /// See [`Kernel::matrix_tile`].
            pub fn matrix_tile(&self, x: &[Operand], y: &[Operand], side: usize) -> Option<Tile> {
                match self { $(Op::$kernel(op) => op.matrix_tile(x, y, side),)* }
            }

            /// See [`Kernel::gpu_tiled`].
            pub fn gpu_tiled(&self, tile: Tile, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
                match self { $(Op::$kernel(op) => op.gpu_tiled(tile, x, y),)* }
            }

            /// See [`Kernel::half`].
            pub fn half(&self) -> Option<Half> {
                match self { $(Op::$kernel(op) => op.half(),)* }
            }

            /// See [`Kernel::scratch`].
            pub fn scratch(&self, x: &[Shape], y: &[Shape]) -> usize {
                match self { $(Op::$kernel(op) => op.scratch(x, y),)* }
            }

            /// See [`Kernel::thread_scratch`].
            pub fn thread_scratch(&self, x: &[Shape], y: &[Shape]) -> usize {
                match self { $(Op::$kernel(op) => op.thread_scratch(x, y),)* }
            }

            /// See [`Cost`].
            pub fn cost(&self, x: &[Shape], y: &[Shape]) -> Cost {
                let flops = match self { $(Op::$kernel(op) => op.flops(x, y),)* };
                Cost { flops, bytes: 4 * self.moved(x, y).iter().sum::<u64>() }
            }

            /// See [`Kernel::moved`].
            pub fn moved(&self, x: &[Shape], y: &[Shape]) -> Vec<u64> {
                match self { $(Op::$kernel(op) => op.moved(x, y),)* }
            }

            /// See [`Kernel::with_activation`].
            pub fn with_activation(&self, activation: activation::Activation) -> Option<Op> {
                match self { $(Op::$kernel(op) => op.with_activation(activation).map(Op::$kernel),)* }
            }

            /// See [`Kernel::in_place`].
            pub fn in_place(&self) -> bool {
                match self { $(Op::$kernel(op) => op.in_place(),)* }
            }

            /// See [`Kernel::samples`]: those of every kernel.
            pub fn samples() -> Vec<Sample<Op>> {
                let mut all = Vec::new();
                $(all.extend($module::$kernel::samples().into_iter().map(|s| s.map(Op::$kernel)));)*
                all
            }
        }
    };
}

registry! {
    /// Convolution with bias, rank-r parallel adapter and activation.
    conv2d::Conv2d,
    /// Gradient of the convolution with respect to its input.
    conv2d_grad::Conv2dGradInput,
    /// Gradient of the convolution with respect to its weight.
    conv2d_grad::Conv2dGradWeight,
    /// Group normalisation with an affine and an activation.
    group_norm::GroupNorm,
    /// Gradient of the group normalisation with respect to its input.
    group_norm::GroupNormGradInput,
    /// Gradient of the group normalisation with respect to its affine.
    group_norm::GroupNormGradAffine,
    /// Activation.
    activation::Activate,
    /// Gradient of an activation, from its output.
    activation::ActivateGrad,
    /// 2x2 pooling.
    pool::Pool,
    /// Gradient of the pooling.
    pool::PoolGrad,
    /// Bilinear resize.
    resize::Resize,
    /// Gradient of the bilinear resize.
    resize::ResizeGrad,
    /// Concatenation along the channels.
    concat::Concat,
    /// A range of channels.
    concat::SliceChannels,
    /// Channels put into a wider tensor of zeros.
    concat::PadChannels,
    /// Sum, difference or product with broadcasting.
    elementwise::Binary,
    /// `a x + b`.
    elementwise::ScaleShift,
    /// A constant.
    elementwise::Fill,
    /// Sums over any axes, in a fixed order.
    reduce::Sum,
    /// L2 normalisation over the channels.
    l2_normalize::L2Normalize,
    /// Gradient of the L2 normalisation.
    l2_normalize::L2NormalizeGrad,
    /// A change of storage between f32 and f16.
    convert::Convert,
    /// Bilinear sampling at points.
    sample_points::SamplePoints,
    /// Gradient of the bilinear sampling with respect to the map.
    sample_points::SamplePointsGrad,
    /// A matrix product for each landmark and sample: the similarity of point features against a feature map.
    matmul::MatMul,
    /// Softmax over the pixels of each channel.
    softmax::SpatialSoftmax,
    /// Gradient of the spatial softmax.
    softmax::SpatialSoftmaxGrad,
    /// Normalised target maps around points.
    softmax::TargetMaps,
    /// Spatial-softmax cross-entropy with soft targets.
    cross_entropy::SpatialCrossEntropy,
    /// Gradient of the spatial-softmax cross-entropy.
    cross_entropy::SpatialCrossEntropyGrad,
    /// Focal binary cross-entropy of heatmap logits.
    heatmap_loss::FocalBce,
    /// Gradient of the focal binary cross-entropy.
    heatmap_loss::FocalBceGrad,
    /// L1 loss under a mask.
    heatmap_loss::MaskedL1,
    /// Gradient of the masked L1 loss.
    heatmap_loss::MaskedL1Grad,
    /// Local soft-argmax with peak and spread.
    soft_argmax::SoftArgmax,
    /// Affine crop of stored images with photometric augmentation.
    warp::WarpAugment,
    /// Sum of squares of each block of a flat buffer.
    adamw::BlockSquares,
    /// AdamW with clipping, finite check and EMA over the flat parameter buffer.
    adamw::AdamW,
    /// As many multiplications and additions as a device can do.
    probe::Fma,
    /// The same in f16.
    probe_half::FmaF16,
    /// The same on matrix units.
    probe_half::FmaMatrix,
    /// A copy.
    probe::Copy,
    /// Reads of workgroup memory.
    probe::WorkgroupReads,
}
