//! The trace event format of Chrome, which Perfetto opens: slices of the host and of the device, counters of live memory and
//! loss.

use super::Profile;
use crate::timing::shapes;
use crate::units::rate;
use serde_json::{Value, json};
use std::time::Duration;

const HOST: u32 = 1;
const DEVICE: u32 = 2;

impl Profile {
    /// The trace as JSON.
    pub fn chrome(&self) -> String {
        let name = |what: &str, track: Option<u32>, name: &str| {
            let mut event = json!({"ph": "M", "pid": 1, "name": what, "args": {"name": name}});
            if let Some(track) = track {
                event["tid"] = track.into();
            }
            event
        };
        let mut events = vec![
            name("process_name", None, "onemark"),
            name("thread_name", Some(HOST), "host"),
            name("thread_name", Some(DEVICE), &self.device),
        ];
        for (number, step) in self.steps.iter().enumerate() {
            let args = json!({"loss": step.loss});
            events.push(slice(HOST, &format!("step {number}"), "step", step.began, step.ended, args));
            if let Some(loss) = step.loss {
                events.push(counter("loss", step.ended, loss));
            }
        }
        let live: Vec<Vec<u64>> = self.programs.iter().map(|program| program.live_bytes()).collect();
        for run in &self.runs {
            let program = &self.programs[run.program];
            let cost = program.cost();
            let args = json!({"flops": cost.flops, "bytes": cost.bytes, "arena_bytes": program.arena_bytes()});
            events.push(slice(HOST, "run", "run", run.began, run.ended, args));
            events.push(slice(HOST, "upload", "upload", run.began, run.launched, json!({})));
            let mut last = usize::MAX;
            for span in &run.timing.spans {
                let step = &program.steps[span.step];
                let start = run.launched + span.start;
                if span.step != last {
                    events.push(counter("live arena bytes", start, live[run.program][span.step] as f64));
                    last = span.step;
                }
                let whole: Duration =
                    run.timing.spans.iter().filter(|other| other.step == span.step).map(|other| other.time).sum();
                // A step's cost is that of all its launches; so are its rates.
                let args = json!({
                    "label": step.label,
                    "shapes": shapes(program, step),
                    "flops": step.cost.flops,
                    "bytes": step.cost.bytes,
                    "gflop_per_s": rate(step.cost.flops as f64, whole) / 1e9,
                    "gb_per_s": rate(step.cost.bytes as f64, whole) / 1e9,
                });
                events.push(slice(DEVICE, span.variant, step.op.name(), start, start + span.time, args));
            }
            events.push(counter("live arena bytes", run.launched + run.timing.elapsed(), 0.0));
        }
        let trace = json!({"displayTimeUnit": "ms", "traceEvents": events});
        serde_json::to_string(&trace).expect("a trace is JSON")
    }
}

/// Microseconds: the format's unit.
fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

fn slice(track: u32, name: &str, category: &str, start: Duration, end: Duration, args: Value) -> Value {
    json!({
        "ph": "X", "pid": 1, "tid": track, "name": name, "cat": category,
        "ts": micros(start), "dur": micros(end - start), "args": args,
    })
}

fn counter(name: &str, at: Duration, value: f64) -> Value {
    json!({"ph": "C", "pid": 1, "name": name, "ts": micros(at), "args": {"value": value}})
}

#[cfg(test)]
mod tests {
    use super::super::tests::small;
    use super::*;
    use crate::bench::workload::Workload;
    use crate::device::Device;
    use crate::model::Kind;

    #[test]
    fn a_trace_is_json_whose_slices_nest_or_follow_each_other() {
        let profile = Profile::record(Workload::Step(Kind::Fused), &small(), &Device::cpu(), 0, 2).unwrap();
        let trace: Value = serde_json::from_str(&profile.chrome()).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let number = |event: &Value, key: &str| event[key].as_f64().unwrap();
        for track in [HOST, DEVICE] {
            let mut slices: Vec<[f64; 2]> = events
                .iter()
                .filter(|event| event["ph"] == "X" && event["tid"] == track)
                .map(|event| [number(event, "ts"), number(event, "ts") + number(event, "dur")])
                .collect();
            assert!(slices.len() > 3);
            slices.sort_by(|a, b| a[0].total_cmp(&b[0]).then(b[1].total_cmp(&a[1])));
            let mut open: Vec<f64> = Vec::new();
            for [start, end] in slices {
                open.retain(|&other| other > start + 1e-3);
                assert!(open.iter().all(|&other| track == HOST && end <= other + 1e-3), "{start}..{end} on {track}");
                open.push(end);
            }
        }
        let values = |name: &str| events.iter().filter(|event| event["ph"] == "C" && event["name"] == name).count();
        assert_eq!(values("loss"), 2);
        assert!(values("live arena bytes") > 20);
        let conv = events.iter().find(|event| event["cat"] == "conv2d").unwrap();
        assert!(number(&conv["args"], "flops") > 0.0 && conv["args"]["shapes"].as_str().unwrap().contains("->"));
    }
}
