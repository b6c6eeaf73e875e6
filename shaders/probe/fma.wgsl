// y[i] = sum over 16 chains j of f(f(..f(x[i] + j/16))), f(v) = DECAY v + GAIN, `rounds` times. One element a thread.
//
//   F16   chains are in f16
#import lib/element

#if F16
enable f16;
alias Four = vec4<f16>;
const DECAY: f16 = 0.5h;
const GAIN: f16 = 0.5h;
#else
alias Four = vec4<f32>;
const DECAY: f32 = 0.999;
const GAIN: f32 = 0.001;
#endif

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
    let ramp = vec4(0.0, 0.0625, 0.125, 0.1875);
    let decay = Four(DECAY);
    let gain = Four(GAIN);
    var a = Four(vec4(x[i / p.slice * p.x_k + i % p.slice]) + ramp);
    var b = a + 0.25;
    var c = a + 0.5;
    var d = a + 0.75;
    for (var round = 0u; round < p.rounds; round++) {
        a = fma(a, decay, gain);
        b = fma(b, decay, gain);
        c = fma(c, decay, gain);
        d = fma(d, decay, gain);
    }
    y[i / p.slice * p.y_k + i % p.slice] = dot(vec4<f32>((a + b) + (c + d)), vec4(1.0));
}
