// y = a map, read bilinearly at points, edges clamped. One element of y [k, n, 1, points, c] a thread.
#import lib/element
#import lib/corners

struct Params {
    base: u32,
    elements: u32,
    map_k: u32,
    points_k: u32,
    y_k: u32,
    n: u32,
    h: u32,
    w: u32,
    c: u32,
    points: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> map: array<f32>;
@group(0) @binding(2) var<storage, read_write> points: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, count, lane);
    if i >= p.elements {
        return;
    }
    let ch = i % p.c;
    let sample = i / p.c;
    let point = sample % p.points;
    let image = sample / p.points;
    let k = image / p.n;
    let n = image % p.n;
    let xy = k * p.points_k + (n * p.points + point) * 2u;
    let around = corners(vec2(points[xy], points[xy + 1u]), p.scale, p.h, p.w);
    let plane = k * p.map_k + n * p.h * p.w * p.c + ch;
    var sum = 0.0;
    for (var j = 0u; j < 4u; j++) {
        sum += around.weight[j] * map[plane + around.pixel[j] * p.c];
    }
    y[k * p.y_k + i % (p.n * p.points * p.c)] = sum;
}
