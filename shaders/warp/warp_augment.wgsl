// Crops of stored images by a table of 25 numbers a sample: image, width, height, the 2x3 matrix from output (x, y, 1) to stored
// pixels, gamma, contrast, brightness, noise, blur, seed, overlay, and another image, width, height and matrix. One output pixel
// a thread.
// 
// v = image(m (x, y, 1)), blurred by a 1-2-1 binomial with taps `blur` output pixels apart
// v = v + overlay (other(n (x, y, 1)) - 1/2)
// v = (clamp(v, 0, 1)^gamma - 1/2) contrast + brightness + noise z(seed, pixel)
#import lib/element
#import lib/numbers

struct Params {
    base: u32,
    elements: u32,
    table_k: u32,
    y_k: u32,
    n: u32,
    h: u32,
    w: u32,
    images: u32,
    frame_h: u32,
    frame_w: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> images: array<f32>;
@group(0) @binding(2) var<storage, read_write> table: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<Number>;

// A stored image, the last of its columns and rows, and the map into it.
struct View {
    offset: u32,
    last: vec2<u32>,
    matrix_x: vec3<f32>,
    matrix_y: vec3<f32>,
}

// The image under output position `to`, bilinear, edges clamped.
fn read(view: View, to: vec2<f32>) -> f32 {
    let m = view.matrix_x;
    let n = view.matrix_y;
    let mapped = vec2(m.x * to.x + m.y * to.y + m.z, n.x * to.x + n.y * to.y + n.z);
    let at = clamp(mapped, vec2(0.0), vec2<f32>(view.last));
    let low = min(vec2<u32>(at), view.last);
    let high = min(low + 1u, view.last);
    let f = at - vec2<f32>(low);
    let top_left = images[view.offset + low.y * p.frame_w + low.x];
    let bottom_left = images[view.offset + high.y * p.frame_w + low.x];
    let top = top_left + (images[view.offset + low.y * p.frame_w + high.x] - top_left) * f.x;
    let bottom = bottom_left + (images[view.offset + high.y * p.frame_w + high.x] - bottom_left) * f.x;
    return top + (bottom - top) * f.y;
}

// 1-2-1 along a row.
fn across(view: View, to: vec2<f32>, blur: f32) -> f32 {
    let left = read(view, vec2(to.x - blur, to.y));
    let right = read(view, vec2(to.x + blur, to.y));
    return left + 2.0 * read(view, to) + right;
}

// The view that nine numbers of the table tell. Whole numbers are clamped, so that no table leads out of the store.
fn view_of(at: u32) -> View {
    let image = min(u32(table[at]), p.images - 1u);
    let width = clamp(u32(table[at + 1u]), 1u, p.frame_w);
    let height = clamp(u32(table[at + 2u]), 1u, p.frame_h);
    return View(
        image * p.frame_h * p.frame_w,
        vec2(width - 1u, height - 1u),
        vec3(table[at + 3u], table[at + 4u], table[at + 5u]),
        vec3(table[at + 6u], table[at + 7u], table[at + 8u]),
    );
}

fn hash(key: u32) -> u32 {
    var v = key * 747796405u + 2891336453u;
    v = ((v >> ((v >> 28u) + 4u)) ^ v) * 277803737u;
    return (v >> 22u) ^ v;
}

// Mean 0, variance 1: four 16-bit uniforms.
fn noise(seed: u32, pixel: u32) -> f32 {
    let a = hash(pixel ^ hash(seed));
    let b = hash(a ^ 0x9e3779b9u);
    let sum = (a & 0xffffu) + (a >> 16u) + (b & 0xffffu) + (b >> 16u);
    return (f32(sum) - 131070.0) * SPREAD;
}

// sqrt(3) / 65536
const SPREAD: f32 = 2.6428997918226276e-05;

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
    let pixel = i % (p.h * p.w);
    let sample = i / (p.h * p.w);
    let k = sample / p.n;
    let row = k * p.table_k + sample % p.n * 25u;
    let view = view_of(row);
    let gamma = table[row + 9u];
    let contrast = table[row + 10u];
    let brightness = table[row + 11u];
    let sigma = table[row + 12u];
    let blur = table[row + 13u];
    let seed = u32(table[row + 14u]);
    let overlay = table[row + 15u];

    let to = vec2(f32(pixel % p.w), f32(pixel / p.w));
    var v: f32;
    if blur > 0.0 {
        let above = across(view, vec2(to.x, to.y - blur), blur);
        let here = across(view, to, blur);
        let below = across(view, vec2(to.x, to.y + blur), blur);
        v = (above + 2.0 * here + below) / 16.0;
    } else {
        v = read(view, to);
    }
    if overlay > 0.0 {
        v += overlay * (read(view_of(row + 16u), to) - 0.5);
    }
    v = clamp(v, 0.0, 1.0);
    // The power of zero is zero; not every device's `pow` says so.
    if gamma != 1.0 && v > 0.0 {
        v = pow(v, gamma);
    }
    v = (v - 0.5) * contrast + brightness;
    if sigma > 0.0 {
        v += sigma * noise(seed, pixel);
    }
    y[k * p.y_k + i % (p.n * p.h * p.w)] = Number(v);
}
