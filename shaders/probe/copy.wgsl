// y = x, four elements a thread; slices are a multiple of four elements.
#import lib/element

struct Params {
    base: u32,
    quads: u32,
    slice: u32,
    x_k: u32,
    y_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, count, lane);
    if i >= p.quads {
        return;
    }
    let k = i / p.slice;
    y[k * p.y_k + i % p.slice] = x[k * p.x_k + i % p.slice];
}
