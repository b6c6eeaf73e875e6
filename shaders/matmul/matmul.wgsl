// A matrix product for each landmark and sample, either operand transposed: y[k,n] = a[k,n] b[k,n].
//
// A workgroup owns a tile of BM rows x BN columns of one product; column tiles are fastest, then row tiles, samples,
// landmarks. The elements [row, i] of a and [i, column] of b lie at row a_row + i a_inner and i b_inner + column b_column;
// ALONG_K of each operand says that neighbouring i are neighbours in memory. `lib/gemm` says how the threads share a tile.
//
//   VEC4    operands in fours along their rows in memory, which are read four numbers at a time
//   EXACT   and tiles and steps that cover the products exactly: no bounds, and four numbers are written at a time
#import lib/grid
#import lib/numbers
#import lib/gemm

const BM: u32 = 32u; // #const
const BN: u32 = 32u; // #const
const BK: u32 = 16u; // #const
const TM: u32 = 4u; // #const
const TN: u32 = 4u; // #const
const LEFT_ALONG_K: bool = true; // #const
const RIGHT_ALONG_K: bool = true; // #const
const EXACT: bool = false; // #const

struct Params {
    base: u32,
    groups: u32,
    row_tiles: u32,
    column_tiles: u32,
    n: u32,
    rows: u32,
    columns: u32,
    length: u32,
    a_k: u32,
    a_n: u32,
    a_row: u32,
    a_inner: u32,
    b_k: u32,
    b_n: u32,
    b_inner: u32,
    b_column: u32,
    y_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<Numbers>;
@group(0) @binding(2) var<storage, read_write> b: array<Numbers>;
// Similarities are summed on: they stay in f32.
#if EXACT
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
#else
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
#endif

var<private> a_first: u32;
var<private> b_first: u32;
var<private> first_row: u32;
var<private> first_column: u32;

// (offset in a, offset in b, 1 or -1, -).
fn inner(k: u32, end: u32) -> vec4<i32> {
    return vec4(i32(a_first + k * p.a_inner), i32(b_first + k * p.b_inner), select(1, -1, k >= end), 0);
}

#if VEC4
fn left(index: u32, at: vec4<i32>) -> vec4<f32> {
    let row = first_row + select(4u * index, index, LEFT_ALONG_K);
    if !EXACT && (row >= p.rows || at.z < 0) {
        return vec4(0.0);
    }
    return vec4<f32>(a[(u32(at.x) + row * p.a_row) / 4u]);
}

fn right(index: u32, at: vec4<i32>) -> vec4<f32> {
    let column = first_column + select(4u * index, index, RIGHT_ALONG_K);
    if !EXACT && (column >= p.columns || at.z < 0) {
        return vec4(0.0);
    }
    return vec4<f32>(b[(u32(at.y) + column * p.b_column) / 4u]);
}
#else
fn a_at(row: u32, at: vec4<i32>) -> f32 {
    if first_row + row >= p.rows || at.z < 0 {
        return 0.0;
    }
    return f32(a[u32(at.x) + (first_row + row) * p.a_row]);
}

fn left(quad: u32, at: vec4<i32>) -> vec4<f32> {
    let row = 4u * quad;
    return vec4(a_at(row, at), a_at(row + 1u, at), a_at(row + 2u, at), a_at(row + 3u, at));
}

fn b_at(column: u32, at: vec4<i32>) -> f32 {
    if first_column + column >= p.columns || at.z < 0 {
        return 0.0;
    }
    return f32(b[u32(at.y) + (first_column + column) * p.b_column]);
}

fn right(quad: u32, at: vec4<i32>) -> vec4<f32> {
    let column = 4u * quad;
    return vec4(b_at(column, at), b_at(column + 1u, at), b_at(column + 2u, at), b_at(column + 3u, at));
}
#endif

fn store(image: u32, row: u32, column: u32, value: vec4<f32>) {
    let to = image / p.n * p.y_k + (image % p.n * p.rows + row) * p.columns + column;
#if EXACT
    y[to / 4u] = value;
#else
    if row >= p.rows {
        return;
    }
    for (var c = 0u; c < 4u; c++) {
        if column + c < p.columns {
            y[to + c] = value[c];
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
    let image = tile / (p.column_tiles * p.row_tiles);
    let k = image / p.n;
    let n = image % p.n;
    a_first = k * p.a_k + n * p.a_n;
    b_first = k * p.b_k + n * p.b_n;
    accumulate(lane, 0u, p.length);
    for (var r = 0u; r < TM; r++) {
        for (var j = 0u; j < TN / 4u; j++) {
            store(image, first_row + tile_row(lane, r), first_column + tile_column(lane, j), sum_of(r, j));
        }
    }
}
