// Gradient of the convolution with respect to its input as `conv/conv2d_grad_input`, in registers: the long side of `lib/direct`
// are the pixels of a phase, the short side input channels.
#import lib/grid
#import lib/direct
#import lib/conv2d_grad_input_params

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> w: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

var<private> landmark: u32;
var<private> first_row: u32;
var<private> first_column: u32;
// (y, x) mod s, and the phase's rows and columns of pixels.
var<private> phase: vec2<u32>;
var<private> extent: vec2<u32>;
// Of a thread's pixels: image, and row and column of the output pixel of the tap (jy, jx) = 0.
var<private> corners: array<vec3<i32>, 8>;
// ... and where in dx the pixel is: looked up once, so that what stores is short enough to be unrolled.
var<private> places: array<u32, 8>;
// Of the tap at hand: whether its output pixel lies in the image, and where in dy.
var<private> inside: array<bool, 8>;
var<private> pixels: array<u32, 8>;
// Where the tap's weights of channel 0 begin.
var<private> tap: u32;

fn channel(column: u32) -> u32 {
    return min(first_column + column, p.ci - 1u);
}

fn look_up(jy: u32, jx: u32) {
    for (var r = 0u; r < 8u; r++) {
        let at = corners[r] - vec3(0, i32(jy), i32(jx));
        inside[r] = u32(at.y) < p.oh && u32(at.z) < p.ow;
        let offset = u32(((at.x * i32(p.oh) + at.y) * i32(p.ow) + at.z) * i32(p.co));
        pixels[r] = landmark * p.dy_k + select(0u, offset, inside[r]);
    }
}

fn long(r: u32, o: u32) -> f32 {
    return select(0.0, dy[pixels[r] + o], inside[r]);
}

fn short(q: u32, o: u32) -> f32 {
    return w[tap + o * p.kh * p.kw * p.ci + channel(8u * q + lane)];
}

fn store(r: u32, column: u32, value: vec4<f32>) {
    for (var c = 0u; c < 4u; c++) {
        dx[places[r + c] + channel(column)] = value[c];
    }
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) thread: u32,
) {
    let tile = linear_group(group, count);
    if tile >= p.groups {
        return;
    }
    lane = thread;
    first_column = tile % p.column_tiles * SHORT;
    first_row = tile / p.column_tiles % p.row_tiles * LONG;
    let part = tile / (p.column_tiles * p.row_tiles) % (p.stride * p.stride);
    landmark = tile / (p.column_tiles * p.row_tiles * p.stride * p.stride);
    phase = vec2(part / p.stride, part % p.stride);
    extent = (vec2(p.h, p.w) + p.stride - 1u - phase) / p.stride;
    if first_row >= p.n * extent.x * extent.y {
        return;
    }
    let first_tap = (phase + p.pad) % p.stride;
    let taps = (vec2(p.kh, p.kw) + p.stride - 1u - first_tap) / p.stride;
    for (var r = 0u; r < 8u; r++) {
        let m = min(first_row + 8u * r + lane, p.n * extent.x * extent.y - 1u);
        let n = m / (extent.x * extent.y);
        let at = vec2(m / extent.y % extent.x, m % extent.y);
        corners[r] = vec3(i32(n), vec2<i32>(at + (phase + p.pad) / p.stride));
        let to = at * p.stride + phase;
        places[r] = landmark * p.dx_k + ((n * p.h + to.x) * p.w + to.y) * p.ci;
    }
    for (var jy = 0u; jy < taps.x; jy++) {
        for (var jx = 0u; jx < taps.y; jx++) {
            look_up(jy, jx);
            tap = landmark * p.w_k + ((first_tap.x + p.stride * jy) * p.kw + first_tap.y + p.stride * jx) * p.ci;
            for (var o = 0u; o < p.co; o++) {
                add(o);
            }
        }
    }
    store_all();
}
