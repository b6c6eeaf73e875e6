// (p, log p, log(1 - p)) for p = sigmoid(x), without overflow.
fn log_sigmoid(x: f32) -> vec3<f32> {
    let tail = log(1.0 + exp(-abs(x)));
    return vec3(1.0 / (1.0 + exp(-x)), min(x, 0.0) - tail, min(-x, 0.0) - tail);
}
