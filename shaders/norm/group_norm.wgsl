// y = act(gamma (x - mu) r + beta) from the groups' statistics mu and r. `lib/reduce_lanes` says how threads map to pixels
// and channels.
#import lib/activate
#import lib/reduce_lanes
#import lib/numbers

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
    activation: u32,
    x_k: u32,
    gamma_k: u32,
    beta_k: u32,
    y_k: u32,
    statistics_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Number>;
@group(0) @binding(2) var<storage, read_write> gamma: array<Number>;
@group(0) @binding(3) var<storage, read_write> beta: array<Number>;
@group(0) @binding(4) var<storage, read_write> y: array<Number>;
@group(0) @binding(5) var<storage, read_write> statistics: array<f32>;

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
    let at = k * p.statistics_k + 2u * (n * p.norm_groups + lane.channel / (p.c / p.norm_groups));
    let mu = statistics[at];
    let scale = f32(gamma[k * p.gamma_k + lane.channel]) * statistics[at + 1u];
    let shift = f32(beta[k * p.beta_k + lane.channel]);
    let start = n * p.pixels * p.c + lane.channel;
    for (var i = lane.begin; i < lane.end; i += p.lanes) {
        let value = scale * (f32(x[k * p.x_k + start + i * p.c]) - mu) + shift;
        y[k * p.y_k + start + i * p.c] = Number(activate(p.activation, value));
    }
}
