// dgamma[k,c] = sum dy xhat and dbeta[k,c] = sum dy, from the sums[k,n,chunk,c] that group_norm_sums leaves; over k too where
// all landmarks share the affine. A workgroup has one channel; channels are the fastest of the workgroups, then landmarks.
#import lib/grid
#import lib/reduce_sum

const WIDTH: u32 = 64u;

struct Params {
    base: u32,
    groups: u32,
    c: u32,
    // Chunks of all the images that a channel sums over.
    chunks: u32,
    dgamma_k: u32,
    dbeta_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> sums: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(3) var<storage, read_write> dbeta: array<f32>;

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
    let k = index / p.c;
    let c = index % p.c;
    var total = vec2(0.0);
    for (var i = t; i < p.chunks; i += WIDTH) {
        total += sums[(k * p.chunks + i) * p.c + c];
    }
    total = sum2(t, total);
    if t == 0u {
        dgamma[k * p.dgamma_k + c] = total.x;
        dbeta[k * p.dbeta_k + c] = total.y;
    }
}
