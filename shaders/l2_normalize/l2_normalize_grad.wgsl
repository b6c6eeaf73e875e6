// dx = r (dy - x r^2 sum_c(x dy)) with r = 1 / sqrt(sum_c x^2 + eps) at each pixel. Threads as in l2_normalize.wgsl.
#import lib/grid
#import lib/tree

struct Params {
    base: u32,
    pixels: u32,
    per_slice: u32,
    c: u32,
    x_k: u32,
    dy_k: u32,
    dx_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

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
    let at = pixel % p.per_slice * p.c;
    let c = select(0u, p.c, pixel < p.pixels);
    var squares = 0.0;
    var products = 0.0;
    for (var ch = rank; ch < c; ch += 16u) {
        let v = x[k * p.x_k + at + ch];
        squares += v * v;
        products += v * dy[k * p.dy_k + at + ch];
    }
    let r = 1.0 / sqrt(tree_sum(rank * 16u + column, 16u, 16u, squares) + EPS);
    let along = r * r * tree_sum(rank * 16u + column, 16u, 16u, products);
    for (var ch = rank; ch < c; ch += 16u) {
        dx[k * p.dx_k + at + ch] = r * (dy[k * p.dy_k + at + ch] - x[k * p.x_k + at + ch] * along);
    }
}
