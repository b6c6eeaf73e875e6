// The convolution of `conv/conv2d.wgsl` on matrix units: f16 operands, f32 sums.
//
// A workgroup owns a tile of 4 SIDE pixels x 4 SIDE channels, each of its four subgroups a quarter of it: 2 x 2 fragments of
// SIDE x SIDE. The inner index goes in steps of BK; both tiles lie along it, as memory does. The adapter's t = v x, of at most
// SIDE ranks, is a product over the centre tap, rounded to f16 and multiplied by u. Where a device has more than four subgroups a
// workgroup, those that are left do what another does. c_in and c_out are in fours.
//
//   EIGHT   SIDE is 8 and tiles are scalar, as simdgroup matrices of Metal need it
enable f16;
enable wgpu_cooperative_matrix;
#import lib/grid
#import lib/activate

#if EIGHT
const SIDE: u32 = 8u;
const CELL: u32 = 1u;
alias Cell = f16;
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;
#else
const SIDE: u32 = 16u;
const CELL: u32 = 4u;
alias Cell = vec4<f16>;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;
#endif
const THREADS: u32 = 128u;
const BM: u32 = 4u * SIDE;
const BN: u32 = 4u * SIDE;
const BK: u32 = 32u;
// Numbers from one row of a tile to the next: padding keeps rows off each other's memory banks.
const ROW: u32 = BK + 8u;

#import lib/conv2d_params

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read_write> w: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read_write> b: array<f16>;
@group(0) @binding(4) var<storage, read_write> v: array<vec4<f16>>;
@group(0) @binding(5) var<storage, read_write> u: array<f16>;
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f16>>;

var<workgroup> left_tile: array<Cell, BM * ROW / CELL>;
var<workgroup> right_tile: array<Cell, BN * ROW / CELL>;
// Fragments of sums, one a subgroup.
var<workgroup> fragments: array<f32, 4u * SIDE * SIDE>;
// As in `conv/conv2d.wgsl`, the inner index in fours.
var<workgroup> rows: array<vec4<i32>, BM>;
var<workgroup> inners: array<vec4<i32>, BK / 4u>;
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

fn inner(k: u32, end: u32) -> vec4<i32> {
    if k >= end {
        return vec4(0, -1073741824, 0, -1);
    }
    let tap = k / p.ci;
    let ky = tap / p.kw;
    let kx = tap % p.kw;
    return vec4(i32((ky * p.w + kx) * p.ci + k % p.ci), i32(ky), i32(kx), i32(k));
}

fn look_up(lane: u32, k: u32, end: u32) {
    if lane < BK / 4u {
        inners[lane] = inner(k + 4u * lane, end);
    }
}

fn put_left(quad: u32, value: vec4<f16>) {
#if EIGHT
    left_tile[4u * quad] = value.x;
    left_tile[4u * quad + 1u] = value.y;
    left_tile[4u * quad + 2u] = value.z;
    left_tile[4u * quad + 3u] = value.w;
#else
    left_tile[quad] = value;
#endif
}

fn put_right(quad: u32, value: vec4<f16>) {
#if EIGHT
    right_tile[4u * quad] = value.x;
    right_tile[4u * quad + 1u] = value.y;
    right_tile[4u * quad + 2u] = value.z;
    right_tile[4u * quad + 3u] = value.w;
#else
    right_tile[quad] = value;
#endif
}

// Input pixels.
fn stage_left(lane: u32) {
    for (var unit = lane; unit < BM * BK / 4u; unit += THREADS) {
        let row = unit / (BK / 4u);
        let to = rows[row] + inners[unit % (BK / 4u)];
        var value = vec4<f16>();
        if u32(to.y) < p.h && u32(to.z) < p.w {
            value = x[(landmark * p.x_k + u32(to.x)) / 4u];
        }
        put_left(row * (ROW / 4u) + unit % (BK / 4u), value);
    }
}

// w[k,o,ky,kx,i]
fn stage_weight(lane: u32) {
    for (var unit = lane; unit < BN * BK / 4u; unit += THREADS) {
        let column = unit / (BK / 4u);
        let at = inners[unit % (BK / 4u)].w;
        let o = first_column + column;
        var value = vec4<f16>();
        if o < p.co && at >= 0 {
            value = w[(landmark * p.w_k + o * p.kh * p.kw * p.ci + u32(at)) / 4u];
        }
        put_right(column * (ROW / 4u) + unit % (BK / 4u), value);
    }
}

// v[k,r,i], for inner indices from `begin` on.
fn stage_down(lane: u32, begin: u32) {
    for (var unit = lane; unit < SIDE * BK / 4u; unit += THREADS) {
        let r = unit / (BK / 4u);
        let at = inners[unit % (BK / 4u)].w;
        var value = vec4<f16>();
        if r < p.rank && at >= 0 {
            value = v[(landmark * p.v_k + r * p.ci + u32(at) - begin) / 4u];
        }
        put_right(r * (ROW / 4u) + unit % (BK / 4u), value);
    }
}

// u[k,o,r]
fn up(o: u32, r: u32) -> f16 {
    if o >= p.co || r >= p.rank {
        return f16();
    }
    return u[landmark * p.u_k + o * p.rank + r];
}

// t, from the subgroups' fragments, and u.
fn stage_up(lane: u32) {
    for (var unit = lane; unit < BM * SIDE / 4u; unit += THREADS) {
        let at = 4u * unit;
        let t = vec4(fragments[at], fragments[at + 1u], fragments[at + 2u], fragments[at + 3u]);
        put_left(at / SIDE * (ROW / 4u) + unit % (SIDE / 4u), vec4<f16>(t));
    }
    for (var unit = lane; unit < BN * SIDE / 4u; unit += THREADS) {
        let column = unit / (SIDE / 4u);
        let o = first_column + column;
        let r = 4u * (unit % (SIDE / 4u));
        put_right(column * (ROW / 4u) + r / 4u, vec4(up(o, r), up(o, r + 1u), up(o, r + 2u), up(o, r + 3u)));
    }
}

fn bias(o: u32) -> f32 {
    if p.bias == 0u {
        return 0.0;
    }
    return f32(b[landmark * p.b_k + o]);
}

// Writes the fragments at (i, j) of all quarters.
fn store(lane: u32, i: u32, j: u32) {
    for (var unit = lane; unit < SIDE * SIDE; unit += THREADS) {
        let at = 4u * unit;
        let quarter = at / (SIDE * SIDE);
        let row = first_row + (quarter / 2u * 2u + i) * SIDE + at / SIDE % SIDE;
        let o = first_column + (quarter % 2u * 2u + j) * SIDE + at % SIDE;
        if row < p.pixels && o < p.co {
            let sum = vec4(fragments[at], fragments[at + 1u], fragments[at + 2u], fragments[at + 3u]);
            let value = sum + vec4(bias(o), bias(o + 1u), bias(o + 2u), bias(o + 3u));
            y[(landmark * p.y_k + row * p.co + o) / 4u] = vec4<f16>(activate4(p.activation, value));
        }
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    // No return for tiles beyond the last: launches have none, and matrices need the control flow to be uniform.
    let tile = linear_group(group, count);
    first_column = tile % p.column_tiles * BN;
    first_row = tile / p.column_tiles % p.row_tiles * BM;
    landmark = tile / (p.column_tiles * p.row_tiles);
    for (var row = lane; row < BM; row += THREADS) {
        rows[row] = row_of(first_row + row);
    }
    let quarter = subgroup % 4u;
    let of_left = quarter / 2u * 2u * SIDE * ROW;
    let of_right = quarter % 2u * 2u * SIDE * ROW;
    var c00 = Sums();
    var c01 = Sums();
    var c10 = Sums();
    var c11 = Sums();

    let length = p.kh * p.kw * p.ci;
    look_up(lane, 0u, length);
    workgroupBarrier();
    for (var k = 0u; k < length; k += BK) {
        stage_left(lane);
        stage_weight(lane);
        workgroupBarrier();
        look_up(lane, k + BK, length);
        for (var i = 0u; i < BK; i += SIDE) {
            let a0 = coopLoadT<Left>(&left_tile[(of_left + i) / CELL], ROW / CELL);
            let a1 = coopLoadT<Left>(&left_tile[(of_left + SIDE * ROW + i) / CELL], ROW / CELL);
            let b0 = coopLoad<Right>(&right_tile[(of_right + i) / CELL], ROW / CELL);
            let b1 = coopLoad<Right>(&right_tile[(of_right + SIDE * ROW + i) / CELL], ROW / CELL);
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
        }
        workgroupBarrier();
    }

    if p.rank > 0u {
        let begin = (p.kh / 2u * p.kw + p.kw / 2u) * p.ci;
        let end = begin + p.ci;
        var t = Sums();
        look_up(lane, begin, end);
        workgroupBarrier();
        for (var k = begin; k < end; k += BK) {
            stage_left(lane);
            stage_down(lane, begin);
            workgroupBarrier();
            look_up(lane, k + BK, end);
            for (var i = 0u; i < BK; i += SIDE) {
                let a = coopLoadT<Left>(&left_tile[(quarter * SIDE * ROW + i) / CELL], ROW / CELL);
                t = coopMultiplyAdd(a, coopLoad<Right>(&right_tile[i / CELL], ROW / CELL), t);
            }
            workgroupBarrier();
        }
        coopStoreT(t, &fragments[quarter * SIDE * SIDE], SIDE);
        workgroupBarrier();
        stage_up(lane);
        workgroupBarrier();
        let a0 = coopLoadT<Left>(&left_tile[of_left / CELL], ROW / CELL);
        let a1 = coopLoadT<Left>(&left_tile[(of_left + SIDE * ROW) / CELL], ROW / CELL);
        let b0 = coopLoad<Right>(&right_tile[of_right / CELL], ROW / CELL);
        let b1 = coopLoad<Right>(&right_tile[(of_right + SIDE * ROW) / CELL], ROW / CELL);
        c00 = coopMultiplyAdd(a0, b0, c00);
        c01 = coopMultiplyAdd(a0, b1, c01);
        c10 = coopMultiplyAdd(a1, b0, c10);
        c11 = coopMultiplyAdd(a1, b1, c11);
    }

    coopStoreT(c00, &fragments[quarter * SIDE * SIDE], SIDE);
    workgroupBarrier();
    store(lane, 0u, 0u);
    workgroupBarrier();
    coopStoreT(c01, &fragments[quarter * SIDE * SIDE], SIDE);
    workgroupBarrier();
    store(lane, 0u, 1u);
    workgroupBarrier();
    coopStoreT(c10, &fragments[quarter * SIDE * SIDE], SIDE);
    workgroupBarrier();
    store(lane, 1u, 0u);
    workgroupBarrier();
    coopStoreT(c11, &fragments[quarter * SIDE * SIDE], SIDE);
    workgroupBarrier();
    store(lane, 1u, 1u);
}
