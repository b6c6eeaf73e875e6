// Of each channel over a chunk of pixels: sums[image, chunk, channel] = (sum dy xhat, sum dy) with xhat = (x - mu) r.
// `lib/reduce_lanes` says how threads map to pixels and channels.
#import lib/reduce_lanes

struct Params {
    base: u32,
    groups: u32,
    n: u32,
    norm_groups: u32,
    pixels: u32,
    c: u32,
    block: u32,
    lanes: u32,
    chunk: u32,
    chunks: u32,
    x_k: u32,
    statistics_k: u32,
    dy_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> statistics: array<f32>;
@group(0) @binding(3) var<storage, read_write> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> sums: array<vec2<f32>>;

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
    let k = lane.image / p.n;
    let n = lane.image % p.n;
    var total = vec2(0.0);
    if lane.begin < lane.end {
        let at = k * p.statistics_k + 2u * (n * p.norm_groups + lane.channel / (p.c / p.norm_groups));
        let mu = statistics[at];
        let start = n * p.pixels * p.c + lane.channel;
        for (var i = lane.begin; i < lane.end; i += p.lanes) {
            let g = dy[k * p.dy_k + start + i * p.c];
            total += vec2(g * (x[k * p.x_k + start + i * p.c] - mu), g);
        }
        total.x *= statistics[at + 1u];
    }
    total = sum_lanes(t, total);
    if t < p.block && lane.channel < p.c {
        sums[(lane.image * p.chunks + lane.chunk) * p.c + lane.channel] = total;
    }
}
