// y = x r with r = 1 / sqrt(sum_c x^2 + eps) at each pixel. 16 threads a pixel: thread `column * 16 + rank` takes the
// channels rank, rank + 16, ... of pixel `column` of the workgroup's 16.
#import lib/grid
#import lib/tree
#import lib/numbers

struct Params {
    base: u32,
    pixels: u32,
    per_slice: u32,
    c: u32,
    x_k: u32,
    y_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Number>;
@group(0) @binding(2) var<storage, read_write> y: array<Number>;

const EPS: f32 = 1e-8;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = lane / 16u;
    let rank = lane % 16u;
    let pixel = linear_group(group, count) * 16u + column;
    let k = pixel / p.per_slice;
    let from_x = k * p.x_k + pixel % p.per_slice * p.c;
    let c = select(0u, p.c, pixel < p.pixels);
    var squares = 0.0;
    for (var ch = rank; ch < c; ch += 16u) {
        squares += f32(x[from_x + ch]) * f32(x[from_x + ch]);
    }
    let r = 1.0 / sqrt(tree_sum(rank * 16u + column, 16u, 16u, squares) + EPS);
    let to = k * p.y_k + pixel % p.per_slice * p.c;
    for (var ch = rank; ch < c; ch += 16u) {
        y[to + ch] = Number(f32(x[from_x + ch]) * r);
    }
}
