//! Measures cases and workloads, one row each.

use super::case::BenchCase;
use super::measure::{Effort, Source, Times, measure};
use super::peak::Peaks;
use super::row::{Dtype, Row, Subject as Of};
use super::subject::Subject;
use super::workload::{Settings, Workload, demand};
use crate::device::Device;
use crate::kernel::elementwise::Fill;
use crate::kernel::tensor::Operand;
use crate::kernel::tile::Tile;
use crate::kernel::{Cost, Op, Sample};
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

/// Elements written to clear caches: 128 MiB in f32, the most that any GPU binds.
const EVICTED: usize = 1 << 25;

/// What follows a workload's name where its rows tell of the host alone.
pub const HOST: &str = ".host";
/// Runs in which the host is timed.
const ENCODINGS: usize = 9;

impl Suite {
    /// The GPU variants that a case can run in: those that the tile's choice could take; none on the CPU and for kernels that
    /// have no choice.
    pub fn variants(&self, case: &BenchCase) -> Result<Vec<&'static str>> {
        Ok(self.tiles(case)?.iter().map(|tile| tile.shader).collect())
    }

    fn tiles(&self, case: &BenchCase) -> Result<Vec<Tile>> {
        if self.device.is_cpu() {
            return Ok(Vec::new());
        }
        let y = case.op.infer(&case.inputs)?;
        let dense = |shapes: &[crate::kernel::Shape]| shapes.iter().map(|&s| Operand::dense(s)).collect::<Vec<_>>();
        Ok(Tile::alternatives(|| drop(case.op.gpu(&dense(&case.inputs), &dense(&y)))))
    }

    /// Measures a case, in a variant of [`Suite::variants`] or in the one that is chosen.
    ///
    /// # Errors
    /// [`Error::Verification`] if a result is out of its bound.
    pub fn kernel(&self, case: &BenchCase, variant: Option<&str>) -> Result<Row> {
        let tile = variant.and_then(|name| self.tiles(case).ok()?.into_iter().find(|tile| tile.shader == name));
        match tile {
            Some(tile) => tile.force(|| self.measure(case, variant)),
            None => self.measure(case, variant),
        }
    }

    fn measure(&self, case: &BenchCase, variant: Option<&str>) -> Result<Row> {
        let mut random = Stream::new(self.seed, &[]);
        let values = Case::new(case.sample(&self.registry), &mut random);
        let mut subject = Subject::new(&self.device, self.dtype)?;
        let verified = if self.verify { Some(self.check(&values, &mut subject, &mut random)?) } else { None };

        let program = if self.cold { evicting(values.program()) } else { values.program() };
        let first = usize::from(self.cold);
        let index = subject.load(program)?;
        restore(&values, &mut subject)?;
        subject.upload(index, &values.inputs)?;
        let timing = subject.repeat(index, 1)?;
        let mut variants: Vec<&str> =
            timing.spans.iter().filter(|span| span.step >= first).map(|span| span.variant).collect();
        let launches = variants.len();
        variants.dedup();
        let times = measure(&mut subject, index, first, &self.effort)?;
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
        let variant = variant.map(|name| format!(" --variant {name}")).unwrap_or_default();
        let replay = format!("{}{variant} --case '{json}'", self.replay());
        let row = Row::new(of, case.cost()?, launches, &times, self.peaks.as_ref(), replay);
        Ok(Row { verified, ..row })
    }

    /// Runs a case once and holds its outputs to the twin's; returns the largest relative error.
    fn check(&self, values: &Case, subject: &mut Subject, random: &mut Stream) -> Result<f64> {
        let index = subject.load(values.program())?;
        restore(values, subject)?;
        subject.upload(index, &values.inputs)?;
        subject.repeat(index, 1)?;
        let mut worst: f64 = 0.0;
        for (i, (expected, got)) in values.expected(random).iter().zip(subject.outputs(index)?).enumerate() {
            let checked = expected.check(&got);
            let name = values.sample.op.name();
            worst = worst.max(
                checked
                    .map_err(|e| Error::Verification(format!("{name} on {}, output {i}: {e}", self.device.name())))?,
            );
        }
        Ok(worst)
    }

    /// Measures a whole program: a step of a stage, or the detection of an image, its host's part included.
    pub fn workload(&self, workload: Workload, settings: &Settings) -> Result<Row> {
        let seen: Arc<Mutex<(Cost, usize)>> = Arc::default();
        let counted = seen.clone();
        let count = move |run: &Run| {
            let (cost, launches) = &mut *counted.lock().unwrap_or_else(|e| e.into_inner());
            let more = run.program.cost();
            (cost.flops, cost.bytes) = (cost.flops + more.flops, cost.bytes + more.bytes);
            *launches += run.timing.spans.len();
        };
        // One observed run counts, unobserved ones are timed.
        workload.with(&self.device.clone().observed(Arc::new(count)), settings, |_, step| step(0).map(drop))?;
        let (cost, launches) = *seen.lock().unwrap_or_else(|e| e.into_inner());
        let ((parameters, bytes), seconds) = workload.with(&self.device, settings, |programs, step| {
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
            Ok((demand(&programs), seconds))
        })?;
        let of = Of {
            kernel: workload.row_name(),
            variant: "program".into(),
            shape: workload.shape(settings),
            settings: format!("parameters={parameters} memory={}", si(bytes as f64, "B")),
            dtype: Dtype::F32,
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
                dtype: Dtype::F32,
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
        Suite {
            device,
            dtype,
            effort: Effort { warmup: Duration::ZERO, min_time: Duration::ZERO, slope: false },
            cold: false,
            verify: true,
            seed: 3,
            peaks: None,
            registry: Op::samples(),
        }
    }

    fn cases(text: &str) -> Vec<BenchCase> {
        shape::parse(text).unwrap()[0].cases()
    }

    #[test]
    fn rows_are_verified_and_replays_name_what_was_measured() {
        for dtype in [Dtype::F32, Dtype::F64] {
            for case in cases("k=2,h=9,ci=5,co=3,kh=3") {
                let row = suite(Device::cpu(), dtype).kernel(&case, None).unwrap();
                assert!(row.verified.unwrap() < 1e-5 && row.runs >= 5 && row.p10 <= row.median, "{row:?}");
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
    fn every_tile_is_right_and_a_wrong_one_is_found() {
        let Some(adapter) = crate::gpu::tests::adapter() else { return };
        let suite = suite(Device::gpu(adapter), Dtype::F32);
        let conv = &cases("h=33,ci=3,co=5,kh=3")[0];
        let variants = suite.variants(conv).unwrap();
        assert_eq!(variants, ["conv2d_small", "conv2d_narrow", "conv2d_medium", "conv2d_large"]);
        for variant in variants {
            let row = suite.kernel(conv, Some(variant)).unwrap();
            assert_eq!((row.subject.variant.as_str(), row.verified.is_some()), (variant, true));
        }
        // The host believes that a workgroup owns twice the rows that it does.
        let wrong = Tile { rows: 64, ..Tile::small("conv2d_small") };
        let error = wrong.force(|| suite.kernel(conv, None)).unwrap_err();
        assert!(error.exit_code() == 6 && error.to_string().contains("elements are wrong"), "{error}");
    }
}
