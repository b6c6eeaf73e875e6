//! What a workload spends its time on: every step of its programs, on the device and on the host.

mod chrome;
pub mod plan;
pub mod summary;

use crate::Result;
use crate::bench::workload::{Settings, Workload};
use crate::device::Device;
use crate::plan::Program;
use crate::timing::{Encoding, Observer, Run, Timing};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A run of a program. Times are since the profile began.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Index into [`Profile::programs`].
    pub program: usize,
    /// When the host asked for it.
    pub began: Duration,
    /// When its inputs were there.
    pub launched: Duration,
    /// When the host had its outputs.
    pub ended: Duration,
    /// Its steps on the device; the first began when it was launched, as far as the host knows.
    pub timing: Timing,
}

/// A step of the workload on the host, its runs included. Times are since the profile began.
#[derive(Clone, Copy, Debug)]
pub struct Stepped {
    /// Begin.
    pub began: Duration,
    /// End.
    pub ended: Duration,
    /// The loss, if it has one.
    pub loss: Option<f64>,
}

/// A profile of a number of steps. See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Where.
    pub device: String,
    /// All programs that ran.
    pub programs: Vec<Program>,
    /// Their runs in order.
    pub runs: Vec<Ran>,
    /// The workload's steps in order.
    pub steps: Vec<Stepped>,
    /// What the host needs for a run of each program that nobody watches; none on the CPU.
    pub encodings: Vec<Option<Encoding>>,
}

impl Profile {
    /// Does some steps of a workload that do not count, then `steps` that do.
    pub fn record(
        workload: Workload,
        settings: &Settings,
        device: &Device,
        warmup: usize,
        steps: usize,
    ) -> Result<Self> {
        let origin = Instant::now();
        let profile = Arc::new(Mutex::new(Self { device: device.name(), ..Self::default() }));
        let observer = observer(profile.clone(), origin);
        workload.with(&device.clone().observed(observer), settings, |_, step| {
            (0..warmup).try_for_each(|number| step(number).map(drop))?;
            lock(&profile).runs.clear();
            for number in warmup..warmup + steps {
                let began = origin.elapsed();
                let loss = step(number)?;
                lock(&profile).steps.push(Stepped { began, ended: origin.elapsed(), loss });
            }
            Ok(())
        })?;
        let mut profile = std::mem::take(&mut *lock(&profile));
        for program in &profile.programs {
            let mut executor = device.executor()?;
            let index = executor.load(program.clone())?;
            executor.encoding(index, 1)?;
            profile.encodings.push(executor.encoding(index, steps)?);
        }
        Ok(profile)
    }

    /// Time of all steps on the device.
    pub fn device_time(&self) -> Duration {
        self.runs.iter().map(|run| run.timing.elapsed()).sum()
    }
}

fn observer(profile: Arc<Mutex<Profile>>, origin: Instant) -> Observer {
    Arc::new(move |run: &Run| {
        let ended = origin.elapsed();
        let mut profile = lock(&profile);
        let known = profile.programs.iter().position(|program| program == run.program);
        let program = known.unwrap_or_else(|| {
            profile.programs.push(run.program.clone());
            profile.programs.len() - 1
        });
        let since = |instant: Instant| instant.saturating_duration_since(origin);
        let (began, launched) = (since(run.began), since(run.launched));
        profile.runs.push(Ran { program, began, launched, ended, timing: run.timing.clone() });
    })
}

/// What is in it is whole even if another thread panicked.
fn lock(profile: &Mutex<Profile>) -> std::sync::MutexGuard<'_, Profile> {
    profile.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::config::Config;
    use crate::model::Kind;

    pub(super) fn small() -> Settings {
        let mut config = Config { global_side: 48, local_side: 96, views: 1, ..Config::default() };
        (config.matching.channels, config.matching.embedding) = (vec![4, 8, 8], 4);
        (config.crop.side, config.crop.channels) = (32, vec![4, 8]);
        Settings { config, landmarks: 2, batch: Some(2), images: 2, size: [64, 80], ..Settings::default() }
    }

    /// Slices on the device do not overlap, none is left out, and their sum is the device's time but for 5 %. On images large
    /// enough that what lies between two launches is little beside them, as it is in a step of the default configuration.
    fn check(device: &Device) {
        let mut settings = small();
        (settings.config.global_side, settings.config.local_side) = (96, 192);
        (settings.config.crop.side, settings.size) = (64, [128, 160]);
        (settings.config.crop.channels, settings.config.matching.channels) = (vec![8, 16], vec![8, 16, 16]);
        for workload in [Workload::Step(Kind::Single), Workload::Detect] {
            // What else runs on the machine may come between two slices: one undisturbed try tells.
            let mut best = 0.0f64;
            for _ in 0..30 {
                best = best.max(share(workload, &settings, device));
                if best >= 0.95 {
                    break;
                }
            }
            assert!(best >= 0.95, "slices are {best} of the device's time on {}", device.name());
        }
    }

    /// The share of the device's time that slices fill, in two steps.
    fn share(workload: Workload, settings: &Settings, device: &Device) -> f64 {
        let profile = Profile::record(workload, settings, device, 1, 2).unwrap();
        assert_eq!((profile.steps.len(), profile.steps[0].loss.is_some()), (2, workload != Workload::Detect));
        assert_eq!(profile.encodings.len(), profile.programs.len());
        for encoding in &profile.encodings {
            let launched = encoding.as_ref().is_some_and(|e| e.launches > 0 && e.median() > Duration::ZERO);
            assert!(launched != device.is_cpu(), "{encoding:?}");
        }
        let mut end = Duration::ZERO;
        for run in &profile.runs {
            if let Some(encoding) = &profile.encodings[run.program] {
                assert_eq!(run.timing.spans.len(), encoding.launches, "a slice for each launch");
            }
            assert!(run.began <= run.launched && run.launched <= run.ended && run.began >= end);
            for span in &run.timing.spans {
                let start = run.launched + span.start;
                assert!(start >= end, "slices overlap");
                end = start + span.time;
            }
        }
        let sum: Duration = profile.runs.iter().flat_map(|run| &run.timing.spans).map(|span| span.time).sum();
        let share = sum.as_secs_f64() / profile.device_time().as_secs_f64();
        assert!(share <= 1.0001, "slices are longer than the device's time");
        share
    }

    #[test]
    fn slices_fill_the_steps_time_on_the_cpu() {
        check(&Device::cpu());
    }

    #[test]
    fn slices_fill_the_steps_time_on_a_gpu() {
        if let Some(adapter) = crate::gpu::tests::adapter() {
            check(&Device::gpu(adapter));
        }
    }
}
