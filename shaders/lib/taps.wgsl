// The two source indices of output `i` of a resize along one axis, and the weight of the second. `ratio` is from / to,
// divided by the host: a GPU's division may round otherwise.
struct Taps {
    low: u32,
    high: u32,
    weight: f32,
}

fn taps(i: u32, from_extent: u32, ratio: f32) -> Taps {
    let at = clamp((f32(i) + 0.5) * ratio - 0.5, 0.0, f32(from_extent - 1u));
    let low = min(u32(at), from_extent - 1u);
    return Taps(low, min(low + 1u, from_extent - 1u), at - f32(low));
}
