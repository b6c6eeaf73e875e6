// The four pixels around a point of a grid `scale` times as fine as a map of extent h, w, and their weights.
struct Corners {
    pixel: vec4<u32>,
    weight: vec4<f32>,
}

fn corners(point: vec2<f32>, scale: f32, h: u32, w: u32) -> Corners {
    let last = vec2(w - 1u, h - 1u);
    let at = clamp((point + 0.5) / scale - 0.5, vec2(0.0), vec2<f32>(last));
    // Once more, as integers: a NaN must not lead out of the map.
    let low = min(vec2<u32>(at), last);
    let high = min(low + 1u, last);
    let f = at - vec2<f32>(low);
    let g = 1.0 - f;
    return Corners(
        vec4(low.y * w + low.x, low.y * w + high.x, high.y * w + low.x, high.y * w + high.x),
        vec4(g.y * g.x, g.y * f.x, f.y * g.x, f.y * f.x),
    );
}
