// The sum of squares of each block: y[block] = sum over chunks of partial[block, chunk]. A workgroup a block.
#import lib/grid
#import lib/tree

struct Params {
    base: u32,
    chunks: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = linear_group(group, count);
    var sum = 0.0;
    for (var i = lane; i < p.chunks; i += 256u) {
        sum += partial[block * p.chunks + i];
    }
    sum = tree_sum(lane, 256u, 1u, sum);
    if lane == 0u {
        y[block] = sum;
    }
}
