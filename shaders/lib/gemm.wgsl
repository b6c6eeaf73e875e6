// A tile of the matrix product c[row, column] = sum_k left[row, k] right[k, column], through workgroup memory.
//
// The file that imports this sets BM, BN, BK, TM, TN (a workgroup owns BM x BN outputs, a thread TM x TN of them, k goes in
// steps of BK) and LEFT_ALONG_K, RIGHT_ALONG_K (whether neighbouring k are neighbours in memory), and defines
//   fn inner(k: u32, end: u32) -> vec4<i32>            what the two below need to know of one k; those from `end` on give 0
//   fn left(quad: u32, at: vec4<i32>) -> vec4<f32>     left[4 quad + (0..4), k], rows counted within the tile; 0 outside
//   fn right(quad: u32, at: vec4<i32>) -> vec4<f32>    right[k, 4 quad + (0..4)], columns counted within the tile; 0 outside
// With VEC4 the four numbers are neighbours in memory. So along k these are of one row or column instead:
//   left(row, at) = left[row, k + (0..4)] and right(column, at) = right[k + (0..4), column], for k a multiple of 4.
//
// Each output is summed by one thread over ascending k with fused multiply-adds: its bits do not depend on the variant.
// Thread `lane` owns the rows of the quads lane / COLUMNS + i ROWS and the columns of the quads lane % COLUMNS + j COLUMNS.
const COLUMNS: u32 = BN / TN;
const ROWS: u32 = BM / TM;
const THREADS: u32 = ROWS * COLUMNS;
const VEC4: bool = false; // #const
// One quad of padding a row keeps writes along k off each other's memory banks.
const LEFT_ROW: u32 = BM / 4u + 1u;
const RIGHT_ROW: u32 = BN / 4u + 1u;

var<workgroup> left_tile: array<vec4<f32>, BK * LEFT_ROW>;
var<workgroup> right_tile: array<vec4<f32>, BK * RIGHT_ROW>;
var<workgroup> inners: array<vec4<i32>, BK>;
// [TM / 4, 4, TN / 4] vectors of four columns.
var<private> sums: array<vec4<f32>, TM * TN / 4u>;

fn look_up(lane: u32, k: u32, end: u32) {
    if lane < BK {
        inners[lane] = inner(k + lane, end);
    }
}

// What threads bring a step, in turn: quads, or blocks of 4 x 4 numbers where a quad of VEC4 lies along k.
const LEFT_UNITS: u32 = BM * BK / select(4u, 16u, VEC4 && LEFT_ALONG_K);
const RIGHT_UNITS: u32 = BN * BK / select(4u, 16u, VEC4 && RIGHT_ALONG_K);
// Threads that have less to bring of the left tile begin with the right one.
const RIGHT_FIRST: u32 = THREADS - LEFT_UNITS % THREADS;

struct Unit {
    k: u32,
    quad: u32,
}

// Neighbouring units are neighbours in memory.
fn unit(number: u32, quads: u32, along_k: bool) -> Unit {
    if along_k {
        return Unit(number % BK, number / BK);
    }
    return Unit(number / quads, number % quads);
}

fn block(number: u32) -> Unit {
    return Unit(4u * (number % (BK / 4u)), number / (BK / 4u));
}

fn stage_left(lane: u32) {
    for (var first = 0u; first < LEFT_UNITS; first += THREADS) {
        let number = first + lane;
        if LEFT_UNITS % THREADS != 0u && number >= LEFT_UNITS {
            return;
        }
        if VEC4 && LEFT_ALONG_K {
            let to = block(number);
            let at = inners[to.k];
            let row = 4u * to.quad;
            // Turned around in registers.
            let turned = transpose(mat4x4(left(row, at), left(row + 1u, at), left(row + 2u, at), left(row + 3u, at)));
            left_tile[to.k * LEFT_ROW + to.quad] = turned[0];
            left_tile[(to.k + 1u) * LEFT_ROW + to.quad] = turned[1];
            left_tile[(to.k + 2u) * LEFT_ROW + to.quad] = turned[2];
            left_tile[(to.k + 3u) * LEFT_ROW + to.quad] = turned[3];
        } else {
            let to = unit(number, BM / 4u, LEFT_ALONG_K);
            left_tile[to.k * LEFT_ROW + to.quad] = left(to.quad, inners[to.k]);
        }
    }
}

fn stage_right(lane: u32) {
    for (var first = 0u; first < RIGHT_UNITS; first += THREADS) {
        let number = first + (lane + RIGHT_FIRST) % THREADS;
        if RIGHT_UNITS % THREADS != 0u && number >= RIGHT_UNITS {
            return;
        }
        if VEC4 && RIGHT_ALONG_K {
            let to = block(number);
            let at = inners[to.k];
            let column = 4u * to.quad;
            let turned =
                transpose(mat4x4(right(column, at), right(column + 1u, at), right(column + 2u, at), right(column + 3u, at)));
            right_tile[to.k * RIGHT_ROW + to.quad] = turned[0];
            right_tile[(to.k + 1u) * RIGHT_ROW + to.quad] = turned[1];
            right_tile[(to.k + 2u) * RIGHT_ROW + to.quad] = turned[2];
            right_tile[(to.k + 3u) * RIGHT_ROW + to.quad] = turned[3];
        } else {
            let to = unit(number, BN / 4u, RIGHT_ALONG_K);
            right_tile[to.k * RIGHT_ROW + to.quad] = right(to.quad, inners[to.k]);
        }
    }
}

// Adds the product of the staged tiles.
fn multiply(lane: u32) {
    let row = lane / COLUMNS;
    let column = lane % COLUMNS;
    for (var k = 0u; k < BK; k++) {
        for (var i = 0u; i < TM / 4u; i++) {
            let a = left_tile[k * LEFT_ROW + row + i * ROWS];
            for (var j = 0u; j < TN / 4u; j++) {
                let b = right_tile[k * RIGHT_ROW + column + j * COLUMNS];
                let at = i * TN + j;
                sums[at] = fma(vec4(a.x), b, sums[at]);
                sums[at + TN / 4u] = fma(vec4(a.y), b, sums[at + TN / 4u]);
                sums[at + TN / 2u] = fma(vec4(a.z), b, sums[at + TN / 2u]);
                sums[at + 3u * TN / 4u] = fma(vec4(a.w), b, sums[at + 3u * TN / 4u]);
            }
        }
    }
}

// Adds the product over begin <= k < end; all threads of the workgroup together.
fn accumulate(lane: u32, begin: u32, end: u32) {
    look_up(lane, begin, end);
    workgroupBarrier();
    for (var k = begin; k < end; k += BK) {
        stage_left(lane);
        stage_right(lane);
        workgroupBarrier();
        look_up(lane, k + BK, end);
        multiply(lane);
        workgroupBarrier();
    }
}

// A thread's r-th row (r < TM) and the first column of its j-th quad (j < TN / 4), counted within the tile; their sums.
// Loops over these stay short, so that compilers unroll them and keep the sums in registers.
fn tile_row(lane: u32, r: u32) -> u32 {
    return 4u * (lane / COLUMNS + r / 4u * ROWS) + r % 4u;
}

fn tile_column(lane: u32, j: u32) -> u32 {
    return 4u * (lane % COLUMNS + j * COLUMNS);
}

fn sum_of(r: u32, j: u32) -> vec4<f32> {
    return sums[r * (TN / 4u) + j];
}
