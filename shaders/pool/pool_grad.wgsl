// dx of the pooling: dy at the first of the largest of four pixels in row-major order (kind 0), or dy / 4 at each (kind 1);
// zero in an odd last row or column. One element of dx a thread: it finds its window and, for the maximum, whether it won.
#import lib/element

struct Params {
    base: u32,
    elements: u32,
    x_k: u32,
    dy_k: u32,
    dx_k: u32,
    n: u32,
    h: u32,
    w: u32,
    c: u32,
    kind: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

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
    let ix = i / p.c % p.w;
    let iy = i / (p.c * p.w) % p.h;
    let image = i / (p.c * p.w * p.h);
    let k = image / p.n;
    let n = image % p.n;
    let to = k * p.dx_k + i % (p.n * p.h * p.w * p.c);
    let oy = iy / 2u;
    let ox = ix / 2u;
    if oy >= oh || ox >= ow {
        dx[to] = 0.0;
        return;
    }
    let g = dy[k * p.dy_k + ((n * oh + oy) * ow + ox) * p.c + ch];
    if p.kind == 1u {
        dx[to] = g * 0.25;
        return;
    }
    let row = p.w * p.c;
    let corner = k * p.x_k + (n * p.h + 2u * oy) * row + 2u * ox * p.c + ch;
    var first = 0u;
    var best = x[corner];
    for (var j = 1u; j < 4u; j++) {
        let v = x[corner + (j / 2u) * row + (j % 2u) * p.c];
        if v > best {
            best = v;
            first = j;
        }
    }
    dx[to] = select(0.0, g, first == (iy % 2u) * 2u + ix % 2u);
}
