// A map a point, of sum one where the point is inside: y[row, column] = f(row - v) / F_v f(column - u) / F_u, where (u, v) is
// the point on the map's grid, F the sum of f over an axis, and f a Gaussian exp(-d^2 / spread) or, with spread 0, a tent.
// A workgroup has one map, see `lib/reduce_map`; thread t writes the pixels t, t + 256, ...
#import lib/reduce_map

const EPS: f32 = 1e-6;

struct Params {
    base: u32,
    groups: u32,
    n: u32,
    pixels: u32,
    c: u32,
    h: u32,
    w: u32,
    scale: f32,
    spread: f32,
    points_k: u32,
    y_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> points: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn value(pixel: u32, centre: f32) -> f32 {
    let d = f32(pixel) - centre;
    if p.spread > 0.0 {
        return exp(-(d * d) / p.spread);
    }
    return max(1.0 - abs(d), 0.0);
}

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
    let in_slice = index % (p.n * p.c);
    let start = map.k * p.points_k + 2u * in_slice;
    let centre = (vec2(points[start], points[start + 1u]) + 0.5) / p.scale - 0.5;
    var total = vec2(0.0);
    for (var i = t; i < p.w; i += WIDTH) {
        total.x += value(i, centre.x);
    }
    for (var i = t; i < p.h; i += WIDTH) {
        total.y += value(i, centre.y);
    }
    total = sum2(t, total) + EPS;
    let to = map.k * p.y_k + map.first;
    for (var i = t; i < p.pixels; i += WIDTH) {
        y[to + i * p.c] = value(i / p.w, centre.y) / total.y * (value(i % p.w, centre.x) / total.x);
    }
}
