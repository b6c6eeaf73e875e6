// y = the maximum (kind 0) or the mean (kind 1) of the 2x2 pixels at (2 y, 2 x), channel by channel; an odd last row or column
// of x is left out. One element of y a thread.
#import lib/element
#import lib/numbers

struct Params {
    base: u32,
    elements: u32,
    x_k: u32,
    y_k: u32,
    n: u32,
    h: u32,
    w: u32,
    c: u32,
    kind: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Number>;
@group(0) @binding(2) var<storage, read_write> y: array<Number>;

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
    let oh = p.h / 2u;
    let ow = p.w / 2u;
    let ch = i % p.c;
    let ox = i / p.c % ow;
    let oy = i / (p.c * ow) % oh;
    let image = i / (p.c * ow * oh);
    let k = image / p.n;
    let row = p.w * p.c;
    let at = k * p.x_k + ((image % p.n) * p.h + 2u * oy) * row + 2u * ox * p.c + ch;
    let a = f32(x[at]);
    let b = f32(x[at + p.c]);
    let c = f32(x[at + row]);
    let d = f32(x[at + row + p.c]);
    var v = max(max(a, b), max(c, d));
    if p.kind == 1u {
        v = (a + b + (c + d)) * 0.25;
    }
    y[k * p.y_k + i % (p.n * oh * ow * p.c)] = Number(v);
}
