// Mean and r = 1 / sqrt(variance + eps) of each group, from the moments that group_norm_moments leaves (Chan et al. 1983):
//
//   mu = sum count mean / sum count,   variance = sum (squares + count (mean - mu)^2) / sum count
//
// A workgroup has one group of one sample; groups are the fastest of the workgroups, then samples, then landmarks.
#import lib/grid
#import lib/reduce_sum

const WIDTH: u32 = 64u;
const EPS: f32 = 1e-5;

struct Params {
    base: u32,
    groups: u32,
    n: u32,
    norm_groups: u32,
    pixels: u32,
    c: u32,
    chunk: u32,
    chunks: u32,
    // Images of x between landmarks; 0 where all landmarks share x.
    x_images: u32,
    statistics_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> moments: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> statistics: array<f32>;

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
    let per = p.c / p.norm_groups;
    let in_slice = index % (p.n * p.norm_groups);
    let k = index / (p.n * p.norm_groups);
    let image = k * p.x_images + in_slice / p.norm_groups;
    let start = image * p.chunks * p.c + in_slice % p.norm_groups * per;
    let all = f32(p.pixels * per);
    var total = 0.0;
    for (var i = t; i < p.chunks * per; i += WIDTH) {
        let chunk = i / per;
        let pixels = f32(min(p.chunk, p.pixels - chunk * p.chunk));
        total += pixels * moments[start + chunk * p.c + i % per].x;
    }
    let mu = sum(t, total) / all;
    var squares = 0.0;
    for (var i = t; i < p.chunks * per; i += WIDTH) {
        let chunk = i / per;
        let pixels = f32(min(p.chunk, p.pixels - chunk * p.chunk));
        let moment = moments[start + chunk * p.c + i % per];
        squares += moment.y + pixels * (moment.x - mu) * (moment.x - mu);
    }
    let variance = sum(t, squares) / all;
    if t == 0u {
        let to = k * p.statistics_k + 2u * in_slice;
        statistics[to] = mu;
        statistics[to + 1u] = 1.0 / sqrt(variance + EPS);
    }
}
