// One step of AdamW and of the moving average, over all blocks of the flat buffers; a block whose sum of squares is not finite is
// left as it is. One element a thread. hyper: lr_shared, lr_distinct, beta1, beta2, decay, clip, ema, 1 - beta1^t, 1 - beta2^t.
// 
// g' = g min(1, clip / |g_block|);  m = b1 m + (1 - b1) g';  v = b2 v + (1 - b2) g'^2
// w -= lr (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay w);  ema = d ema + (1 - d) w
#import lib/element

struct Params {
    base: u32,
    elements: u32,
    shared_len: u32,
    distinct: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> gradients: array<f32>;
@group(0) @binding(2) var<storage, read_write> squares: array<f32>;
@group(0) @binding(3) var<storage, read_write> hyper: array<f32>;
@group(0) @binding(4) var<storage, read_write> params: array<f32>;
@group(0) @binding(5) var<storage, read_write> moment1: array<f32>;
@group(0) @binding(6) var<storage, read_write> moment2: array<f32>;
@group(0) @binding(7) var<storage, read_write> ema: array<f32>;

const EPS: f32 = 1e-8;
const EXPONENT: u32 = 0x7f800000u;

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
    var block = 0u;
    if i >= p.shared_len {
        block = 1u + (i - p.shared_len) / p.distinct;
    }
    let square = squares[block];
    // By its bits: where compilers assume that no NaN exists, comparisons do not see one.
    if (bitcast<u32>(square) & EXPONENT) == EXPONENT {
        return;
    }
    let lr = select(hyper[1], hyper[0], block == 0u);
    let b1 = hyper[2];
    let b2 = hyper[3];
    let g = gradients[i] * min(hyper[5] / (sqrt(square) + EPS), 1.0);
    let m = b1 * moment1[i] + (1.0 - b1) * g;
    let v = b2 * moment2[i] + (1.0 - b2) * g * g;
    let step = m / hyper[7] / (sqrt(v / hyper[8]) + EPS) + hyper[4] * params[i];
    let w = params[i] - lr * step;
    moment1[i] = m;
    moment2[i] = v;
    params[i] = w;
    ema[i] = hyper[6] * ema[i] + (1.0 - hyper[6]) * w;
}
