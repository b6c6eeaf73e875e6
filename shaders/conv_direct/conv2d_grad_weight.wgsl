// Gradient of the convolution with respect to its weight as `conv/conv2d_grad_weight`, in registers: the long side of `lib/direct`
// is (ky, kx, i), the short side output channels.
#import lib/grid
#import lib/direct
#import lib/conv2d_grad_weight_params

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> dy: array<f32>;
// The gradient itself where there is one slice.
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;

var<private> landmark: u32;
var<private> slice: u32;
var<private> first_row: u32;
var<private> first_column: u32;
// Of a thread's columns: ky, kx, and offset in x from tap (0, 0), channel 0.
var<private> columns: array<vec3<i32>, 8>;
// Of the output pixel at hand: row, column and offset in x of its tap (0, 0), and where its gradient is.
var<private> corner: vec3<i32>;
var<private> gradient: u32;

fn column_of(r: u32) -> u32 {
    return min(first_column + 8u * r + lane, p.kh * p.kw * p.ci - 1u);
}

fn channel(row: u32) -> u32 {
    return min(first_row + row, p.co - 1u);
}

fn long(r: u32, k: u32) -> f32 {
    let at = corner + columns[r];
    let inside = u32(at.x) < p.h && u32(at.y) < p.w;
    return select(0.0, x[select(0u, u32(at.z), inside)], inside);
}

fn short(q: u32, k: u32) -> f32 {
    return dy[gradient + channel(8u * q + lane)];
}

fn store(r: u32, row: u32, value: vec4<f32>) {
    let to = landmark * p.dw_k + (slice * p.co + channel(row)) * p.kh * p.kw * p.ci;
    for (var c = 0u; c < 4u; c++) {
        dw[to + column_of(r + c)] = value[c];
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
    first_column = tile % p.column_tiles * LONG;
    first_row = tile / p.column_tiles % p.row_tiles * SHORT;
    let partial = tile / (p.column_tiles * p.row_tiles);
    slice = partial % p.slices;
    landmark = partial / p.slices;
    for (var r = 0u; r < 8u; r++) {
        let column = column_of(r);
        let ky = column / p.ci / p.kw;
        let kx = column / p.ci % p.kw;
        columns[r] = vec3(i32(ky), i32(kx), i32((ky * p.w + kx) * p.ci + column % p.ci));
    }
    let begin = slice * p.slice_pixels;
    let end = min(begin + p.slice_pixels, p.pixels);
    var ox = begin % p.ow;
    var oy = begin / p.ow % p.oh;
    // Beyond the batch lie the next landmarks, of whom a workgroup with a landmark of its own meets none.
    var n = begin / (p.ow * p.oh) % p.n;
    var who = landmark + begin / (p.ow * p.oh) / p.n;
    for (var k = begin; k < end; k++) {
        let iy = i32(oy * p.stride) - i32(p.pad);
        let ix = i32(ox * p.stride) - i32(p.pad);
        corner = vec3(iy, ix, i32(who * p.x_k) + ((i32(n * p.h) + iy) * i32(p.w) + ix) * i32(p.ci));
        gradient = who * p.dy_k + ((n * p.oh + oy) * p.ow + ox) * p.co;
        add(k);
        // The next pixel. All threads go alike; a division is what this avoids.
        ox += 1u;
        oy += select(0u, 1u, ox == p.ow);
        ox = select(ox, 0u, ox == p.ow);
        n += select(0u, 1u, oy == p.oh);
        oy = select(oy, 0u, oy == p.oh);
        who += select(0u, 1u, n == p.n);
        n = select(n, 0u, n == p.n);
    }
    store_all();
}
