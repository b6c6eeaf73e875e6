// Means over each group of g xhat and g, with g = gamma dy, from the channels' sums that group_norm_sums leaves. They follow
// those sums in memory: means[k, n, group].
// A workgroup has one group of one sample; groups are the fastest of the workgroups, then samples, then landmarks.
#import lib/grid
#import lib/reduce_sum

const WIDTH: u32 = 64u;

struct Params {
    base: u32,
    groups: u32,
    n: u32,
    norm_groups: u32,
    pixels: u32,
    c: u32,
    chunks: u32,
    means: u32,
    gamma_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> gamma: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<vec2<f32>>;

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
    let image = index / p.norm_groups;
    let first = index % p.norm_groups * per;
    let start = image * p.chunks * p.c + first;
    let of_gamma = image / p.n * p.gamma_k + first;
    var total = vec2(0.0);
    for (var i = t; i < p.chunks * per; i += WIDTH) {
        total += gamma[of_gamma + i % per] * sums[start + i / per * p.c + i % per];
    }
    total = sum2(t, total);
    if t == 0u {
        sums[p.means + index] = total / f32(p.pixels * per);
    }
}
