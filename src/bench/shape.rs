//! Shapes on the command line: `n=16,h=256,ci=32:64,co=16..128,kh=3`.
//!
//! `a:b:c` is a list and `a..b` doubles from a to b; several of them multiply. What is not given is 1, but `w` is `h`, `kw` is
//! `kh`, and `co` is `ci`.

use super::case::BenchCase;
use crate::kernel::activation::Activation;
use crate::kernel::conv2d::Conv2d;
use crate::kernel::conv2d_grad::{Conv2dGradInput, Conv2dGradWeight};
use crate::kernel::matmul::MatMul;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Keys that a shape may have.
const KEYS: [&str; 9] = ["k", "n", "h", "w", "ci", "co", "kh", "kw", "stride"];

/// One combination of extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extents {
    /// Landmarks.
    pub k: usize,
    /// Batch.
    pub n: usize,
    /// Height.
    pub h: usize,
    /// Width.
    pub w: usize,
    /// Channels in.
    pub ci: usize,
    /// Channels out.
    pub co: usize,
    /// Height of the kernel.
    pub kh: usize,
    /// Width of the kernel.
    pub kw: usize,
    /// Stride.
    pub stride: usize,
}

/// All combinations that a text names.
///
/// # Errors
/// [`Error::Usage`] that names what is not understood.
pub fn parse(text: &str) -> Result<Vec<Extents>> {
    let usage = |cause: String| Error::Usage(format!("--shape {text}: {cause}"));
    let mut combinations: Vec<BTreeMap<&str, usize>> = vec![BTreeMap::new()];
    for part in text.split(',') {
        let (key, values) = part.split_once('=').ok_or_else(|| usage(format!("`{part}` is not KEY=VALUE")))?;
        if !KEYS.contains(&key) {
            return Err(usage(format!("`{key}` is none of {}", KEYS.join(", "))));
        }
        let values = extents(values).ok_or_else(|| usage(format!("`{values}` is not N, N:N or N..N, from 1")))?;
        combinations = combinations
            .iter()
            .flat_map(|known| {
                values.iter().map(|&value| {
                    let mut more = known.clone();
                    more.insert(key, value);
                    more
                })
            })
            .collect();
    }
    let extents = |given: &BTreeMap<&str, usize>| {
        let get = |key: &str, default: usize| given.get(key).copied().unwrap_or(default);
        let (h, ci, kh) = (get("h", 1), get("ci", 1), get("kh", 1));
        Extents {
            k: get("k", 1),
            n: get("n", 1),
            h,
            w: get("w", h),
            ci,
            co: get("co", ci),
            kh,
            kw: get("kw", kh),
            stride: get("stride", 1),
        }
    };
    Ok(combinations.iter().map(extents).collect())
}

fn extents(text: &str) -> Option<Vec<usize>> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|n| (1..=1 << 20).contains(n));
    match text.split_once("..") {
        Some((from, to)) => {
            let (from, to) = (number(from)?, number(to)?);
            Some(std::iter::successors(Some(from), |n| Some(2 * n)).take_while(|&n| n <= to).collect())
        }
        None => text.split(':').map(number).collect(),
    }
}

impl Extents {
    /// Convolution, its gradients, and the matrix product of as many rows as the image has pixels, `ci` columns with `co`
    /// rows; each where it fits.
    pub fn cases(&self) -> Vec<BenchCase> {
        let Self { k, n, h, w, ci, co, kh, kw, stride } = *self;
        let pad = kh / 2;
        let conv = Conv2d { stride, pad, bias: true, adapter: false, activation: Activation::Identity };
        let (x, weight) = ([k, n, h, w, ci].into(), [k, co, kh, kw, ci].into());
        let mut cases = vec![BenchCase { op: conv.clone().into(), inputs: vec![x, weight, [k, 1, 1, 1, co].into()] }];
        if let Ok(y) = crate::kernel::Kernel::infer(&conv, &cases[0].inputs) {
            let (grad_input, grad_weight) =
                (Conv2dGradInput { stride, pad, h, w }, Conv2dGradWeight { stride, pad, kh, kw, k });
            cases.push(BenchCase { op: grad_input.into(), inputs: vec![y[0], weight] });
            cases.push(BenchCase { op: grad_weight.into(), inputs: vec![x, y[0]] });
        }
        let product = MatMul { transpose_a: false, transpose_b: true };
        cases.push(BenchCase { op: product.into(), inputs: vec![x, [k, n, 1, co, ci].into()] });
        cases.retain(|case| case.cost().is_ok());
        cases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_multiply() {
        let all = parse("n=16,h=64:32,ci=16..64,kh=3").unwrap();
        let seen: Vec<_> = all.iter().map(|e| (e.n, e.h, e.w, e.ci, e.co, e.kw)).collect();
        assert_eq!(seen.len(), 6);
        assert_eq!(seen[1], (16, 64, 64, 32, 32, 3));
        let cases = all[1].cases();
        let names: Vec<_> = cases.iter().map(|case| case.op.name()).collect();
        assert_eq!(names, ["conv2d", "conv2d_grad_input", "conv2d_grad_weight", "matmul"]);
        assert_eq!(cases[0].cost().unwrap().flops, 2 * 16 * 64 * 64 * 32 * 32 * 9);
        assert_eq!(cases[3].cost().unwrap().flops, 2 * 16 * 64 * 64 * 32 * 32);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, cause) in [
            ("h", "`h` is not"),
            ("x=3", "`x` is none of"),
            ("h=0", "`0` is not"),
            ("h=4..", "`4..`"),
            ("h=1:b", "`1:b`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains(cause) && error.exit_code() == 2, "{error}");
        }
    }
}
