// Convolution with bias, parallel rank-r adapter and activation.
//
//   y[k,n,oy,ox,o] = act( b[k,o] + sum_{ky,kx,i} w[k,o,ky,kx,i] x[k,n, s oy + ky - p, s ox + kx - p, i]
//                         + sum_r u[k,o,r] sum_i v[k,r,i] x[k,n, s oy + kh/2 - p, s ox + kw/2 - p, i] )
//
// An implicit matrix product a landmark: rows are output pixels (n, oy, ox), columns are output channels, the inner index is
// (ky, kx, i), i fastest. A workgroup owns a tile of BM pixels x BN channels; column tiles are fastest, then row tiles, then
// landmarks. The adapter's t = v x takes its own pass over the centre tap, BK ranks at a time, and then adds u t as BK more
// inner steps. `lib/gemm` says how the threads share a tile.
//
//   VEC4        c_in and c_out in fours: memory is read and written four numbers at a time
//   EXACT       and tiles and steps that cover the product exactly: no bounds but the image's border
//   POINTWISE   and a 1x1 kernel with stride 1: a plain matrix product, without taps and border
#import lib/grid
#import lib/activate
#import lib/numbers
#import lib/gemm

const BM: u32 = 32u; // #const
const BN: u32 = 32u; // #const
const BK: u32 = 16u; // #const
const TM: u32 = 4u; // #const
const TN: u32 = 4u; // #const
const LEFT_ALONG_K: bool = true;
const RIGHT_ALONG_K: bool = true;
const EXACT: bool = false; // #const
const POINTWISE: bool = false; // #const

#import lib/conv2d_params

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Numbers>;
@group(0) @binding(2) var<storage, read_write> w: array<Numbers>;
// Without a bias or an adapter, nothing is bound to these three and they are not read.
@group(0) @binding(3) var<storage, read_write> b: array<Number>;
@group(0) @binding(4) var<storage, read_write> v: array<Number>;
@group(0) @binding(5) var<storage, read_write> u: array<Number>;
@group(0) @binding(6) var<storage, read_write> y: array<Numbers>;

// Of each output pixel of the tile: where in a slice of x its tap (0, 0) lies, and at which row and column of the image.
var<workgroup> rows: array<vec4<i32>, BM>;
var<private> landmark: u32;
var<private> first_row: u32;
var<private> first_column: u32;

fn row_of(m: u32) -> vec4<i32> {
    if m >= p.pixels {
        return vec4(0, -1073741824, 0, 0);
    }
    let n = m / (p.oh * p.ow);
    let iy = i32(m / p.ow % p.oh * p.stride) - i32(p.pad);
    let ix = i32(m % p.ow * p.stride) - i32(p.pad);
    return vec4(((i32(n * p.h) + iy) * i32(p.w) + ix) * i32(p.ci), iy, ix, 0);
}

// (offset in x from tap (0, 0), ky, kx, k or -1).
fn inner(k: u32, end: u32) -> vec4<i32> {
    if k >= end {
        return vec4(0, -1073741824, 0, -1);
    }
    if POINTWISE {
        return vec4(0, 0, 0, i32(k));
    }
    let tap = k / p.ci;
    let ky = tap / p.kw;
    let kx = tap % p.kw;
    return vec4(i32((ky * p.w + kx) * p.ci + k % p.ci), i32(ky), i32(kx), i32(k));
}

#if VEC4
fn left(row: u32, at: vec4<i32>) -> vec4<f32> {
    if POINTWISE {
        let m = first_row + row;
        if !EXACT && (m >= p.pixels || at.w < 0) {
            return vec4(0.0);
        }
        return vec4<f32>(x[(landmark * p.x_k + m * p.ci + u32(at.w)) / 4u]);
    }
    let to = rows[row] + at;
    if u32(to.y) >= p.h || u32(to.z) >= p.w {
        return vec4(0.0);
    }
    return vec4<f32>(x[(landmark * p.x_k + u32(to.x)) / 4u]);
}

fn right(column: u32, at: vec4<i32>) -> vec4<f32> {
    let o = first_column + column;
    if !EXACT && (o >= p.co || at.w < 0) {
        return vec4(0.0);
    }
    return vec4<f32>(w[(landmark * p.w_k + o * p.kh * p.kw * p.ci + u32(at.w)) / 4u]);
}
#else
fn pixel(row: u32, at: vec4<i32>) -> f32 {
    let to = rows[row] + at;
    if u32(to.y) >= p.h || u32(to.z) >= p.w {
        return 0.0;
    }
    return f32(x[landmark * p.x_k + u32(to.x)]);
}

fn left(quad: u32, at: vec4<i32>) -> vec4<f32> {
    let row = 4u * quad;
    return vec4(pixel(row, at), pixel(row + 1u, at), pixel(row + 2u, at), pixel(row + 3u, at));
}

fn weight(column: u32, at: vec4<i32>) -> f32 {
    let o = first_column + column;
    if o >= p.co || at.w < 0 {
        return 0.0;
    }
    return f32(w[landmark * p.w_k + o * p.kh * p.kw * p.ci + u32(at.w)]);
}

fn right(quad: u32, at: vec4<i32>) -> vec4<f32> {
    let column = 4u * quad;
    return vec4(weight(column, at), weight(column + 1u, at), weight(column + 2u, at), weight(column + 3u, at));
}
#endif

// v[k,r,i]
fn down(r: u32, i: u32) -> f32 {
    if r >= p.rank || i >= p.ci {
        return 0.0;
    }
    return f32(v[landmark * p.v_k + r * p.ci + i]);
}

// u[k,o,r]
fn up(column: u32, r: u32) -> f32 {
    let o = first_column + column;
    if o >= p.co || r >= p.rank {
        return 0.0;
    }
    return f32(u[landmark * p.u_k + o * p.rank + r]);
}

// Quads of the left tile a thread, all of one inner index.
const LEFT_QUADS: u32 = BM / 4u * BK / THREADS;

// Adds u (v x): ranks first..first + BK. A thread has t of its quads of the left tile, their inner index the rank.
fn add_adapter(lane: u32, first: u32) {
    let begin = (p.kh / 2u * p.kw + p.kw / 2u) * p.ci;
    let end = begin + p.ci;
    var t = array<vec4<f32>, LEFT_QUADS>();
    look_up(lane, begin, end);
    workgroupBarrier();
    for (var k = begin; k < end; k += BK) {
        stage_left(lane);
        workgroupBarrier();
        look_up(lane, k + BK, end);
        for (var i = 0u; i < BK; i++) {
            let factor = down(first + lane % BK, k - begin + i);
            for (var s = 0u; s < LEFT_QUADS; s++) {
                t[s] = fma(left_tile[i * LEFT_ROW + unit(lane + s * THREADS, BM / 4u, true).quad], vec4(factor), t[s]);
            }
        }
        workgroupBarrier();
    }
    for (var s = 0u; s < LEFT_QUADS; s++) {
        let to = unit(lane + s * THREADS, BM / 4u, true);
        left_tile[to.k * LEFT_ROW + to.quad] = t[s];
    }
    for (var number = lane; number < BN / 4u * BK; number += THREADS) {
        let to = unit(number, BN / 4u, true);
        let column = 4u * to.quad;
        let r = first + to.k;
        right_tile[to.k * RIGHT_ROW + to.quad] =
            vec4(up(column, r), up(column + 1u, r), up(column + 2u, r), up(column + 3u, r));
    }
    workgroupBarrier();
    multiply(lane);
    workgroupBarrier();
}

fn bias(o: u32) -> f32 {
    if p.bias == 0u || o >= p.co {
        return 0.0;
    }
    return f32(b[landmark * p.b_k + o]);
}

fn start_with_bias(lane: u32) {
    for (var j = 0u; j < TN / 4u; j++) {
        let o = first_column + tile_column(lane, j);
        let value = vec4(bias(o), bias(o + 1u), bias(o + 2u), bias(o + 3u));
        for (var r = 0u; r < TM; r++) {
            sums[r * (TN / 4u) + j] = value;
        }
    }
}

fn store(row: u32, column: u32, value: vec4<f32>) {
    if !EXACT && row >= p.pixels {
        return;
    }
    let to = landmark * p.y_k + row * p.co + column;
    let activated = activate4(p.activation, value);
#if VEC4
    if EXACT || column < p.co {
        y[to / 4u] = Numbers(activated);
    }
#else
    for (var c = 0u; c < 4u; c++) {
        if column + c < p.co {
            y[to + c] = Number(activated[c]);
        }
    }
#endif
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = linear_group(group, count);
    if tile >= p.groups {
        return;
    }
    first_column = tile % p.column_tiles * BN;
    first_row = tile / p.column_tiles % p.row_tiles * BM;
    landmark = tile / (p.column_tiles * p.row_tiles);
    for (var row = lane; !POINTWISE && row < BM; row += THREADS) {
        rows[row] = row_of(first_row + row);
    }
    start_with_bias(lane);
    accumulate(lane, 0u, p.kh * p.kw * p.ci);
    for (var first = 0u; first < p.rank; first += BK) {
        add_adapter(lane, first);
    }
    for (var r = 0u; r < TM; r++) {
        for (var j = 0u; j < TN / 4u; j++) {
            store(first_row + tile_row(lane, r), first_column + tile_column(lane, j), sum_of(r, j));
        }
    }
}
