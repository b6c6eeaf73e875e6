// y[4 i + q, j] = rounds x[4 i + q] x[4 i + j], products of SIDE x SIDE matrices in f16, sums in f32. A workgroup has four
// matrices, a subgroup one of the left ones.
enable f16;
enable wgpu_cooperative_matrix;
#import lib/grid

#if EIGHT
const SIDE: u32 = 8u;
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;
#else
const SIDE: u32 = 16u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;
#endif
const SIZE: u32 = SIDE * SIDE;

struct Params {
    base: u32,
    // Workgroups of a landmark.
    groups: u32,
    x_k: u32,
    y_k: u32,
    rounds: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> matrices: array<f16, 4u * SIZE>;

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let index = linear_group(group, count);
    let k = index / p.groups;
    let first = index % p.groups * 4u;
    for (var e = lane; e < 4u * SIZE; e += 128u) {
        matrices[e] = f16(x[k * p.x_k + first * SIZE + e]);
    }
    workgroupBarrier();
    let q = subgroup % 4u;
    let a = coopLoadT<Left>(&matrices[q * SIZE], SIDE);
    let b0 = coopLoadT<Right>(&matrices[0], SIDE);
    let b1 = coopLoadT<Right>(&matrices[SIZE], SIDE);
    let b2 = coopLoadT<Right>(&matrices[2u * SIZE], SIDE);
    let b3 = coopLoadT<Right>(&matrices[3u * SIZE], SIDE);
    var c0 = Sums();
    var c1 = Sums();
    var c2 = Sums();
    var c3 = Sums();
    for (var round = 0u; round < p.rounds; round++) {
        c0 = coopMultiplyAdd(a, b0, c0);
        c1 = coopMultiplyAdd(a, b1, c1);
        c2 = coopMultiplyAdd(a, b2, c2);
        c3 = coopMultiplyAdd(a, b3, c3);
    }
    let to = k * p.y_k + (first + q) * 4u * SIZE;
    coopStoreT(c0, &y[to], SIDE);
    coopStoreT(c1, &y[to + SIZE], SIDE);
    coopStoreT(c2, &y[to + 2u * SIZE], SIDE);
    coopStoreT(c3, &y[to + 3u * SIZE], SIDE);
}
