// y's channels y_start .. y_start + len = x's channels x_start .. x_start + len, zeros elsewhere. One element of y a thread.
#import lib/element

struct Params {
    base: u32,
    elements: u32,
    slice: u32,
    x_k: u32,
    y_k: u32,
    x_c: u32,
    y_c: u32,
    x_start: u32,
    y_start: u32,
    len: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

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
    let k = i / p.slice;
    let e = i % p.slice;
    let pixel = e / p.y_c;
    let ch = e % p.y_c;
    var v = 0.0;
    if ch >= p.y_start && ch < p.y_start + p.len {
        v = x[k * p.x_k + pixel * p.x_c + ch - p.y_start + p.x_start];
    }
    y[k * p.y_k + e] = v;
}
