// Sums over a workgroup of WIDTH threads, a power of two, in the order of a fixed tree; all threads together.
var<workgroup> addends: array<vec4<f32>, WIDTH>;

fn sum4(t: u32, value: vec4<f32>) -> vec4<f32> {
    workgroupBarrier();
    addends[t] = value;
    workgroupBarrier();
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        if t < half {
            addends[t] += addends[t + half];
        }
        workgroupBarrier();
    }
    return addends[0];
}

fn sum2(t: u32, value: vec2<f32>) -> vec2<f32> {
    return sum4(t, vec4(value, 0.0, 0.0)).xy;
}

fn sum(t: u32, value: f32) -> f32 {
    return sum4(t, vec4(value, 0.0, 0.0, 0.0)).x;
}
