// y = x resized to [oh, ow], bilinear with half-pixel centres and edges clamped. One element of y a thread.
#import lib/element
#import lib/taps
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
    oh: u32,
    ow: u32,
    ratio_y: f32,
    ratio_x: f32,
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
    let ch = i % p.c;
    let ox = i / p.c % p.ow;
    let oy = i / (p.c * p.ow) % p.oh;
    let image = i / (p.c * p.ow * p.oh);
    let k = image / p.n;
    let ty = taps(oy, p.h, p.ratio_y);
    let tx = taps(ox, p.w, p.ratio_x);
    let plane = k * p.x_k + (image % p.n) * p.h * p.w * p.c + ch;
    let top = plane + ty.low * p.w * p.c;
    let bottom = plane + ty.high * p.w * p.c;
    let top_left = f32(x[top + tx.low * p.c]);
    let bottom_left = f32(x[bottom + tx.low * p.c]);
    let a = top_left + (f32(x[top + tx.high * p.c]) - top_left) * tx.weight;
    let b = bottom_left + (f32(x[bottom + tx.high * p.c]) - bottom_left) * tx.weight;
    y[k * p.y_k + i % (p.n * p.oh * p.ow * p.c)] = Number(a + (b - a) * ty.weight);
}
