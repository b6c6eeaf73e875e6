// y[i] = sum over 16 chains j of f(f(..f(x[i] + j/16))), f(v) = v / 2 + 1 / 2, `rounds` times, in f16. One element a thread.
enable f16;
#import lib/element

struct Params {
    base: u32,
    elements: u32,
    slice: u32,
    x_k: u32,
    y_k: u32,
    rounds: u32,
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
    let half = vec4<f16>(0.5h);
    var a = vec4<f16>(vec4(x[i / p.slice * p.x_k + i % p.slice]) + vec4(0.0, 0.0625, 0.125, 0.1875));
    var b = a + 0.25h;
    var c = a + 0.5h;
    var d = a + 0.75h;
    for (var round = 0u; round < p.rounds; round++) {
        a = fma(a, half, half);
        b = fma(b, half, half);
        c = fma(c, half, half);
        d = fma(d, half, half);
    }
    y[i / p.slice * p.y_k + i % p.slice] = dot(vec4<f32>((a + b) + (c + d)), vec4(1.0));
}
