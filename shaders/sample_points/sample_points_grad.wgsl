// dmap of the sampling: each pixel sums, in order, over the points that read it. One element of dmap a thread.
#import lib/element
#import lib/corners

struct Params {
    base: u32,
    elements: u32,
    points_k: u32,
    dy_k: u32,
    dmap_k: u32,
    n: u32,
    h: u32,
    w: u32,
    c: u32,
    points: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> points: array<f32>;
@group(0) @binding(2) var<storage, read_write> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dmap: array<f32>;

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
    let pixel = i / p.c % (p.h * p.w);
    let image = i / (p.c * p.h * p.w);
    let k = image / p.n;
    let n = image % p.n;
    var sum = 0.0;
    for (var point = 0u; point < p.points; point++) {
        let xy = k * p.points_k + (n * p.points + point) * 2u;
        let around = corners(vec2(points[xy], points[xy + 1u]), p.scale, p.h, p.w);
        let reads = around.pixel == vec4(pixel);
        if any(reads) {
            let share = select(vec4(0.0), around.weight, reads);
            let g = dy[k * p.dy_k + (n * p.points + point) * p.c + ch];
            sum += (share.x + share.y + share.z + share.w) * g;
        }
    }
    dmap[k * p.dmap_k + i % (p.n * p.h * p.w * p.c)] = sum;
}
