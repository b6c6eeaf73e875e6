// Partial sums of squares: partial[block, chunk] over 4096 elements of a block of the flat buffer. A workgroup a chunk: a thread
// adds 16 elements, a fixed tree the threads.
#import lib/grid
#import lib/tree
#import lib/blocks

struct Params {
    base: u32,
    shared_len: u32,
    distinct: u32,
    chunks: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

const CHUNK: u32 = 4096u;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let g = linear_group(group, count);
    let block = g / p.chunks;
    let len = block_len(block);
    let start = g % p.chunks * CHUNK;
    let end = min(start + CHUNK, len);
    var sum = 0.0;
    for (var i = start + lane; i < end; i += 256u) {
        let v = x[block_start(block) + i];
        sum += v * v;
    }
    sum = tree_sum(lane, 256u, 1u, sum);
    if lane == 0u {
        partial[g] = sum;
    }
}
