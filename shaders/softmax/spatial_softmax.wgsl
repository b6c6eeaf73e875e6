// The softmax over the pixels of each channel: y[i] = exp(x[i] - max) / sum_j exp(x[j] - max).
// A workgroup has one map, see `lib/reduce_map`; thread t writes the pixels t, t + 256, ...
#import lib/reduce_softmax

struct Params {
    base: u32,
    groups: u32,
    n: u32,
    pixels: u32,
    c: u32,
    x_k: u32,
    y_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

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
    let to = map.k * p.y_k + map.first;
    let stats = max_and_sum(t, start);
    for (var i = t; i < p.pixels; i += WIDTH) {
        y[to + i * p.c] = exp(x[start + i * p.c] - stats.x) / stats.y;
    }
}
