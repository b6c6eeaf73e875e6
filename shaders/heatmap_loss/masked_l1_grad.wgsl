// dx = sign(x - t) m dy. One element a thread.
#import lib/element

struct Params {
    base: u32,
    elements: u32,
    slice: u32,
    x_k: u32,
    t_k: u32,
    m_k: u32,
    dy_k: u32,
    dx_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> t: array<f32>;
@group(0) @binding(3) var<storage, read_write> m: array<f32>;
@group(0) @binding(4) var<storage, read_write> dy: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;

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

    let v = x[k * p.x_k + e];
    let goal = t[k * p.t_k + e];
    let side = select(select(0.0, -1.0, v < goal), 1.0, v > goal);
    dx[k * p.dx_k + e] = side * m[k * p.m_k + e] * dy[k * p.dy_k + e];
}
