//! Runs of programs with a clock around each launch.

use super::executor::GpuExecutor;
use super::launch::SUBMIT_BUDGET;
use super::loaded::Bound;
use super::stamps::Stamps;
use crate::Result;
use crate::timing::{Clock, Encoding, Span, Timing};
use std::time::{Duration, Instant};

impl GpuExecutor {
    /// Runs a program several times on what its memory holds, and times each launch: by timestamps, each launch in a
    /// compute pass of its own, or where the device has none by the host's clock, each launch in a submission of its own.
    pub fn repeat(&mut self, index: usize, times: usize) -> Result<Timing> {
        self.bind(index)?;
        let stamped = match self.stamped {
            Some(stamped) => stamped,
            None => *self.stamped.insert(Stamps::work(&self.device)?),
        };
        if stamped { self.repeat_stamped(index, times) } else { self.repeat_submitted(index, times) }
    }

    fn repeat_stamped(&self, index: usize, times: usize) -> Result<Timing> {
        let loaded = &self.programs[index];
        let stamps = Stamps::new(&self.device, times * loaded.launches().count())?;
        let launches = || (0..times).flat_map(|_| loaded.launches());
        let submission = self.device.guard(&loaded.need, || {
            let (mut encoder, mut work) = (self.encoder(), 0);
            for (number, launch) in launches().enumerate() {
                if work >= SUBMIT_BUDGET {
                    let full = std::mem::replace(&mut encoder, self.encoder());
                    self.device.queue.submit([full.finish()]);
                    work = 0;
                }
                work += launch.work;
                launch.record(&mut encoder.begin_compute_pass(&stamps.pass(number)), &mut None);
            }
            stamps.resolve(&mut encoder);
            self.device.queue.submit([encoder.finish()])
        })?;
        let passes = stamps.read(&self.device, submission, loaded.patience() * times as u32)?;
        let spans = launches().zip(passes).map(|(launch, [start, end])| span(&launch, start, end)).collect();
        Ok(Timing { clock: Clock::Timestamps, spans })
    }

    fn repeat_submitted(&self, index: usize, times: usize) -> Result<Timing> {
        let loaded = &self.programs[index];
        let mut spans = Vec::new();
        let begin = Instant::now();
        for launch in (0..times).flat_map(|_| loaded.launches()) {
            let start = begin.elapsed();
            let submission = self.device.guard(&loaded.need, || {
                let mut encoder = self.encoder();
                let descriptor = wgpu::ComputePassDescriptor { label: Some("timed"), timestamp_writes: None };
                launch.record(&mut encoder.begin_compute_pass(&descriptor), &mut None);
                self.device.queue.submit([encoder.finish()])
            })?;
            self.device.wait(submission, loaded.patience(), "timing a launch")?;
            spans.push(span(&launch, start, begin.elapsed()));
        }
        Ok(Timing { clock: Clock::Submissions, spans })
    }

    /// Runs a program once or more on what its memory holds; returns what that took the host, from the first submission
    /// until all is done. The difference between `2 n` and `n` times is free of what only starts and ends cost.
    pub fn elapse(&mut self, index: usize, times: usize) -> Result<Duration> {
        self.bind(index)?;
        let loaded = &self.programs[index];
        let begin = Instant::now();
        let submission = self.device.guard(&loaded.need, || {
            let run = || self.device.queue.submit([self.encode(loaded, drop).finish()]);
            (1..times).fold(run(), |_, _| run())
        })?;
        self.device.wait(submission, loaded.patience() * times as u32, "timing a program")?;
        Ok(begin.elapsed())
    }

    /// Runs a program several times, at least once, on inputs of zeros, and times the host alone: a device may let it wait that is
    /// still at what was submitted before, so that this is done before the host goes on.
    pub fn encoding(&mut self, index: usize, times: usize) -> Result<Encoding> {
        self.bind(index)?;
        let loaded = &self.programs[index];
        let program = &loaded.program;
        let zeros = |&slot: &usize| vec![0.0; program.slots[slot].operand.shape.len()];
        let inputs: Vec<Vec<f32>> = program.inputs.iter().map(zeros).collect();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let mut each = Vec::new();
        for _ in 0..times.max(1) {
            let wait = |submission| self.device.wait(submission, loaded.patience(), "timing the host");
            let (mut begin, mut host, mut waited) = (Instant::now(), Duration::ZERO, Ok(()));
            let submission = self.submit(loaded, &inputs, |submission| {
                host += begin.elapsed();
                waited = std::mem::replace(&mut waited, Ok(())).and_then(|()| wait(submission));
                begin = Instant::now();
            })?;
            each.push(host + begin.elapsed());
            waited.and_then(|()| wait(submission))?;
        }
        each.sort_unstable();
        Ok(Encoding { launches: loaded.launches().count(), times: each })
    }
}

fn span(launch: &Bound, start: Duration, end: Duration) -> Span {
    Span { step: launch.step(), variant: launch.variant(), start, time: end - start }
}
