// A tile of the matrix product c[long, short] = sum_k a[long, k] b[k, short] in the registers of one subgroup, for CPUs that play
// a GPU: a subgroup is one of their vectors, so that a multiply-add of all its threads costs an instruction, a load by each of
// them eight loops, and a barrier that everything is spilled.
//
// A workgroup of 8 threads, one subgroup, owns 64 x SHORT numbers. Thread `lane` owns those of the long side's 8 r + lane, r < 8.
// Of the short side it loads 8 q + lane; the eight exchange these. The file that imports this defines
//   fn long(r: u32, k: u32) -> f32                     a[8 r + lane, k]
//   fn short(q: u32, k: u32) -> f32                    b[k, 8 q + lane]
//   fn store(r: u32, column: u32, value: vec4<f32>)    c[8 (r + (0..4)) + lane, column], column < SHORT
// What lies outside the product is a copy of its last row or column: it costs no test, and is written again as it is.
//
// Each number is summed by one thread over ascending k with fused multiply-adds, as in `lib/gemm`.
//
//   WIDE    SHORT is 32, else 16
#if WIDE
const SHORT: u32 = 32u;
#else
const SHORT: u32 = 16u;
#endif
const LONG: u32 = 64u;

var<private> lane: u32;
// [SHORT, 2] vectors of four of a thread's numbers of the long side. Loops over them are short and the rest is written out, so that
// compilers unroll them and every index is a constant.
var<private> sums: array<vec4<f32>, 2u * SHORT>;

fn begin_eight(q: u32, value: f32) {
    for (var j = 0u; j < 8u; j++) {
        let same = vec4(subgroupShuffle(value, j));
        sums[16u * q + 2u * j] = same;
        sums[16u * q + 2u * j + 1u] = same;
    }
}

fn add_eight(q: u32, low: vec4<f32>, high: vec4<f32>, value: f32) {
    for (var j = 0u; j < 8u; j++) {
        let factor = vec4(subgroupShuffle(value, j));
        let at = 16u * q + 2u * j;
        sums[at] = fma(low, factor, sums[at]);
        sums[at + 1u] = fma(high, factor, sums[at + 1u]);
    }
}

fn store_eight(q: u32) {
    for (var j = 0u; j < 8u; j++) {
        store(0u, 8u * q + j, sums[16u * q + 2u * j]);
        store(4u, 8u * q + j, sums[16u * q + 2u * j + 1u]);
    }
}

// Adds a[.., k] b[k, ..].
fn add(k: u32) {
    let low = vec4(long(0u, k), long(1u, k), long(2u, k), long(3u, k));
    let high = vec4(long(4u, k), long(5u, k), long(6u, k), long(7u, k));
    add_eight(0u, low, high, short(0u, k));
    add_eight(1u, low, high, short(1u, k));
#if WIDE
    add_eight(2u, low, high, short(2u, k));
    add_eight(3u, low, high, short(3u, k));
#endif
}

fn store_all() {
    store_eight(0u);
    store_eight(1u);
#if WIDE
    store_eight(2u);
    store_eight(3u);
#endif
}
