// Gradient of the softmax over the pixels of each channel, from its output: dx = y (dy - sum_j y[j] dy[j]).
// A workgroup has one map, see `lib/reduce_map`; thread t writes the pixels t, t + 256, ...
#import lib/reduce_map

struct Params {
    base: u32,
    groups: u32,
    n: u32,
    pixels: u32,
    c: u32,
    y_k: u32,
    dy_k: u32,
    dx_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

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
    let of_y = map.k * p.y_k + map.first;
    let of_dy = map.k * p.dy_k + map.first;
    let to = map.k * p.dx_k + map.first;
    var along = 0.0;
    for (var i = t; i < p.pixels; i += WIDTH) {
        along += y[of_y + i * p.c] * dy[of_dy + i * p.c];
    }
    along = sum(t, along);
    for (var i = t; i < p.pixels; i += WIDTH) {
        dx[to + i * p.c] = y[of_y + i * p.c] * (dy[of_dy + i * p.c] - along);
    }
}
