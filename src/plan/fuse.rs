//! Simplifications of a tape before it is planned.

use crate::kernel::Op;
use crate::tape::{Source, Tape, Var};
use std::collections::{BTreeMap, BTreeSet};

/// Drops operations whose results nothing reads.
pub(super) fn drop_dead(tape: &mut Tape) {
    let mut live: BTreeSet<Var> = tape.outputs.iter().copied().collect();
    let mut nodes = Vec::new();
    for node in std::mem::take(&mut tape.nodes).into_iter().rev() {
        let lasting = |v: &Var| !matches!(tape.tensors[v.0 as usize].source, Source::Computed | Source::Input);
        if node.outputs.iter().any(|v| live.contains(v) || lasting(v)) {
            live.extend(&node.inputs);
            nodes.push(node);
        }
    }
    nodes.reverse();
    tape.nodes = nodes;
}

/// Applies an activation where its input is produced, if nothing else reads that input.
pub(super) fn fuse_activations(tape: &mut Tape) {
    let mut readers: BTreeMap<Var, usize> = BTreeMap::new();
    let read = tape.nodes.iter().flat_map(|node| &node.inputs).chain(&tape.outputs);
    read.for_each(|&v| *readers.entry(v).or_default() += 1);
    let producer: BTreeMap<Var, usize> =
        tape.nodes.iter().enumerate().filter_map(|(i, node)| Some((*node.outputs.first()?, i))).collect();
    let mut fused = BTreeSet::new();
    for index in 0..tape.nodes.len() {
        let Op::Activate(activate) = &tape.nodes[index].op else { continue };
        let x = tape.nodes[index].inputs[0];
        // What is stored for later programs must be written as it is.
        let computed = matches!(tape.tensors[x.0 as usize].source, Source::Computed);
        let Some(&from) = producer.get(&x).filter(|_| readers[&x] == 1 && computed) else { continue };
        let Some(op) = tape.nodes[from].op.with_activation(activate.activation) else { continue };
        tape.nodes[from].op = op;
        tape.nodes[from].outputs[0] = tape.nodes[index].outputs[0];
        fused.insert(index);
    }
    let mut index = 0..;
    tape.nodes.retain(|_| !fused.contains(&index.next().expect("unbounded")));
}
