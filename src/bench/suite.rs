//! Measures cases and workloads, one row each.

use super::case::BenchCase;
use super::measure::{Effort, Source, Times, measure};
use super::peak::Peaks;
use super::row::{Dtype, Row, Subject as Of};
use super::subject::Subject;
use super::workload::{Settings, Workload, demand};
use crate::device::Device;
use crate::kernel::elementwise::Fill;
use crate::kernel::{Cost, Element, Op, Operand, Sample, Shape, Tile};
use crate::parity::{Case, STATE};
use crate::plan::{Place, Program, Slot, Step};
use crate::random::Stream;
use crate::tape::Region;
use crate::timing::{Encoding, Run};
use crate::units::si;
use crate::{Error, Result};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How rows are measured.
pub struct Suite {
    /// Where.
    pub device: Device,
    /// Numbers.
    pub dtype: Dtype,
    /// How long.
    pub effort: Effort,
    /// Clear caches before each run.
    pub cold: bool,
    /// Hold results to the f64 twin.
    pub verify: bool,
    /// Of random inputs.
    pub seed: u64,
    /// Measured bests.
    pub peaks: Option<Peaks>,
    /// Samples of all kernels, for the domains of inputs.
    pub registry: Vec<Sample<Op>>,
}

/// Elements written to clear caches: 128 MiB in f32, the least that every GPU binds.
const EVICTED: usize = 1 << 25;

/// What follows a workload's name where its rows tell of the host alone.
pub const HOST: &str = ".host";
/// Runs in which the host is timed.
const ENCODINGS: usize = 9;

impl Suite {
    /// On hot caches, neither verified nor set against peaks.
    pub fn new(device: Device, dtype: Dtype, effort: Effort) -> Self {
        Self { device, dtype, effort, cold: false, verify: false, seed: 1, peaks: None, registry: Op::samples() }
    }

    /// The GPU variants that a case can run in, that which shapes choose first; none on the CPU and for kernels that have no
    /// choice.
    pub fn variants(&self, case: &BenchCase) -> Result<Vec<Tile>> {
        let dense = |shapes: &[Shape]| shapes.iter().map(|&shape| Operand::dense(shape)).collect::<Vec<_>>();
        Ok(self.device.variants(&case.op, &dense(&case.inputs), &dense(&case.op.infer(&case.inputs)?)))
    }

    /// Measures a case, in one of [`Suite::variants`] or in the one that the device chooses.
    ///
    /// # Errors
    /// [`Error::Verification`] if a result is out of its bound, [`Error::Limits`] if the device lacks what the kernel probes.
    pub fn kernel(&self, case: &BenchCase, variant: Option<Tile>) -> Result<Row> {
        if self.device.is_cpu() && matches!(case.op, Op::FmaF16(_) | Op::FmaMatrix(_)) {
            let cause = "it has neither f16 nor matrix units".into();
            return Err(Error::Limits { device: self.device.name(), cause });
        }
        let mut random = Stream::new(self.seed, &[]);
        let values = self.values(case, &mut random)?;
        let verified = match self.verify {
            true => Some(self.check(case, variant, &values, &mut self.subject()?, &mut random)?),
            false => None,
        };
        let mut subject = self.subject()?;
        variant.into_iter().for_each(|tile| subject.only(tile));
        Ok(Row { verified, ..self.row(case, variant, &values, &mut subject)? })
    }

    /// A case's outputs in a variant, as bits, and its median time, seconds. Shaders are compiled once a subject.
    pub(super) fn trial(&self, case: &BenchCase, tile: Tile, subject: &mut Subject) -> Result<(Vec<Vec<u64>>, f64)> {
        let values = self.values(case, &mut Stream::new(self.seed, &[]))?;
        subject.only(tile);
        let outputs = once(&values, subject)?;
        let bits = outputs.iter().map(|y| y.iter().map(|v| v.to_bits()).collect()).collect();
        Ok((bits, self.row(case, Some(tile), &values, subject)?.median))
    }

    /// What measures on the suite's device.
    pub(super) fn subject(&self) -> Result<Subject> {
        Subject::new(&self.device, self.dtype)
    }

    fn row(&self, case: &BenchCase, variant: Option<Tile>, values: &Case, subject: &mut Subject) -> Result<Row> {
        let program = if self.cold { evicting(values.program()) } else { values.program() };
        let index = subject.load(program)?;
        // Neither what clears caches nor what converts operands counts.
        let own = subject.program(index).steps.iter().position(|step| step.op == case.op).expect("the case's step");
        let alone = subject.program(index).steps.len() == 1;
        restore(values, subject)?;
        subject.upload(index, &values.inputs)?;
        let timing = subject.repeat(index, 1)?;
        let mut variants: Vec<&str> =
            timing.spans.iter().filter(|span| span.step == own).map(|span| span.variant).collect();
        let launches = variants.len();
        variants.dedup();
        let times = measure(subject, index, (!alone).then_some(own..own + 1), &self.effort)?;
        let of = Of {
            kernel: case.op.name().into(),
            variant: if self.device.is_cpu() { "cpu".into() } else { variants.join(" ") },
            shape: case.shapes()?,
            settings: case.settings(),
            dtype: self.dtype,
            cold: self.cold,
            device: self.device.name(),
        };
        let json = serde_json::to_string(case).expect("a case is JSON");
        let variant = variant.map(|tile| format!(" --variant {}", tile.shader)).unwrap_or_default();
        let replay = format!("{}{variant} --case '{json}'", self.replay());
        // Plans know what they store in f16, and nothing of f64.
        let Cost { flops, bytes } = subject.program(index).steps[own].cost;
        let wide = if self.dtype == Dtype::F64 { Dtype::F64.bytes() / Dtype::F32.bytes() } else { 1 };
        let cost = Cost { flops, bytes: bytes * wide };
        Ok(Row::new(of, cost, launches, &times, self.peaks.as_ref(), replay))
    }

    fn values(&self, case: &BenchCase, random: &mut Stream) -> Result<Case> {
        let values = Case::new(case.sample(&self.registry), random);
        if self.dtype != Dtype::F16 {
            return Ok(values);
        }
        values.half().ok_or_else(|| Error::Usage(format!("--dtype f16: {} has no f16 variants", case.op.name())))
    }

    /// Holds a case's outputs in a variant to the twin's, or in all variants that fit; returns the largest relative error.
    fn check(
        &self,
        case: &BenchCase,
        variant: Option<Tile>,
        values: &Case,
        subject: &mut Subject,
        random: &mut Stream,
    ) -> Result<f64> {
        let expected = values.expected(random);
        let fitting = self.variants(case)?;
        let variants: Vec<Option<Tile>> = match variant {
            None if !fitting.is_empty() => fitting.into_iter().map(Some).collect(),
            one => vec![one],
        };
        let mut worst: f64 = 0.0;
        for variant in variants {
            variant.into_iter().for_each(|tile| subject.only(tile));
            let (name, device) = (variant.map_or(case.op.name(), |tile| tile.shader), self.device.name());
            let loose = variant.is_some_and(|tile| tile.on_matrix_units());
            for (i, (expected, got)) in expected.iter().zip(once(values, subject)?).enumerate() {
                let checked = if loose { expected.clone().on_matrix_units().check(&got) } else { expected.check(&got) };
                let wrong = |e| Error::Verification(format!("{name} on {device}, output {i}: {e}"));
                worst = worst.max(checked.map_err(wrong)?);
            }
        }
        Ok(worst)
    }

    /// Measures a whole program: a step of a stage, or the detection of an image, its host's part included.
    pub fn workload(&self, workload: Workload, settings: &Settings) -> Result<Row> {
        let storage = if self.dtype == Dtype::F16 { Element::F16 } else { Element::F32 };
        let device = self.device.clone().storing(storage)?;
        let seen: Arc<Mutex<(Cost, usize)>> = Arc::default();
        let counted = seen.clone();
        let count = move |run: &Run| {
            let (cost, launches) = &mut *counted.lock().unwrap_or_else(|e| e.into_inner());
            let more = run.program.cost();
            (cost.flops, cost.bytes) = (cost.flops + more.flops, cost.bytes + more.bytes);
            *launches += run.timing.spans.len();
        };
        // One observed run counts, unobserved ones are timed.
        workload.with(&device.clone().observed(Arc::new(count)), settings, |_, step| step(0).map(drop))?;
        let (cost, launches) = *seen.lock().unwrap_or_else(|e| e.into_inner());
        let ((parameters, bytes), seconds) = workload.with(&device, settings, |programs, step| {
            let (mut seconds, mut number) = (Vec::new(), 0);
            let begin = Instant::now();
            while number == 0 || begin.elapsed() < self.effort.warmup {
                step(number)?;
                number += 1;
            }
            let begin = Instant::now();
            while seconds.len() < 3 || begin.elapsed() < self.effort.min_time {
                let start = Instant::now();
                step(number)?;
                number += 1;
                seconds.push(start.elapsed().as_secs_f64());
            }
            let programs = match storage {
                Element::F32 => programs,
                Element::F16 => programs.into_iter().map(|(name, program)| (name, program.half())).collect(),
            };
            Ok((demand(&programs), seconds))
        })?;
        let of = Of {
            kernel: workload.row_name(),
            variant: "program".into(),
            shape: workload.shape(settings),
            settings: format!("parameters={parameters} memory={}", si(bytes as f64, "B")),
            dtype: self.dtype,
            cold: false,
            device: self.device.name(),
        };
        let replay = self.workload_replay(&of.kernel, settings);
        let times = Times::new(seconds, Source::Host);
        Ok(Row::new(of, cost, launches, &times, self.peaks.as_ref(), replay))
    }

    /// What the host needs for each program of a workload until its launches are submitted, while the device waits. Nothing on the CPU,
    /// which launches nothing.
    pub fn host(&self, workload: Workload, settings: &Settings) -> Result<Vec<Row>> {
        if self.device.is_cpu() {
            return Ok(Vec::new());
        }
        let row = |(name, program): (String, Program)| {
            let mut executor = self.device.executor()?;
            let index = executor.load(program)?;
            executor.encoding(index, 1)?;
            let Some(Encoding { launches, times }) = executor.encoding(index, ENCODINGS)? else {
                unreachable!("a GPU launches")
            };
            let of = Of {
                kernel: name + HOST,
                variant: "host".into(),
                shape: workload.shape(settings),
                settings: format!("launches={launches}"),
                dtype: self.dtype,
                cold: false,
                device: self.device.name(),
            };
            let replay = self.workload_replay(&of.kernel, settings);
            let seconds = times.iter().map(Duration::as_secs_f64).collect();
            Ok(Row::new(of, Cost::default(), 0, &Times::new(seconds, Source::Host), None, replay))
        };
        workload.programs(settings)?.into_iter().map(row).collect()
    }

    fn workload_replay(&self, name: &str, settings: &Settings) -> String {
        format!("{} {name} --landmarks {}{}", self.replay(), settings.landmarks, settings.batch_option())
    }

    fn replay(&self) -> String {
        let (device, threads) = (self.device.spec(), rayon::current_num_threads());
        let mut words = format!("onemark bench --device {device} --threads {threads} --seed {}", self.seed);
        if self.dtype != Dtype::F32 {
            words += &format!(" --dtype {}", self.dtype.name());
        }
        if self.cold {
            words += " --cold";
        }
        if self.verify {
            words += " --verify";
        }
        words
    }
}

/// A case's outputs from one run.
fn once(values: &Case, subject: &mut Subject) -> Result<Vec<Vec<f64>>> {
    let index = subject.load(values.program())?;
    restore(values, subject)?;
    subject.upload(index, &values.inputs)?;
    subject.repeat(index, 1)?;
    subject.outputs(index)
}

/// Sets the state that a case updates.
fn restore(values: &Case, subject: &mut Subject) -> Result<()> {
    values.state.iter().zip(STATE).try_for_each(|(state, region)| subject.write(region, state))
}

/// The same program behind a step that overwrites more than caches hold.
fn evicting(mut program: Program) -> Program {
    let shape = [1, 1, 1, 1, EVICTED].into();
    let op = Op::from(Fill { shape, value: 1.0 });
    program.slots.push(Slot {
        name: "evicted".into(),
        operand: Operand::dense(shape),
        element: Element::F32,
        place: Place::Region(Region::Data),
        offset: 0,
    });
    program.regions.insert(Region::Data, EVICTED);
    let outputs = vec![program.slots.len() - 1];
    let cost = op.cost(&[], &[shape]);
    program.steps.insert(0, Step { op, inputs: vec![], outputs, scratch: None, label: "evict".into(), cost });
    program
}

#[cfg(test)]
mod tests {
    use super::super::shape;
    use super::*;

    fn suite(device: Device, dtype: Dtype) -> Suite {
        let effort = Effort { warmup: Duration::ZERO, min_time: Duration::ZERO, slope: false };
        Suite { verify: true, seed: 3, ..Suite::new(device, dtype, effort) }
    }

    fn cases(text: &str) -> Vec<BenchCase> {
        shape::parse(text).unwrap()[0].cases()
    }

    #[test]
    fn rows_are_verified_and_replays_name_what_was_measured() {
        for dtype in [Dtype::F32, Dtype::F64] {
            for case in cases("k=2,h=9,ci=5,co=3,kh=3") {
                let row = suite(Device::cpu(), dtype).kernel(&case, None).unwrap();
                assert!(row.verified.unwrap() < 1e-5 && row.runs >= 5, "{row:?}");
                let (_, json) = row.replay.split_once("--case '").unwrap();
                assert_eq!(serde_json::from_str::<BenchCase>(json.trim_end_matches('\'')).unwrap(), case);
            }
        }
    }

    #[test]
    fn state_is_set_and_caches_are_cleared() {
        let suite = Suite { cold: true, ..suite(Device::cpu(), Dtype::F32) };
        let adamw = suite.registry.iter().find(|sample| sample.op.name() == "adamw").unwrap();
        let row = suite.kernel(&BenchCase::new(adamw), None).unwrap();
        assert!(
            row.subject.cold && row.verified.is_some() && row.median < 1e-2,
            "the clearing is not counted: {row:?}"
        );
    }

    #[test]
    fn every_variant_is_right_and_a_wrong_one_is_found() {
        let Some(adapter) = crate::gpu::tests::adapter() else { return };
        let suite = suite(Device::gpu(adapter), Dtype::F32);
        let conv = &cases("h=33,ci=4,co=8,kh=3")[0];
        let variants = suite.variants(conv).unwrap();
        let tiled = variants.iter().filter(|tile| !tile.is_direct()).count();
        assert_eq!(tiled, 8, "four tiles, in fours or not: {variants:?}");
        for variant in variants {
            let row = suite.kernel(conv, Some(variant)).unwrap();
            assert_eq!((row.subject.variant.as_str(), row.verified.is_some()), (variant.shader, true));
        }
        // The host believes that a workgroup owns twice the rows that it does.
        let small = Tile { shader: "conv2d_small", rows: 64, columns: 32 };
        let error = suite.kernel(conv, Some(small)).unwrap_err();
        assert!(error.exit_code() == 6 && error.to_string().contains("elements are wrong"), "{error}");
    }
}
