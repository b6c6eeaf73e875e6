// Activations by the number that `activation::Activation` gives them.
const IDENTITY: u32 = 0u;
const RELU: u32 = 1u;
const LEAKY_RELU: u32 = 2u;
const SIGMOID: u32 = 3u;
const SLOPE: f32 = 0.1;

fn activate(activation: u32, x: f32) -> f32 {
    switch activation {
        case RELU: { return max(x, 0.0); }
        case LEAKY_RELU: { return max(x, x * SLOPE); }
        case SIGMOID: { return 1.0 / (1.0 + exp(-x)); }
        default: { return x; }
    }
}

// The same of four numbers.
fn activate4(activation: u32, x: vec4<f32>) -> vec4<f32> {
    switch activation {
        case RELU: { return max(x, vec4(0.0)); }
        case LEAKY_RELU: { return max(x, x * SLOPE); }
        case SIGMOID: { return 1.0 / (1.0 + exp(-x)); }
        default: { return x; }
    }
}

// The derivative as a function of the output.
fn activation_slope(activation: u32, y: f32) -> f32 {
    switch activation {
        case RELU: { return select(0.0, 1.0, y > 0.0); }
        case LEAKY_RELU: { return select(SLOPE, 1.0, y > 0.0); }
        case SIGMOID: { return y * (1.0 - y); }
        default: { return 1.0; }
    }
}
