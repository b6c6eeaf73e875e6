//! The numbers a CPU twin is generic over: `f32` to run, `f64` to check against.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::AddAssign;

/// `f32` or `f64`.
pub trait Real: num_traits::Float + bytemuck::Pod + AddAssign + Sum + Default + Debug + Send + Sync {
    /// The nearest value to a double.
    fn of(x: f64) -> Self;

    /// As a double, exactly.
    fn f64(self) -> f64;
}

impl Real for f32 {
    fn of(x: f64) -> Self {
        x as f32
    }
    fn f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn of(x: f64) -> Self {
        x
    }
    fn f64(self) -> f64 {
        self
    }
}
