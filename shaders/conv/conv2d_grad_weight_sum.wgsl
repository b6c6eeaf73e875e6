// Adds the slices that conv2d_grad_weight leaves: dw[k,e] = sum_slice partial[k,slice,e], in order. One element a thread.
#import lib/element

struct Params {
    base: u32,
    elements: u32,
    length: u32,
    slices: u32,
    dw_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> dw: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, count, lane);
    if i >= p.elements {
        return;
    }
    let k = i / p.length;
    let e = i % p.length;
    var sum = 0.0;
    for (var slice = 0u; slice < p.slices; slice++) {
        sum += partial[(k * p.slices + slice) * p.length + e];
    }
    dw[k * p.dw_k + e] = sum;
}
