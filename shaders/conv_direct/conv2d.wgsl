// Convolution as `conv/conv2d`, in registers: the long side of `lib/direct` are output pixels, the short side output channels.
#import lib/grid
#import lib/activate
#import lib/numbers
#import lib/direct
#import lib/conv2d_params

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Number>;
@group(0) @binding(2) var<storage, read_write> w: array<Number>;
// Without a bias or an adapter, nothing is bound to these three and they are not read.
@group(0) @binding(3) var<storage, read_write> b: array<Number>;
@group(0) @binding(4) var<storage, read_write> v: array<Number>;
@group(0) @binding(5) var<storage, read_write> u: array<Number>;
@group(0) @binding(6) var<storage, read_write> y: array<Number>;

var<private> landmark: u32;
var<private> first_row: u32;
var<private> first_column: u32;
// Of a thread's pixels: image, row and column of the tap (0, 0).
var<private> corners: array<vec3<i32>, 8>;
// ... of the tap at hand: whether it lies in the image, and where in x.
var<private> inside: array<bool, 8>;
var<private> pixels: array<u32, 8>;
// Where the tap's weights of output channel 0 begin.
var<private> tap: u32;

fn pixel(r: u32) -> u32 {
    return min(first_row + 8u * r + lane, p.pixels - 1u);
}

fn channel(column: u32) -> u32 {
    return min(first_column + column, p.co - 1u);
}

fn look_up(ky: u32, kx: u32) {
    for (var r = 0u; r < 8u; r++) {
        let at = corners[r] + vec3(0, i32(ky), i32(kx));
        inside[r] = u32(at.y) < p.h && u32(at.z) < p.w;
        let offset = u32(((at.x * i32(p.h) + at.y) * i32(p.w) + at.z) * i32(p.ci));
        pixels[r] = landmark * p.x_k + select(0u, offset, inside[r]);
    }
    tap = landmark * p.w_k + (ky * p.kw + kx) * p.ci;
}

fn long(r: u32, i: u32) -> f32 {
    return select(0.0, f32(x[pixels[r] + i]), inside[r]);
}

fn short(q: u32, i: u32) -> f32 {
    return f32(w[tap + channel(8u * q + lane) * p.kh * p.kw * p.ci + i]);
}

fn bias(q: u32) -> f32 {
    if p.bias == 0u {
        return 0.0;
    }
    return f32(b[landmark * p.b_k + channel(8u * q + lane)]);
}

// u[k,o,r]
fn up(q: u32, r: u32) -> f32 {
    return f32(u[landmark * p.u_k + channel(8u * q + lane) * p.rank + r]);
}

// Adds u (v x), four ranks at a time, so that pixels are loaded once for them.
fn add_adapter() {
    look_up(p.kh / 2u, p.kw / 2u);
    for (var first = 0u; first < p.rank; first += 4u) {
        // [4, 2] vectors of four of a thread's pixels.
        var t = array<vec4<f32>, 8>();
        for (var i = 0u; i < p.ci; i++) {
            let low = vec4(long(0u, i), long(1u, i), long(2u, i), long(3u, i));
            let high = vec4(long(4u, i), long(5u, i), long(6u, i), long(7u, i));
            let value = f32(v[landmark * p.v_k + min(first + lane % 4u, p.rank - 1u) * p.ci + i]);
            for (var c = 0u; c < 4u; c++) {
                let factor = vec4(subgroupShuffle(value, c));
                t[2u * c] = fma(low, factor, t[2u * c]);
                t[2u * c + 1u] = fma(high, factor, t[2u * c + 1u]);
            }
        }
        for (var c = 0u; c < min(4u, p.rank - first); c++) {
            let low = t[2u * c];
            let high = t[2u * c + 1u];
            add_eight(0u, low, high, up(0u, first + c));
            add_eight(1u, low, high, up(1u, first + c));
#if WIDE
            add_eight(2u, low, high, up(2u, first + c));
            add_eight(3u, low, high, up(3u, first + c));
#endif
        }
    }
}

// A sigmoid has no part in it: written out for every number, it would be most of the shader.
fn store(r: u32, column: u32, value: vec4<f32>) {
    let negative = select(vec4(0.0), value * SLOPE, p.activation == LEAKY_RELU);
    let activated = max(value, select(negative, value, p.activation == IDENTITY));
    for (var c = 0u; c < 4u; c++) {
        y[landmark * p.y_k + pixel(r + c) * p.co + channel(column)] = Number(activated[c]);
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
    landmark = tile / (p.column_tiles * p.row_tiles);
    for (var r = 0u; r < 8u; r++) {
        let m = pixel(r);
        let at = vec2(m / p.ow % p.oh, m % p.ow) * p.stride;
        corners[r] = vec3(i32(m / (p.oh * p.ow)), vec2<i32>(at) - i32(p.pad));
    }
    begin_eight(0u, bias(0u));
    begin_eight(1u, bias(1u));
#if WIDE
    begin_eight(2u, bias(2u));
    begin_eight(3u, bias(3u));
#endif
    for (var ky = 0u; ky < p.kh; ky++) {
        for (var kx = 0u; kx < p.kw; kx++) {
            look_up(ky, kx);
            for (var i = 0u; i < p.ci; i++) {
                add(i);
            }
        }
    }
    if p.rank > 0u {
        add_adapter();
    }
    store_all();
}
