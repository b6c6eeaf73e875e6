// The sub-pixel position of each map's peak, its height and its spread: (x, y, peak, spread) of
//   top: the first maximal pixel;   e[i] = exp(x[i] - x[top])
//   (x, y): ROUNDS times from top, the mean of the pixels of the square of 2 radius + 1 about it, weighted by e and by the share
//   of the pixel that the square covers;   peak = 1 / sum e;
//   spread: the root of the mean square distance of all pixels from (x, y), weighted by e.
// A workgroup has one map, see `lib/reduce_map`.
#import lib/reduce_map

struct Params {
    base: u32,
    groups: u32,
    n: u32,
    pixels: u32,
    c: u32,
    w: u32,
    radius: u32,
    x_k: u32,
    y_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

const ROUNDS: u32 = 4;

var<workgroup> best: array<u32, WIDTH>;

// The first maximal pixel; all threads together. Of equal pixels the lower one wins, here and in each step of the tree.
fn argmax(t: u32, start: u32) -> u32 {
    var top = min(t, p.pixels - 1u);
    for (var i = top + WIDTH; i < p.pixels; i += WIDTH) {
        if x[start + i * p.c] > x[start + top * p.c] {
            top = i;
        }
    }
    best[t] = top;
    workgroupBarrier();
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        if t < half {
            let a = best[t];
            let b = best[t + half];
            let of_a = x[start + a * p.c];
            let of_b = x[start + b * p.c];
            if of_b > of_a || (of_b == of_a && b < a) {
                best[t] = b;
            }
        }
        workgroupBarrier();
    }
    return best[0];
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) t: u32,
) {
    let index = linear_group(group, count);
    if index >= p.groups {
        return;
    }
    let map = map_of(index);
    let start = map.k * p.x_k + map.first;
    let top = argmax(t, start);
    let greatest = x[start + top * p.c];
    let peak = vec2(top % p.w, top / p.w);
    let reach = p.radius + 1u;
    let side = 2u * reach + 1u;
    // From the peak: moments about the origin would cancel in f32.
    var offset = vec2(0.0);
    for (var turn = 0u; turn < ROUNDS; turn += 1u) {
        let low = vec2<i32>(peak) + vec2<i32>(round(offset)) - i32(reach);
        var moments = vec4(0.0);
        for (var i = t; i < side * side; i += WIDTH) {
            let at = low + vec2(i32(i % side), i32(i / side));
            let pixel = at.y * i32(p.w) + at.x;
            if all(at >= vec2(0)) && at.x < i32(p.w) && pixel < i32(p.pixels) {
                let d = vec2<f32>(at - vec2<i32>(peak));
                let cover = clamp(f32(reach) - abs(d - offset), vec2(0.0), vec2(1.0));
                let e = exp(x[start + u32(pixel) * p.c] - greatest) * cover.x * cover.y;
                moments += vec4(e, e * d, 0.0);
            }
        }
        moments = sum4(t, moments);
        offset = moments.yz / moments.x;
    }
    let position = vec2<f32>(peak) + offset;
    // Sums of e and of e times the square distance from the position.
    var whole = vec4(0.0);
    for (var i = t; i < p.pixels; i += WIDTH) {
        let d = vec2(f32(i % p.w), f32(i / p.w)) - position;
        let e = exp(x[start + i * p.c] - greatest);
        whole += vec4(e, e * dot(d, d), 0.0, 0.0);
    }
    whole = sum4(t, whole);
    if t == 0u {
        let to = map.k * p.y_k + 4u * (index % (p.n * p.c));
        y[to] = position.x;
        y[to + 1u] = position.y;
        y[to + 2u] = 1.0 / whole.x;
        y[to + 3u] = sqrt(whole.y / whole.x);
    }
}
