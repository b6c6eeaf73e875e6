//! A case on Burn: `burn-peer wgpu|flex PASS N SIDE C_IN C_OUT KERNEL`.
//!
//! Reads x `[n, h, w, c_in]`, weight `[c_out, kh, kw, c_in]`, bias and dy `[n, h, w, c_out]` as bytes of f32, and writes y, and for
//! `forward_backward` the gradients of x and weight, laid out alike. Then each line with a number of seconds is answered with a line
//! of what runs took in so long, in milliseconds.

use burn::Tensor;
use burn::backend::ops::{ConvOptions, ModuleOps};
use burn::backend::{Dispatch, DispatchTensor};
use burn::tensor::{Device, DeviceKind, TensorData};
use std::env::args;
use std::io::{BufRead, Read, Result, Write, stdin, stdout};
use std::time::Instant;

/// Runs that count, at least.
const RUNS: usize = 5;
/// Slopes that count.
const SLOPES: usize = 7;

struct Peer {
    device: Device,
    on_gpu: bool,
}

impl Peer {
    /// A tensor `[n, c, h, w]` of values `[n, h, w, c]`, in memory as the backend's convolutions like it best: CubeCL's read
    /// channels-last, Flex's copy whatever isn't contiguous.
    fn inward(&self, values: Vec<f32>, shape: [usize; 4]) -> DispatchTensor {
        let tensor = Tensor::<4>::from_data(TensorData::new(values, shape), &self.device).permute([0, 3, 1, 2]);
        let kept = if self.on_gpu { tensor } else { Tensor::from_data(tensor.into_data(), &self.device) };
        kept.into_dispatch()
    }

    fn sync(&self) {
        self.device.sync().expect("the device computes");
    }

    /// Milliseconds of `n` runs one after another.
    fn elapse(&self, run: &impl Fn() -> Vec<DispatchTensor>, n: usize) -> f64 {
        let begin = Instant::now();
        for _ in 0..n {
            run();
        }
        self.sync();
        1e3 * begin.elapsed().as_secs_f64()
    }

    /// Milliseconds of a run, several times: on the CPU of each, on a GPU `(t(2 n) - t(n)) / n`, both as `onemark bench` has it.
    fn times(&self, run: &impl Fn() -> Vec<DispatchTensor>, seconds: f64) -> Vec<f64> {
        let begin = Instant::now();
        let mut found = Vec::new();
        if !self.on_gpu {
            while found.len() < RUNS || begin.elapsed().as_secs_f64() < seconds {
                found.push(self.elapse(run, 1));
            }
            return found;
        }
        let share = 1e3 * seconds / (3 * SLOPES) as f64;
        let mut n = 1;
        while self.elapse(run, n) < share {
            n *= 2;
        }
        let slope = |_| {
            let (once, twice) = (self.elapse(run, n), self.elapse(run, 2 * n));
            (twice - once).max(0.0) / n as f64
        };
        (0..SLOPES).map(slope).collect()
    }
}

fn read(count: usize) -> Result<Vec<f32>> {
    let mut bytes = vec![0; 4 * count];
    stdin().lock().read_exact(&mut bytes)?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn main() -> Result<()> {
    let words: Vec<String> = args().skip(1).collect();
    let on_gpu = words[0] == "wgpu";
    let device = if on_gpu { Device::wgpu(DeviceKind::DefaultDevice) } else { Device::flex() };
    if let Some(identity) = device.as_dispatch().identity() {
        eprintln!("burn computes on {}", identity.name);
    }
    let backward = words[1] == "forward_backward";
    let numbers: Vec<usize> = words[2..].iter().map(|word| word.parse().expect("a number")).collect();
    let &[n, side, c_in, c_out, k] = &numbers[..] else { panic!("N SIDE C_IN C_OUT KERNEL") };

    let peer = Peer { device, on_gpu };
    let x = peer.inward(read(n * side * side * c_in)?, [n, side, side, c_in]);
    let weight = peer.inward(read(c_out * k * k * c_in)?, [c_out, k, k, c_in]);
    let bias = Tensor::<1>::from_data(TensorData::new(read(c_out)?, [c_out]), &peer.device).into_dispatch();
    let dy = peer.inward(read(n * side * side * c_out)?, [n, side, side, c_out]);
    let run = || {
        let options = || ConvOptions::new([1, 1], [k / 2, k / 2], [1, 1], 1);
        let y = Dispatch::conv2d(x.clone(), weight.clone(), Some(bias.clone()), options());
        if !backward {
            return vec![y];
        }
        // What Burn's autodiff calls. It starts from ones alone: through it, a dy would cost two more products.
        let dx = Dispatch::conv2d_x_backward(x.clone(), weight.clone(), dy.clone(), options());
        let dw = Dispatch::conv2d_weight_backward(x.clone(), weight.clone(), dy.clone(), options());
        vec![y, dx, dw]
    };

    let mut out = stdout().lock();
    for result in run() {
        out.write_all(Tensor::<4>::from_dispatch(result).permute([0, 2, 3, 1]).into_data().as_bytes())?;
    }
    out.flush()?;
    for line in stdin().lock().lines() {
        let seconds = line?.parse().expect("seconds");
        let times: Vec<String> = peer.times(&run, seconds).iter().map(|time| time.to_string()).collect();
        writeln!(out, "{}", times.join(" "))?;
        out.flush()?;
    }
    Ok(())
}
