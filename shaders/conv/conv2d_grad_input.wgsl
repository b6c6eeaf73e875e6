// Gradient of the convolution with respect to its input.
//
//   dx[k,n,y,x,i] = sum_{oy,ox,o : y = s oy + ky - p, x = s ox + kx - p} dy[k,n,oy,ox,o] w[k,o,ky,kx,i]
//
// Input pixels with equal (y mod s, x mod s), a phase, meet the same taps: with y = s qy + fy and f = fy + p those are
// ky = f mod s + s jy, from the output row oy = qy + f / s - jy. So each phase is an implicit matrix product without holes:
// rows are the phase's pixels (n, qy, qx), columns are input channels, the inner index is (jy, jx, o), o fastest.
// A workgroup owns a tile of BM pixels x BN channels; column tiles are fastest, then row tiles, phases, landmarks.
// `lib/gemm` says how the threads share a tile.
//
//   VEC4    c_in and c_out in fours: memory is read and written four numbers at a time
//   EXACT   and tiles and steps that cover every phase exactly: no bounds but the image's border
#import lib/grid
#import lib/numbers
#import lib/gemm

const BM: u32 = 32u; // #const
const BN: u32 = 32u; // #const
const BK: u32 = 16u; // #const
const TM: u32 = 4u; // #const
const TN: u32 = 4u; // #const
const LEFT_ALONG_K: bool = true;
const RIGHT_ALONG_K: bool = false;
const EXACT: bool = false; // #const

#import lib/conv2d_grad_input_params

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<Numbers>;
@group(0) @binding(2) var<storage, read_write> w: array<Numbers>;
@group(0) @binding(3) var<storage, read_write> dx: array<Numbers>;

// Of each input pixel of the tile: where in a slice of dy the output pixel of tap (jy, jx) = 0 lies, its row and column.
var<workgroup> rows: array<vec4<i32>, BM>;
var<private> landmark: u32;
var<private> first_column: u32;
// (y, x) mod s; the phase's rows and columns of pixels; its first tap (ky, kx); its taps along y and x.
var<private> phase: vec2<u32>;
var<private> extent: vec2<u32>;
var<private> first_tap: vec2<u32>;
var<private> taps: vec2<u32>;

fn row_of(m: u32) -> vec4<i32> {
    if m >= p.n * extent.x * extent.y {
        return vec4(0, -1073741824, 0, 0);
    }
    let n = m / (extent.x * extent.y);
    let oy = m / extent.y % extent.x + (phase.x + p.pad) / p.stride;
    let ox = m % extent.y + (phase.y + p.pad) / p.stride;
    return vec4(i32(((n * p.oh + oy) * p.ow + ox) * p.co), i32(oy), i32(ox), 0);
}

// (offset in dy, -jy, -jx, offset in w or -1).
fn inner(k: u32, end: u32) -> vec4<i32> {
    if k >= end {
        return vec4(0, -1073741824, 0, -1);
    }
    let o = k % p.co;
    let jy = k / p.co / taps.y;
    let jx = k / p.co % taps.y;
    let tap = ((o * p.kh) + first_tap.x + p.stride * jy) * p.kw + first_tap.y + p.stride * jx;
    return vec4(i32(o) - i32((jy * p.ow + jx) * p.co), -i32(jy), -i32(jx), i32(tap * p.ci));
}

#if VEC4
fn left(row: u32, at: vec4<i32>) -> vec4<f32> {
    let to = rows[row] + at;
    if u32(to.y) >= p.oh || u32(to.z) >= p.ow {
        return vec4(0.0);
    }
    return vec4<f32>(dy[(landmark * p.dy_k + u32(to.x)) / 4u]);
}

fn right(quad: u32, at: vec4<i32>) -> vec4<f32> {
    let i = first_column + 4u * quad;
    if !EXACT && (i >= p.ci || at.w < 0) {
        return vec4(0.0);
    }
    return vec4<f32>(w[(landmark * p.w_k + u32(at.w) + i) / 4u]);
}
#else
fn pixel(row: u32, at: vec4<i32>) -> f32 {
    let to = rows[row] + at;
    if u32(to.y) >= p.oh || u32(to.z) >= p.ow {
        return 0.0;
    }
    return f32(dy[landmark * p.dy_k + u32(to.x)]);
}

fn left(quad: u32, at: vec4<i32>) -> vec4<f32> {
    let row = 4u * quad;
    return vec4(pixel(row, at), pixel(row + 1u, at), pixel(row + 2u, at), pixel(row + 3u, at));
}

fn weight(column: u32, at: vec4<i32>) -> f32 {
    let i = first_column + column;
    if i >= p.ci || at.w < 0 {
        return 0.0;
    }
    return f32(w[landmark * p.w_k + u32(at.w) + i]);
}

fn right(quad: u32, at: vec4<i32>) -> vec4<f32> {
    let column = 4u * quad;
    return vec4(weight(column, at), weight(column + 1u, at), weight(column + 2u, at), weight(column + 3u, at));
}
#endif

fn store(row: u32, column: u32, value: vec4<f32>) {
    if !EXACT && row >= p.n * extent.x * extent.y {
        return;
    }
    let n = row / (extent.x * extent.y);
    let y = row / extent.y % extent.x * p.stride + phase.x;
    let x = row % extent.y * p.stride + phase.y;
    let to = landmark * p.dx_k + ((n * p.h + y) * p.w + x) * p.ci + column;
#if VEC4
    if EXACT || column < p.ci {
        dx[to / 4u] = Numbers(value);
    }
#else
    for (var c = 0u; c < 4u; c++) {
        if column + c < p.ci {
            dx[to + c] = Number(value[c]);
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
    let first_row = tile / p.column_tiles % p.row_tiles * BM;
    let part = tile / (p.column_tiles * p.row_tiles) % (p.stride * p.stride);
    landmark = tile / (p.column_tiles * p.row_tiles * p.stride * p.stride);
    phase = vec2(part / p.stride, part % p.stride);
    extent = (vec2(p.h, p.w) + p.stride - 1u - phase) / p.stride;
    first_tap = (phase + p.pad) % p.stride;
    taps = (vec2(p.kh, p.kw) + p.stride - 1u - first_tap) / p.stride;
    for (var row = lane; row < BM; row += THREADS) {
        rows[row] = row_of(first_row + row);
    }
    accumulate(lane, 0u, taps.x * taps.y * p.co);
    for (var r = 0u; r < TM; r++) {
        for (var j = 0u; j < TN / 4u; j++) {
            store(first_row + tile_row(lane, r), first_column + tile_column(lane, j), sum_of(r, j));
        }
    }
}
