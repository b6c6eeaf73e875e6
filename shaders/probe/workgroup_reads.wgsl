// y[i] = sum over rounds r of x[block, (i + r) mod 256] within each block of 256 elements, read from workgroup memory, where
// an element lies in all four components of a vector. One workgroup a block.
#import lib/grid

struct Params {
    base: u32,
    blocks: u32,
    x_k: u32,
    y_k: u32,
    rounds: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> tile: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = linear_group(group, count);
    let k = number / p.blocks;
    let i = number % p.blocks * 256u + lane;
    tile[lane] = vec4(x[k * p.x_k + i]);
    workgroupBarrier();
    var sum = vec4(0.0);
    for (var round = 0u; round < p.rounds; round++) {
        sum += tile[(lane + round) % 256u];
    }
    y[k * p.y_k + i] = dot(sum, vec4(0.25));
}
