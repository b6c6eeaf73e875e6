//! Element-wise arithmetic; two operands broadcast over every axis of extent 1.

use super::tensor::expect;
use super::{Bind, Dispatch, In, Kernel, Operand, Out, Real, Sample, Shape, word};
use crate::Result;
use crate::gpu::shaders;
use crate::tape::{Tape, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The operation on two numbers. The discriminant is its number in the shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u32)]
pub enum BinaryKind {
    /// a + b.
    Add = 0,
    /// a - b.
    Sub = 1,
    /// a b.
    Mul = 2,
}

impl BinaryKind {
    fn apply<'a, T: Real>(self, elements: impl Iterator<Item = (&'a mut T, T, T)>) {
        // One loop an operation, so that each vectorises.
        match self {
            Self::Add => elements.for_each(|(y, a, b)| *y = a + b),
            Self::Sub => elements.for_each(|(y, a, b)| *y = a - b),
            Self::Mul => elements.for_each(|(y, a, b)| *y = a * b),
        }
    }
}

/// `a ∘ b`. Inputs: `a, b`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binary {
    /// ∘.
    pub kind: BinaryKind,
}

/// Distances between neighbours along n, h, w, c inside a landmark's slice; 0 along a broadcast axis.
pub(crate) fn strides(s: Shape) -> [usize; 4] {
    let stride = |extent: usize, stride: usize| if extent == 1 { 0 } else { stride };
    [stride(s.n, s.image_len()), stride(s.h, s.w * s.c), stride(s.w, s.c), stride(s.c, 1)]
}

impl Kernel for Binary {
    const NAME: &'static str = "binary";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        let (a, b) = (x[0].dims(), x[1].dims());
        let fits = (0..5).all(|i| a[i] == b[i] || a[i] == 1 || b[i] == 1);
        expect(Self::NAME, fits, || format!("{:?} and {:?} do not broadcast", x[0], x[1]))?;
        Ok(vec![std::array::from_fn(|i| a[i].max(b[i])).into()])
    }

    fn grad(&self, tape: &mut Tape, x: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        Ok(match self.kind {
            BinaryKind::Add => vec![Some(dy), Some(dy)],
            BinaryKind::Sub => vec![Some(dy), Some(tape.scale_shift(dy, -1.0, 0.0)?)],
            BinaryKind::Mul => vec![Some(tape.mul(dy, x[1])?), Some(tape.mul(dy, x[0])?)],
        })
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let Shape { w, c, .. } = y[0].shape();
        let (sa, sb) = (strides(x[0].shape()), strides(x[1].shape()));
        let same = x[0].shape().with_k(1) == x[1].shape().with_k(1);
        y[0].bands().for_each(|(band, y)| {
            if same {
                let elements = y.iter_mut().zip(x[0].rows(&band)).zip(x[1].rows(&band));
                return self.kind.apply(elements.map(|((y, &a), &b)| (y, a, b)));
            }
            let (a, b) = (x[0].image(band.k, band.n), x[1].image(band.k, band.n));
            let pixels = band.rows.flat_map(|row| (0..w).map(move |column| (row, column)));
            for (y, (row, column)) in y.chunks_exact_mut(c).zip(pixels) {
                let at = |s: [usize; 4], channel: usize| row * s[1] + column * s[2] + channel * s[3];
                self.kind
                    .apply(y.iter_mut().enumerate().map(|(channel, y)| (y, a[at(sa, channel)], b[at(sb, channel)])));
            }
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let Shape { h, w, c, .. } = y[0].shape;
        let ([a_n, a_h, a_w, a_c], [b_n, b_h, b_w, b_c]) =
            (strides(x[0].shape).map(word), strides(x[1].shape).map(word));
        let params = shaders::binary::Params {
            elements: word(y[0].shape.len()),
            slice: word(y[0].shape.slice_len()),
            y_k: word(y[0].k_stride),
            kind: self.kind as u32,
            a_k: word(x[0].k_stride),
            b_k: word(x[1].k_stride),
            h: word(h),
            w: word(w),
            c: word(c),
            a_n,
            a_h,
            a_w,
            a_c,
            b_n,
            b_h,
            b_w,
            b_c,
        };
        let same = x[0].shape.with_k(1) == x[1].shape.with_k(1);
        let shader = if same { "binary" } else { "binary_broadcast" };
        vec![Dispatch::elements(shader, params, &[Bind::In(0), Bind::In(1), Bind::Out(0)], y[0].shape.len())]
    }

    fn samples() -> Vec<Sample<Self>> {
        let kinds = [BinaryKind::Add, BinaryKind::Sub, BinaryKind::Mul];
        let shapes = [
            ([1, 1, 1, 1, 1], [1, 1, 1, 1, 1]),
            ([2, 3, 4, 5, 3], [2, 3, 4, 5, 3]),
            ([1, 3, 4, 5, 3], [2, 3, 4, 5, 3]),
            ([2, 1, 4, 1, 3], [1, 3, 1, 5, 1]),
            ([3, 2, 5, 3, 8], [1, 1, 1, 1, 1]),
        ];
        kinds.into_iter().flat_map(|kind| shapes.map(|(a, b)| Sample::normal(Self { kind }, &[a, b]))).collect()
    }
}

/// `scale x + shift`. Input: `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScaleShift {
    /// Factor.
    pub scale: f32,
    /// Summand.
    pub shift: f32,
}

impl Kernel for ScaleShift {
    const NAME: &'static str = "scale_shift";

    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![x[0]])
    }

    fn grad(&self, tape: &mut Tape, _: &[Var], _: &[Var], dy: Var) -> Result<Vec<Option<Var>>> {
        Ok(vec![Some(tape.scale_shift(dy, self.scale, 0.0)?)])
    }

    fn cpu<T: Real>(&self, x: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        let (scale, shift) = (T::of(self.scale.into()), T::of(self.shift.into()));
        y[0].bands().for_each(|(band, y)| {
            y.iter_mut().zip(x[0].rows(&band)).for_each(|(y, &x)| *y = scale * x + shift);
        });
    }

    fn gpu(&self, x: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let params = shaders::scale_shift::Params {
            elements: word(y[0].shape.len()),
            slice: word(y[0].shape.slice_len()),
            x_k: word(x[0].k_stride),
            y_k: word(y[0].k_stride),
            scale: self.scale,
            shift: self.shift,
        };
        vec![Dispatch::elements("scale_shift", params, &[Bind::In(0), Bind::Out(0)], y[0].shape.len())]
    }

    fn flops(&self, _: &[Shape], y: &[Shape]) -> u64 {
        2 * y[0].len() as u64
    }

    fn samples() -> Vec<Sample<Self>> {
        vec![Sample::normal(Self { scale: -1.5, shift: 0.25 }, &[[2, 3, 5, 1, 7]])]
    }
}

/// A tensor of one value. No inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fill {
    /// Shape of the result.
    pub shape: Shape,
    /// The value.
    pub value: f32,
}

impl Kernel for Fill {
    const NAME: &'static str = "fill";

    fn infer(&self, _: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![self.shape])
    }

    fn cpu<T: Real>(&self, _: &[In<T>], y: &mut [Out<T>], _: &mut [T]) {
        y[0].slices().for_each(|slice| slice.fill(T::of(self.value.into())));
    }

    fn gpu(&self, _: &[Operand], y: &[Operand]) -> Vec<Dispatch> {
        let params = shaders::fill::Params {
            elements: word(y[0].shape.len()),
            slice: word(y[0].shape.slice_len()),
            y_k: word(y[0].k_stride),
            value: self.value,
        };
        vec![Dispatch::elements("fill", params, &[Bind::Out(0)], y[0].shape.len())]
    }

    fn flops(&self, _: &[Shape], _: &[Shape]) -> u64 {
        0
    }

    fn samples() -> Vec<Sample<Self>> {
        vec![Sample::normal(Self { shape: [2, 3, 1, 5, 7].into(), value: 0.75 }, &[])]
    }
}
