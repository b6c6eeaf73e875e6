//! The numbers a CPU twin is generic over: `f32` to run, `f64` to check against.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::AddAssign;

/// `f32` or `f64`.
pub trait Real: num_traits::Float + bytemuck::Pod + AddAssign + Sum + Default + Debug + Send + Sync + 'static {
    /// The nearest value to a double.
    fn of(x: f64) -> Self;

    /// As a double, exactly.
    fn f64(self) -> f64;

    /// The integer part of a number that is not negative: cheaper than `floor` where that is a call.
    fn trunc_index(self) -> usize;
}

impl Real for f32 {
    fn of(x: f64) -> Self {
        x as f32
    }
    fn f64(self) -> f64 {
        f64::from(self)
    }
    fn trunc_index(self) -> usize {
        self as usize
    }
}

impl Real for f64 {
    fn of(x: f64) -> Self {
        x
    }
    fn f64(self) -> f64 {
        self
    }
    fn trunc_index(self) -> usize {
        self as usize
    }
}
