// dx = r (g - mean(g) - xhat mean(g xhat)) with g = gamma dy and xhat = (x - mu) r, from the means that group_norm_means
// leaves. `lib/reduce_lanes` says how threads map to pixels and channels.
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
    means: u32,
    x_k: u32,
    gamma_k: u32,
    statistics_k: u32,
    dy_k: u32,
    dx_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> gamma: array<f32>;
@group(0) @binding(3) var<storage, read_write> statistics: array<f32>;
@group(0) @binding(4) var<storage, read_write> dy: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;
@group(0) @binding(6) var<storage, read_write> sums: array<vec2<f32>>;

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
    if lane.begin >= lane.end {
        return;
    }
    let k = lane.image / p.n;
    let n = lane.image % p.n;
    let norm_group = lane.channel / (p.c / p.norm_groups);
    let at = k * p.statistics_k + 2u * (n * p.norm_groups + norm_group);
    let mu = statistics[at];
    let r = statistics[at + 1u];
    let mean = sums[p.means + lane.image * p.norm_groups + norm_group];
    let scale = gamma[k * p.gamma_k + lane.channel];
    let start = n * p.pixels * p.c + lane.channel;
    for (var i = lane.begin; i < lane.end; i += p.lanes) {
        let g = scale * dy[k * p.dy_k + start + i * p.c];
        let xhat = (x[k * p.x_k + start + i * p.c] - mu) * r;
        dx[k * p.dx_k + start + i * p.c] = r * (g - mean.y - xhat * mean.x);
    }
}
