//! Parity of every kernel with its CPU twin in f64 ([`crate::parity`]), on every sample of the registry, in every variant that
//! fits, with everything that a kernel has not written poisoned with NaN. All variants have the same bits.
//!
//! `ONEMARK_TEST_KERNEL=conv` tests the kernels whose names contain it.

use super::{GpuExecutor, executor, half_adapter, skip};
use crate::gpu::choice::{Choice, Direct};
use crate::gpu::shaders;
use crate::kernel::{Element, Half, Op, Operand, Sample, Shape, Tile};
use crate::parity::{Case, Expected, STATE, shapes, wide};
use crate::plan::Program;
use crate::random::Stream;
use crate::tape::{Init, Layout, Region, Source, Tape};
use std::collections::BTreeSet;

fn bits(outputs: &[Vec<f32>]) -> Vec<Vec<u32>> {
    outputs.iter().map(|y| y.iter().map(|v| v.to_bits()).collect()).collect()
}

fn dense(shapes: &[Shape]) -> Vec<Operand> {
    shapes.iter().map(|&shape| Operand::dense(shape)).collect()
}

/// The variants that fit a sample.
fn tiles(sample: &Sample<Op>) -> Vec<Tile> {
    let x = shapes(sample);
    sample.op.tiles(&dense(&x), &dense(&sample.op.infer(&x).unwrap()))
}

/// Whether the device has what a probe measures; an executor in f32 does not open matrix units.
fn runs(op: &Op, gpu: &GpuExecutor) -> bool {
    match op {
        Op::FmaF16(_) => gpu.info().f16,
        Op::FmaMatrix(_) => false,
        _ => true,
    }
}

/// Dense operands: parity, and the same bits from a second run, from a run cut into single workgroups, and from all variants.
fn check_dense(case: &Case, expected: &[Expected], gpu: &mut GpuExecutor) -> Result<(), String> {
    let inputs: Vec<&[f32]> = case.inputs.iter().map(Vec::as_slice).collect();
    let mut run = |tile: Option<Tile>, budget: u64| {
        gpu.only(tile);
        gpu.set_budget(budget);
        let index = gpu.load(case.program()).map_err(|e| e.to_string())?;
        let mut again = || {
            for (state, region) in case.state.iter().zip(STATE) {
                gpu.write(region, state).map_err(|e| e.to_string())?;
            }
            gpu.poison();
            gpu.run(index, &inputs).map_err(|e| e.to_string())
        };
        Ok::<_, String>((again()?, again()?))
    };
    let (once, twice) = run(None, u64::MAX)?;
    for (i, (got, expected)) in once.iter().zip(expected).enumerate() {
        expected.check(&wide(got)).map_err(|e| format!("output {i}: {e}"))?;
    }
    if bits(&once) != bits(&twice) {
        return Err("a second run has other bits".into());
    }
    let (cut, _) = run(None, 1)?;
    if bits(&once) != bits(&cut) {
        return Err("cut into single workgroups, it has other bits".into());
    }
    for tile in tiles(&case.sample) {
        if bits(&run(Some(tile), u64::MAX)?.0) != bits(&once) {
            return Err(format!("{} has other bits", tile.shader));
        }
    }
    Ok(())
}

/// Operands with gaps between the landmarks' slices, as parameters and gradients have.
fn check_gaps(case: &Case, expected: &[Expected], gpu: &mut GpuExecutor) -> Result<(), String> {
    let op = &case.sample.op;
    let outputs = op.infer(&shapes(&case.sample)).unwrap();
    let landmarks = shapes(&case.sample).iter().chain(&outputs).map(|s| s.k).max().unwrap_or(1);
    let mut tape = Tape::new();
    let x: Vec<_> =
        case.sample.inputs.iter().map(|&(s, _)| tape.parameter(Region::Params, "x", s, Init::Zeros)).collect();
    for &shape in &outputs {
        tape.parameter(Region::Params, "y", shape, Init::Zeros);
    }
    tape.parameter(Region::Params, "gap", [landmarks.max(2), 1, 1, 1, 70], Init::Zeros);
    let y = tape.push(op.clone(), &x).unwrap();
    for (i, y) in y.iter().enumerate() {
        tape.tensors[y.0 as usize].source = Source::Gradient(x.len() + i);
    }
    let layout: Layout = tape.layout(Region::Params);
    let mut params = vec![f32::NAN; layout.len()];
    case.inputs.iter().enumerate().for_each(|(i, values)| layout.insert(&mut params, i, values));
    let error = |e: crate::Error| e.to_string();
    gpu.set_budget(u64::MAX);
    let index = gpu.load(Program::new(&tape)).map_err(error)?;
    gpu.write(Region::Params, &params).map_err(error)?;
    gpu.write(Region::Grads, &vec![f32::NAN; layout.len()]).map_err(error)?;
    gpu.poison();
    gpu.run(index, &[]).map_err(error)?;
    let mut grads = gpu.read(Region::Grads).map_err(error)?;
    grads.truncate(layout.len());
    for (i, expected) in expected.iter().enumerate() {
        let index = x.len() + i;
        let got = wide(&layout.extract(&grads, index));
        expected.check(&got).map_err(|e| format!("output {i} with gaps: {e}"))?;
        layout.insert(&mut grads, index, &vec![f32::NAN; got.len()]);
    }
    if grads.iter().all(|v| v.is_nan()) { Ok(()) } else { Err("it writes between its landmarks' slices".into()) }
}

#[test]
fn every_kernel_agrees_with_its_twin() {
    let Some(mut gpu) = executor() else { return };
    let filter = std::env::var("ONEMARK_TEST_KERNEL").unwrap_or_default();
    let mut failures = Vec::new();
    for (i, sample) in Op::samples().into_iter().filter(|s| s.op.name().contains(&filter)).enumerate() {
        let mut random = Stream::new(7, &[i as u64]);
        let name = format!("{:?} on {:?}", sample.op, shapes(&sample));
        let case = Case::new(sample, &mut random);
        let expected = case.expected(&mut random);
        let mut result = match runs(&case.sample.op, &gpu) {
            true => check_dense(&case, &expected, &mut gpu),
            false => continue,
        };
        if !case.sample.op.in_place() {
            for tile in std::iter::once(None).chain(tiles(&case.sample).into_iter().map(Some)) {
                gpu.only(tile);
                result = result.and_then(|()| check_gaps(&case, &expected, &mut gpu));
            }
        }
        failures.extend(result.err().map(|error| format!("{name}: {error}")));
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Of what has f16 variants: dense operands, and parameters. All variants have the same bits here too.
#[test]
fn every_f16_variant_agrees_with_its_twin() {
    let Some(adapter) = half_adapter() else { return };
    let mut gpu = GpuExecutor::open(&adapter, Element::F16, Choice::of(&adapter)).unwrap();
    for_each_half_case(|case, expected| {
        check_dense(case, expected, &mut gpu)?;
        // What only writes f16 has inputs that f16 cannot hold.
        if case.sample.op.half() == Some(Half::Writes) {
            return Ok(());
        }
        for tile in std::iter::once(None).chain(tiles(&case.sample).into_iter().map(Some)) {
            gpu.only(tile);
            check_parameters(case, expected, &mut gpu)?;
        }
        Ok(())
    });
}

#[test]
fn matrix_units_agree_with_the_twin() {
    let Some(adapter) = half_adapter() else { return };
    let Some(side) = adapter.info.matrix else { return skip("the device has no matrix units that can be used") };
    let choice = Choice { matrix: Some(side), ..Choice::default() };
    let mut gpu = GpuExecutor::open(&adapter, Element::F16, choice.clone()).unwrap();
    let mut checked = 0;
    for_each_half_case(|case, expected| {
        let x = shapes(&case.sample);
        let (x, y) = (dense(&x), dense(&case.sample.op.infer(&x).unwrap()));
        let Some(tile) = case.sample.op.matrix_tile(&x, &y, side) else { return Ok(()) };
        let expected: Vec<Expected> = expected.iter().cloned().map(Expected::on_matrix_units).collect();
        let index = gpu.load(case.program()).map_err(|e| e.to_string())?;
        gpu.poison();
        let inputs: Vec<&[f32]> = case.inputs.iter().map(Vec::as_slice).collect();
        let got = gpu.run(index, &inputs).map_err(|e| e.to_string())?;
        checked += 1;
        let error = |e| format!("{}: {e}", tile.shader);
        expected[0].check(&wide(&got[0])).map(drop).map_err(error)
    });
    assert!(checked > 3, "{checked} samples fit matrix units");
    let probes = Op::samples().into_iter().filter(|sample| matches!(&sample.op, Op::FmaMatrix(op) if op.side == side));
    for sample in probes {
        let mut random = Stream::new(9, &[]);
        let case = Case::new(sample, &mut random);
        check_dense(&case, &case.expected(&mut random), &mut gpu).unwrap();
    }
    super::super::matrix::check(&adapter, side).unwrap();
}

fn for_each_half_case(mut check: impl FnMut(&Case, &[Expected]) -> Result<(), String>) {
    let mut failures = Vec::new();
    for (i, sample) in Op::samples().into_iter().enumerate() {
        let mut random = Stream::new(8, &[i as u64]);
        let name = format!("{:?} on {:?}", sample.op, shapes(&sample));
        let Some(case) = Case::new(sample, &mut random).half() else { continue };
        let expected = case.expected(&mut random);
        failures.extend(check(&case, &expected).err().map(|error| format!("{name}: {error}")));
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Inputs as a frozen model's parameters: what comes after the landmark's own has gaps.
fn check_parameters(case: &Case, expected: &[Expected], gpu: &mut GpuExecutor) -> Result<(), String> {
    let mut tape = Tape::new();
    let x: Vec<_> = case.sample.inputs.iter().map(|&(s, _)| tape.parameter(Region::Ema, "x", s, Init::Zeros)).collect();
    let y = tape.push(case.sample.op.clone(), &x).unwrap();
    y.into_iter().for_each(|y| tape.output(y));
    let layout = tape.layout(Region::Ema);
    let mut params = vec![f32::NAN; layout.len()];
    case.inputs.iter().enumerate().for_each(|(i, values)| layout.insert(&mut params, i, values));
    let error = |e: crate::Error| e.to_string();
    let index = gpu.load(Program::new(&tape)).map_err(error)?;
    gpu.write(Region::Ema, &params).map_err(error)?;
    gpu.poison();
    let got = gpu.run(index, &[]).map_err(error)?;
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        expected.check(&wide(got)).map_err(|e| format!("output {i} of parameters: {e}"))?;
    }
    Ok(())
}

/// Without a device: every kernel has launches, and together the samples launch every variant of the table.
#[test]
fn samples_launch_every_variant() {
    let mut launched = BTreeSet::new();
    for sample in Op::samples() {
        let (x, mut random) = (shapes(&sample), Stream::new(0, &[]));
        let (x, y) = (dense(&x), dense(&sample.op.infer(&x).unwrap()));
        let program = Case::new(sample.clone(), &mut random).program();
        let programs = match (sample.op.half(), sample.op.in_place()) {
            (Some(_), false) => vec![program.clone(), program.half()],
            _ => vec![program],
        };
        let matrix = [16, 8].into_iter().filter_map(|side| sample.op.matrix_tile(&x, &y, side));
        launched.extend(matrix.map(|tile| tile.shader));
        for tile in std::iter::once(None).chain(tiles(&sample).into_iter().map(Some)) {
            let choice = Choice { only: tile, direct: Direct::Listed, ..Choice::default() };
            for program in &programs {
                for step in &program.steps {
                    let launches = program.launches(step, &choice);
                    assert!(!launches.is_empty(), "{} has no launches", step.op.name());
                    launched.extend(launches.iter().map(|launch| launch.shader));
                }
            }
        }
    }
    assert_eq!(launched, shaders::VARIANTS.iter().map(|variant| variant.name).collect());
}
