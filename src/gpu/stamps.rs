//! Timestamps around compute passes, and whether they can be believed.

use super::device::{Device, Need};
use crate::Result;
use std::time::Duration;

/// Queries that a set may have.
const SET: usize = wgpu::QUERY_SET_MAX_QUERIES as usize;

/// Two timestamps for each of a number of passes.
pub(super) struct Stamps {
    sets: Vec<wgpu::QuerySet>,
    passes: usize,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
}

impl Stamps {
    /// Whether the device has timestamps that move: some drivers return zeros.
    pub fn work(device: &Device) -> Result<bool> {
        if !device.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(false);
        }
        let stamps = Self::new(device, 1)?;
        let submission = device.guard(&Need::default(), || {
            let descriptor = wgpu::CommandEncoderDescriptor { label: Some("timestamps") };
            let mut encoder = device.device.create_command_encoder(&descriptor);
            drop(encoder.begin_compute_pass(&stamps.pass(0)));
            stamps.resolve(&mut encoder);
            device.queue.submit([encoder.finish()])
        })?;
        let ticks = stamps.ticks(device, submission, Duration::from_secs(10))?;
        Ok(!ticks.contains(&0) && ticks.is_sorted())
    }

    /// For that many passes.
    pub fn new(device: &Device, passes: usize) -> Result<Self> {
        let need = Need { bytes: Self::bytes(passes), largest: "timestamps".into() };
        let sets = (0..2 * passes).step_by(SET).map(|start| {
            let descriptor = wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: SET.min(2 * passes - start) as u32,
            };
            device.guard(&need, || device.device.create_query_set(&descriptor))
        });
        use wgpu::BufferUsages as Usage;
        let buffer = |usage| device.buffer("timestamps", Self::bytes(passes), usage, &need);
        Ok(Self {
            sets: sets.collect::<Result<_>>()?,
            passes,
            resolved: buffer(Usage::QUERY_RESOLVE | Usage::COPY_SRC)?,
            staging: buffer(Usage::MAP_READ | Usage::COPY_DST)?,
        })
    }

    fn bytes(passes: usize) -> u64 {
        16 * passes as u64
    }

    /// The pass of this number.
    pub fn pass(&self, number: usize) -> wgpu::ComputePassDescriptor<'_> {
        let first = (2 * number % SET) as u32;
        wgpu::ComputePassDescriptor {
            label: Some("timed"),
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: &self.sets[2 * number / SET],
                beginning_of_pass_write_index: Some(first),
                end_of_pass_write_index: Some(first + 1),
            }),
        }
    }

    /// Ends a submission whose passes, or those of submissions before it, were all of them.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        for (i, set) in self.sets.iter().enumerate() {
            let count = SET.min(2 * self.passes - i * SET) as u32;
            encoder.resolve_query_set(set, 0..count, &self.resolved, 8 * (i * SET) as u64);
        }
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, Self::bytes(self.passes));
    }

    /// The beginning and the end of each pass, since the first began. Where the counter begins anew, as some do every hour, the
    /// time from one tick to the next is unknown and taken for none.
    pub fn read(
        &self,
        device: &Device,
        submission: wgpu::SubmissionIndex,
        limit: Duration,
    ) -> Result<Vec<[Duration; 2]>> {
        let ticks = self.ticks(device, submission, limit)?;
        let period = f64::from(device.queue.get_timestamp_period());
        let time = |ticks: u64| Duration::from_nanos((ticks as f64 * period) as u64);
        Ok(since_first(&ticks).chunks_exact(2).map(|pass| [time(pass[0]), time(pass[1])]).collect())
    }

    fn ticks(&self, device: &Device, submission: wgpu::SubmissionIndex, limit: Duration) -> Result<Vec<u64>> {
        let bytes = Self::bytes(self.passes);
        device.map(&self.staging, bytes, submission, limit, "reading timestamps", <[u64]>::to_vec)
    }
}

/// Ticks since the first one, of a counter that may begin anew.
fn since_first(ticks: &[u64]) -> Vec<u64> {
    let steps = ticks.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
    let mut sum = 0;
    let sums = steps.map(|step| {
        sum += step;
        sum
    });
    ticks.first().map(|_| 0).into_iter().chain(sums).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_begins_anew_loses_one_interval() {
        assert_eq!(since_first(&[7, 9, 9, 1, 4]), [0, 2, 2, 2, 5]);
        assert!(since_first(&[]).is_empty());
    }
}
