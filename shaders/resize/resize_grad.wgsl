// dx of the resize from [h, w] to [oh, ow]: each input pixel sums, in order, over the output pixels that read it. One element of
// dx a thread. The outputs that may read an input are a range a little too wide; `taps` tells which do.
#import lib/element
#import lib/taps

struct Params {
    base: u32,
    elements: u32,
    dy_k: u32,
    dx_k: u32,
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
@group(0) @binding(1) var<storage, read_write> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;

// Outputs `x .. y` that may read source index `at`.
fn readers(at: u32, from_extent: u32, to_extent: u32, ratio: f32) -> vec2<u32> {
    let first = floor((f32(at) - 0.5) / ratio - 0.5) - 1.0;
    let last = ceil((f32(at) + 1.5) / ratio - 0.5) + 1.0;
    // The first and the last source index are also read by all outputs that are clamped to them.
    let low = select(u32(max(first, 0.0)), 0u, at == 0u);
    let high = select(min(u32(last) + 1u, to_extent), to_extent, at + 1u == from_extent);
    return vec2(low, high);
}

// The weight of source index `at` in an output.
fn share(at: u32, t: Taps) -> f32 {
    return select(0.0, 1.0 - t.weight, t.low == at) + select(0.0, t.weight, t.high == at);
}

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
    let ix = i / p.c % p.w;
    let iy = i / (p.c * p.w) % p.h;
    let image = i / (p.c * p.w * p.h);
    let k = image / p.n;
    let rows = readers(iy, p.h, p.oh, p.ratio_y);
    let columns = readers(ix, p.w, p.ow, p.ratio_x);
    let plane = k * p.dy_k + (image % p.n) * p.oh * p.ow * p.c + ch;
    var sum = 0.0;
    for (var oy = rows.x; oy < rows.y; oy++) {
        let fy = share(iy, taps(oy, p.h, p.ratio_y));
        if fy == 0.0 {
            continue;
        }
        for (var ox = columns.x; ox < columns.y; ox++) {
            let fx = share(ix, taps(ox, p.w, p.ratio_x));
            if fx != 0.0 {
                sum += fy * fx * dy[plane + (oy * p.ow + ox) * p.c];
            }
        }
    }
    dx[k * p.dx_k + i % (p.n * p.h * p.w * p.c)] = sum;
}
