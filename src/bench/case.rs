//! What is measured by default: each kernel at the shapes that cost the default configuration's programs most.

use crate::Result;
use crate::kernel::{Cost, Domain, Op, Sample, Shape};
use crate::plan::Program;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// An operation at given shapes. As JSON it is what `--case` takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchCase {
    /// The operation.
    pub op: Op,
    /// Shapes of its inputs.
    pub inputs: Vec<Shape>,
}

/// Shapes of each kernel.
const SHAPES: usize = 2;
/// Bytes that a kernel moves which no program has: about what the programs' own tensors are.
const GROWN: u64 = 32 << 20;

impl BenchCase {
    /// The case of a sample.
    pub fn new(sample: &Sample<Op>) -> Self {
        Self { op: sample.op.clone(), inputs: crate::parity::shapes(sample) }
    }

    /// With the domains that the kernel's own samples have.
    pub fn sample(&self, registry: &[Sample<Op>]) -> Sample<Op> {
        let like = registry.iter().find(|sample| sample.op.name() == self.op.name());
        let domain =
            |i: usize| like.and_then(|sample| sample.inputs.get(i)).map_or(Domain::Normal, |&(_, domain)| domain);
        Sample {
            op: self.op.clone(),
            inputs: self.inputs.iter().enumerate().map(|(i, &shape)| (shape, domain(i))).collect(),
        }
    }

    /// The cause, if it has not as many inputs as the operation takes, or empty ones.
    pub fn check(&self) -> Result<(), String> {
        let samples = Op::samples();
        let counts =
            samples.iter().filter(|sample| sample.op.name() == self.op.name()).map(|sample| sample.inputs.len());
        let counts: BTreeSet<usize> = counts.collect();
        if !counts.contains(&self.inputs.len()) {
            let takes = counts.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ");
            return Err(format!("{} takes {takes} inputs, not {}", self.op.name(), self.inputs.len()));
        }
        match self.inputs.iter().find(|shape| shape.dims().contains(&0)) {
            Some(shape) => Err(format!("{shape:?} is empty")),
            None => Ok(()),
        }
    }

    /// FLOPs and bytes in f32.
    pub fn cost(&self) -> Result<Cost> {
        Ok(self.op.cost(&self.inputs, &self.op.infer(&self.inputs)?))
    }

    /// The operation's settings: numbers and names as `key=value`, what is set as `key`.
    pub fn settings(&self) -> String {
        let json = serde_json::to_value(&self.op).expect("an operation is JSON");
        let fields = json.as_object().and_then(|op| op.values().next()?.as_object()).into_iter().flatten();
        let field = |(key, value): (&String, &Value)| match value {
            Value::Bool(set) => set.then(|| key.clone()),
            Value::String(name) => Some(format!("{key}={name}")),
            other => Some(format!("{key}={other}")),
        };
        fields.filter_map(field).collect::<Vec<_>>().join(" ")
    }

    /// The same operation on a larger batch, one that moves about [`GROWN`] bytes, if it takes one.
    fn grown(self) -> Self {
        let (Ok(cost), Some(n)) = (self.cost(), self.inputs.first().map(|shape| shape.n)) else { return self };
        let factor = (GROWN / cost.bytes.max(1)).max(1) as usize;
        let grow = |shape: &Shape| if shape.n == n { Shape { n: factor * n, ..*shape } } else { *shape };
        let grown = Self { op: self.op.clone(), inputs: self.inputs.iter().map(grow).collect() };
        if grown.cost().is_ok() { grown } else { self }
    }

    /// The inputs' shapes: `4x16x64x64x32 4x32x3x3x32`; the output's, where there is no input.
    pub fn shapes(&self) -> Result<String> {
        let shapes = if self.inputs.is_empty() { self.op.infer(&[])? } else { self.inputs.clone() };
        let shape = |shape: &Shape| shape.dims().map(|extent| extent.to_string()).join("x");
        Ok(shapes.iter().map(shape).collect::<Vec<_>>().join(" "))
    }
}

/// The cases of all kernels, in the order of the registry: the costliest of the programs' steps, or where no program has the
/// kernel the largest of its samples on a larger batch.
pub fn cases(programs: &[Program], registry: &[Sample<Op>]) -> Vec<BenchCase> {
    let weight = |cost: Cost| (cost.flops / 16).max(cost.bytes);
    let mut all = Vec::new();
    for name in Op::NAMES {
        let mut found: Vec<(u64, BenchCase)> = Vec::new();
        for program in programs {
            for step in program.steps.iter().filter(|step| step.op.name() == *name) {
                let inputs = step.inputs.iter().map(|&slot| program.slots[slot].operand.shape).collect();
                let case = BenchCase { op: step.op.clone(), inputs };
                if found.iter().all(|(_, known)| *known != case) {
                    found.push((weight(step.cost), case));
                }
            }
        }
        if found.is_empty() {
            let samples = registry.iter().filter(|sample| sample.op.name() == *name).map(BenchCase::new);
            let weighed = samples.filter_map(|case| Some((weight(case.cost().ok()?), case)));
            let largest = weighed.max_by_key(|&(weight, _)| weight);
            found.extend(largest.map(|(weight, case)| (weight, case.grown())));
        }
        found.sort_by_key(|&(weight, _)| std::cmp::Reverse(weight));
        all.extend(found.into_iter().take(SHAPES).map(|(_, case)| case));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::adamw::{AdamW, Blocks, HYPER};
    use crate::kernel::sample_points::SamplePoints;
    use crate::kernel::warp::{FIELDS, WarpAugment};
    use crate::tape::Tape;

    #[test]
    fn every_kernel_has_a_case_and_programs_come_first() {
        let mut tape = Tape::new();
        let x = tape.input("x", [1, 2, 8, 8, 4]);
        let small = tape.scale_shift(x, 2.0, 0.0).unwrap();
        let normal = tape.l2_normalize(small).unwrap();
        tape.output(normal);
        let registry = Op::samples();
        let cases = cases(&[Program::new(&tape)], &registry);
        for name in Op::NAMES {
            assert!(cases.iter().any(|case| case.op.name() == *name), "{name} has no case");
        }
        let scale: Vec<_> = cases.iter().filter(|case| case.op.name() == "scale_shift").collect();
        assert_eq!((scale.len(), scale[0].shapes().unwrap().as_str()), (1, "1x2x8x8x4"));
        assert_eq!(scale[0].settings(), "scale=2.0 shift=0.0");
        let focal = cases.iter().find(|case| case.op.name() == "focal_bce").unwrap();
        assert!(focal.cost().unwrap().bytes > GROWN / 2, "{focal:?}");
        let json = serde_json::to_string(&scale[0]).unwrap();
        assert_eq!(serde_json::from_str::<BenchCase>(&json).unwrap(), *scale[0]);
    }

    #[test]
    fn bytes_are_those_that_must_move() {
        let moved = |op: Op, inputs: &[[usize; 5]]| {
            let case = BenchCase { op, inputs: inputs.iter().map(|&shape| shape.into()).collect() };
            case.cost().unwrap().bytes / 4
        };
        let blocks = Blocks { shared: 64, distinct: 0, landmarks: 0 };
        let state = moved(AdamW { blocks }.into(), &[[1, 1, 1, 1, 64], [1; 5], [1, 1, 1, 1, HYPER]]);
        assert_eq!(state, 64 + 1 + HYPER as u64 + 2 * 4 * 64, "what is updated is read and written");
        let crops = moved(WarpAugment { h: 8, w: 8 }.into(), &[[1, 150, 480, 400, 1], [1, 2, 1, 1, FIELDS]]);
        assert_eq!(crops, 128 + 2 * FIELDS as u64 + 128, "of the store what the crops show");
        let points = moved(SamplePoints { scale: 4.0 }.into(), &[[1, 1, 64, 64, 16], [1, 1, 1, 10, 2]]);
        assert_eq!(points, 4 * 160 + 20 + 160, "of the map the points' corners");
    }
}
