// Mean and sum of squared deviations of each channel over a chunk of pixels: moments[image, chunk, channel] of
// x: [image, pixel, channel]. Two passes over the chunk, so that nothing cancels. `lib/reduce_lanes` says how threads map to
// pixels and channels.
#import lib/reduce_lanes
#import lib/numbers

struct Params {
    base: u32,
    groups: u32,
    n: u32,
    pixels: u32,
    c: u32,
    block: u32,
    lanes: u32,
    chunk: u32,
    chunks: u32,
    x_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Number>;
@group(0) @binding(2) var<storage, read_write> moments: array<vec2<f32>>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) t: u32,
) {
    let index = linear_group(group, count);
    if index >= p.groups {
        return;
    }
    let lane = lane_of(index, t);
    let start = lane.image / p.n * p.x_k + lane.image % p.n * p.pixels * p.c + lane.channel;
    var total = 0.0;
    for (var i = lane.begin; i < lane.end; i += p.lanes) {
        total += f32(x[start + i * p.c]);
    }
    let pixels = min(p.chunk, p.pixels - lane.chunk * p.chunk);
    let mean = sum_lanes(t, vec2(total, 0.0)).x / f32(pixels);
    var squares = 0.0;
    for (var i = lane.begin; i < lane.end; i += p.lanes) {
        let d = f32(x[start + i * p.c]) - mean;
        squares += d * d;
    }
    squares = sum_lanes(t, vec2(squares, 0.0)).x;
    if t < p.block && lane.channel < p.c {
        moments[(lane.image * p.chunks + lane.chunk) * p.c + lane.channel] = vec2(mean, squares);
    }
}
