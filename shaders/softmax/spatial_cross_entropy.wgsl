// loss = -weight sum_i t[i] (x[i] - logsumexp_j x[j]) of each map of logits x and targets t.
// A workgroup has one map, see `lib/reduce_map`.
#import lib/reduce_softmax

struct Params {
    base: u32,
    groups: u32,
    n: u32,
    pixels: u32,
    c: u32,
    x_k: u32,
    targets_k: u32,
    weights_k: u32,
    loss_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> targets: array<f32>;
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> loss: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) t: u32,
) {
    let index = linear_group(group, count);
    if index >= p.groups {
        return;
    }
    let map = map_of(index);
    let start = map.k * p.x_k + map.first;
    let of_targets = map.k * p.targets_k + map.first;
    let stats = max_and_sum(t, start);
    let log_sum = log(stats.y);
    var total = 0.0;
    for (var i = t; i < p.pixels; i += WIDTH) {
        // The maximum first: the difference is exact where it matters most.
        total += targets[of_targets + i * p.c] * (log_sum - (x[start + i * p.c] - stats.x));
    }
    total = sum(t, total);
    if t == 0u {
        let in_slice = index % (p.n * p.c);
        loss[map.k * p.loss_k + in_slice] = weights[map.k * p.weights_k + in_slice] * total;
    }
}
