// y = the channels of a, then those of b. One element of y a thread.
#import lib/element
#import lib/numbers

struct Params {
    base: u32,
    elements: u32,
    slice: u32,
    a_k: u32,
    b_k: u32,
    y_k: u32,
    a_c: u32,
    b_c: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<Number>;
@group(0) @binding(2) var<storage, read_write> b: array<Number>;
@group(0) @binding(3) var<storage, read_write> y: array<Number>;

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
    let c = p.a_c + p.b_c;
    let k = i / p.slice;
    let e = i % p.slice;
    let pixel = e / c;
    let ch = e % c;
    var v: Number;
    if ch < p.a_c {
        v = a[k * p.a_k + pixel * p.a_c + ch];
    } else {
        v = b[k * p.b_k + pixel * p.b_c + ch - p.a_c];
    }
    y[k * p.y_k + e] = v;
}
