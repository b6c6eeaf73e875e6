// y = a + b (kind 0), a - b (1) or a b (2). One element of y a thread. With BROADCAST an operand's stride is 0 along every
// axis in which it has extent 1; without, a and b differ at most in their landmark extents.
#import lib/element

struct Params {
    base: u32,
    elements: u32,
    slice: u32,
    y_k: u32,
    kind: u32,
    a_k: u32,
    b_k: u32,
    h: u32,
    w: u32,
    c: u32,
    a_n: u32,
    a_h: u32,
    a_w: u32,
    a_c: u32,
    b_n: u32,
    b_h: u32,
    b_w: u32,
    b_c: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

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
    #if BROADCAST
    let ch = e % p.c;
    let column = e / p.c % p.w;
    let row = e / (p.c * p.w) % p.h;
    let n = e / (p.c * p.w * p.h);
    let left = a[k * p.a_k + n * p.a_n + row * p.a_h + column * p.a_w + ch * p.a_c];
    let right = b[k * p.b_k + n * p.b_n + row * p.b_h + column * p.b_w + ch * p.b_c];
    #else
    let left = a[k * p.a_k + e];
    let right = b[k * p.b_k + e];
    #endif
    var v = left * right;
    if p.kind == 0u {
        v = left + right;
    } else if p.kind == 1u {
        v = left - right;
    }
    y[k * p.y_k + e] = v;
}
