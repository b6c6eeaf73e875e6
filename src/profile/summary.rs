//! A profile by kernel and by layer.

use super::Profile;
use crate::bench::peak::Peaks;
use crate::timing::{Encoding, total};
use crate::units::{digits, rate, si, time};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What all steps of one name cost together, a workload's step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// A kernel's or a layer's.
    pub name: String,
    /// Steps of programs, a step of the workload.
    pub calls: f64,
    /// Seconds, a step of the workload.
    pub seconds: f64,
    /// Share of the device's time.
    pub share: f64,
    /// FLOP/s.
    pub flops: f64,
    /// Necessary bytes a second.
    pub bandwidth: f64,
    /// The time that the measured peaks allow, over the time it took.
    pub of_peak: Option<f64>,
}

/// Sums of a profile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Steps of the workload.
    pub steps: usize,
    /// Seconds of a step on the host.
    pub host_seconds: f64,
    /// Seconds of a step on the device.
    pub device_seconds: f64,
    /// Launches of a step, on a GPU.
    pub launches: Option<f64>,
    /// Seconds that the host needs to hand over a step's inputs, encode its launches and submit them where nobody watches, on a GPU.
    pub encoding_seconds: Option<f64>,
    /// By kernel, the costliest first.
    pub kernels: Vec<Line>,
    /// By layer, the costliest first.
    pub layers: Vec<Line>,
}

/// Steps that no layer of the network has: crops, losses, the optimiser.
const NO_LAYER: &str = "(around the network)";

#[derive(Default)]
struct Sum {
    calls: usize,
    time: Duration,
    flops: f64,
    bytes: f64,
    /// Seconds that the peaks allow.
    best: f64,
}

impl Summary {
    /// Sums up a profile of at least one step.
    pub fn new(profile: &Profile, peaks: Option<&Peaks>) -> Self {
        let (mut kernels, mut layers): (BTreeMap<String, Sum>, BTreeMap<String, Sum>) = Default::default();
        for run in &profile.runs {
            for spans in run.timing.steps() {
                let step = &profile.programs[run.program].steps[spans[0].step];
                let layer = step.label.rsplit_once('.').map_or(NO_LAYER, |(layer, _)| layer);
                let sums = [kernels.entry(step.op.name().into()), layers.entry(layer.into())];
                for sum in sums.map(|entry| entry.or_default()) {
                    sum.calls += 1;
                    sum.time += total(spans);
                    sum.flops += step.cost.flops as f64;
                    sum.bytes += step.cost.bytes as f64;
                    sum.best += peaks.map_or(0.0, |p| p.best(step.cost.flops, step.cost.bytes, spans.len()).0);
                }
            }
        }
        let (steps, device) = (profile.steps.len().max(1) as f64, profile.device_time().as_secs_f64());
        let line = |(name, sum): (String, Sum)| Line {
            name,
            calls: sum.calls as f64 / steps,
            seconds: sum.time.as_secs_f64() / steps,
            share: sum.time.as_secs_f64() / device.max(f64::MIN_POSITIVE),
            flops: rate(sum.flops, sum.time),
            bandwidth: rate(sum.bytes, sum.time),
            of_peak: peaks.map(|_| rate(sum.best, sum.time)),
        };
        let lines = |sums: BTreeMap<String, Sum>| {
            let mut lines: Vec<Line> = sums.into_iter().map(line).collect();
            lines.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
            lines
        };
        let per_step = |of_run: &dyn Fn(&Encoding) -> f64| {
            let of_runs = profile.runs.iter().map(|run| profile.encodings[run.program].as_ref().map(of_run));
            of_runs.sum::<Option<f64>>().map(|sum| sum / steps)
        };
        let host: Duration = profile.steps.iter().map(|step| step.ended - step.began).sum();
        Self {
            steps: profile.steps.len(),
            host_seconds: host.as_secs_f64() / steps,
            device_seconds: device / steps,
            launches: per_step(&|encoding| encoding.launches as f64),
            encoding_seconds: per_step(&|encoding| encoding.median().as_secs_f64()),
            kernels: lines(kernels),
            layers: lines(layers),
        }
    }

    /// Two tables for people.
    pub fn text(&self) -> String {
        let seconds = |seconds| time(Duration::from_secs_f64(seconds));
        let (host, device) = (seconds(self.host_seconds), seconds(self.device_seconds));
        let mut text = format!("{} steps, each {host} on the host, {device} of it on the device\n", self.steps);
        if let (Some(launches), Some(encoding)) = (self.launches, self.encoding_seconds) {
            let encoding = seconds(encoding);
            text += &format!(
                "unwatched, the host hands over inputs, encodes {launches:.0} launches and submits them in {encoding}\n"
            );
        }
        for (head, lines) in [("kernel", &self.kernels), ("layer", &self.layers)] {
            text += &format!(
                "\n{head:<28}{:>7}{:>12}{:>8}{:>15}{:>12}{:>8}\n",
                "calls", "time", "% step", "FLOP/s", "B/s", "% peak"
            );
            for line in lines {
                text += &format!(
                    "{:<28}{:>7}{:>12}{:>8.1}{:>15}{:>12}{:>8}\n",
                    line.name,
                    digits(line.calls).trim_end_matches('0').trim_end_matches('.'),
                    seconds(line.seconds),
                    100.0 * line.share,
                    si(line.flops, "FLOP/s"),
                    si(line.bandwidth, "B/s"),
                    line.of_peak.map_or("-".into(), |share| format!("{:.0}", 100.0 * share)),
                );
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::small;
    use super::*;
    use crate::bench::workload::Workload;
    use crate::device::Device;
    use crate::model::Kind;

    #[test]
    fn shares_are_of_the_whole_and_gradients_belong_to_their_layers() {
        let profile = Profile::record(Workload::Step(Kind::Single), &small(), &Device::cpu(), 0, 2).unwrap();
        let peaks = Peaks { flops: 1e12, bandwidth: 1e11, launch: 1e-7, ..Peaks::default() };
        let summary = Summary::new(&profile, Some(&peaks));
        let spans: Duration = profile.runs.iter().flat_map(|run| &run.timing.spans).map(|span| span.time).sum();
        for lines in [&summary.kernels, &summary.layers] {
            let (a_step, all) = (lines.iter().map(|line| line.seconds).sum::<f64>(), spans.as_secs_f64());
            assert!((2.0 * a_step - all).abs() < 1e-6 * all, "{a_step}, {all}");
            let share: f64 = lines.iter().map(|line| line.share).sum();
            assert!(share > 0.0 && share < 1.001, "{share}");
        }
        assert!(summary.kernels.iter().any(|line| line.name == "conv2d_grad_weight" && line.calls == 7.0));
        let layer = summary.layers.iter().find(|line| line.name == "encoder1a").unwrap();
        assert_eq!(layer.calls, 7.0, "convolution, norm, and the gradients of both and of the activation");
        assert!(summary.text().contains("encoder1a") && summary.text().contains("% peak"));
    }
}
