// Gradient of the convolution with respect to its weight, a slice of the output pixels at a time.
//
//   dw[k,slice,o,ky,kx,i] = sum_{n,oy,ox in slice} dy[k,n,oy,ox,o] x[k,n, s oy + ky - p, s ox + kx - p, i]
//
// An implicit matrix product: rows are output channels o, columns are (ky, kx, i), the inner index runs over the slice's
// output pixels (n, oy, ox), or (k, n, oy, ox) where all landmarks share the weight. A workgroup owns a tile of BM x BN
// numbers of one slice; column tiles are fastest, then row tiles, slices, landmarks. `lib/gemm` says how the threads share a
// tile, `conv2d_grad_weight_sum` adds the slices.
//
//   VEC4    c_in and c_out in fours: memory is read and written four numbers at a time
//   EXACT   and tiles and steps that cover the product exactly: no bounds but the image's border
#import lib/grid
#import lib/numbers
#import lib/gemm

const BM: u32 = 32u; // #const
const BN: u32 = 32u; // #const
const BK: u32 = 16u; // #const
const TM: u32 = 4u; // #const
const TN: u32 = 4u; // #const
const LEFT_ALONG_K: bool = false;
const RIGHT_ALONG_K: bool = false;
const EXACT: bool = false; // #const

#import lib/conv2d_grad_weight_params

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Numbers>;
@group(0) @binding(2) var<storage, read_write> dy: array<Numbers>;
// The gradient itself where there is one slice.
@group(0) @binding(3) var<storage, read_write> dw: array<Numbers>;

// Of each column of the tile: its offset in x from tap (0, 0), channel 0; ky; kx.
var<workgroup> columns: array<vec4<i32>, BN>;
var<private> landmark: u32;
var<private> first_row: u32;

fn column_of(column: u32) -> vec4<i32> {
    if column >= p.kh * p.kw * p.ci {
        return vec4(0, -1073741824, 0, 0);
    }
    let tap = column / p.ci;
    let ky = tap / p.kw;
    let kx = tap % p.kw;
    return vec4(i32((ky * p.w + kx) * p.ci + column % p.ci), i32(ky), i32(kx), 0);
}

// Of an output pixel: (offset in x of its tap (0, 0), row and column of that, offset in dy or -1).
fn inner(k: u32, end: u32) -> vec4<i32> {
    if k >= end {
        return vec4(0, -1073741824, 0, -1);
    }
    let image = k / (p.oh * p.ow);
    // Beyond the batch lie the next landmarks, of whom a workgroup with a landmark of its own meets none.
    let who = landmark + image / p.n;
    let n = image % p.n;
    let iy = i32(k / p.ow % p.oh * p.stride) - i32(p.pad);
    let ix = i32(k % p.ow * p.stride) - i32(p.pad);
    let start = i32(who * p.x_k) + ((i32(n * p.h) + iy) * i32(p.w) + ix) * i32(p.ci);
    return vec4(start, iy, ix, i32(who * p.dy_k + (k - (image - n) * p.oh * p.ow) * p.co));
}

#if VEC4
fn left(quad: u32, at: vec4<i32>) -> vec4<f32> {
    let o = first_row + 4u * quad;
    if !EXACT && (o >= p.co || at.w < 0) {
        return vec4(0.0);
    }
    return vec4<f32>(dy[(u32(at.w) + o) / 4u]);
}

fn right(quad: u32, at: vec4<i32>) -> vec4<f32> {
    let to = columns[4u * quad] + at;
    if u32(to.y) >= p.h || u32(to.z) >= p.w {
        return vec4(0.0);
    }
    return vec4<f32>(x[u32(to.x) / 4u]);
}
#else
fn gradient(row: u32, at: vec4<i32>) -> f32 {
    let o = first_row + row;
    if o >= p.co || at.w < 0 {
        return 0.0;
    }
    return f32(dy[u32(at.w) + o]);
}

fn left(quad: u32, at: vec4<i32>) -> vec4<f32> {
    let row = 4u * quad;
    return vec4(gradient(row, at), gradient(row + 1u, at), gradient(row + 2u, at), gradient(row + 3u, at));
}

fn pixel(column: u32, at: vec4<i32>) -> f32 {
    let to = columns[column] + at;
    if u32(to.y) >= p.h || u32(to.z) >= p.w {
        return 0.0;
    }
    return f32(x[u32(to.x)]);
}

fn right(quad: u32, at: vec4<i32>) -> vec4<f32> {
    let column = 4u * quad;
    return vec4(pixel(column, at), pixel(column + 1u, at), pixel(column + 2u, at), pixel(column + 3u, at));
}
#endif

fn store(slice: u32, o: u32, column: u32, value: vec4<f32>) {
    if !EXACT && o >= p.co {
        return;
    }
    let length = p.kh * p.kw * p.ci;
    let to = landmark * p.dw_k + (slice * p.co + o) * length + column;
#if VEC4
    if EXACT || column < length {
        dw[to / 4u] = Numbers(value);
    }
#else
    for (var c = 0u; c < 4u; c++) {
        if column + c < length {
            dw[to + c] = Number(value[c]);
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
    let first_column = tile % p.column_tiles * BN;
    first_row = tile / p.column_tiles % p.row_tiles * BM;
    let partial = tile / (p.column_tiles * p.row_tiles);
    let slice = partial % p.slices;
    landmark = partial / p.slices;
    for (var column = lane; column < BN; column += THREADS) {
        columns[column] = column_of(first_column + column);
    }
    accumulate(lane, slice * p.slice_pixels, min((slice + 1u) * p.slice_pixels, p.pixels));
    for (var r = 0u; r < TM; r++) {
        for (var j = 0u; j < TN / 4u; j++) {
            store(slice, first_row + tile_row(lane, r), first_column + tile_column(lane, j), sum_of(r, j));
        }
    }
}
