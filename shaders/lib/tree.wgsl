// The sum over the `ranks` threads of a column, in a workgroup of 256; `lane` is rank * stride + column, ranks a power of two.
// The tree is fixed. All threads call it; every thread of a column gets the column's sum.
var<workgroup> tree: array<f32, 256>;

fn tree_sum(lane: u32, ranks: u32, stride: u32, value: f32) -> f32 {
    tree[lane] = value;
    workgroupBarrier();
    let rank = lane / stride;
    for (var half = ranks / 2u; half > 0u; half /= 2u) {
        if rank < half {
            tree[lane] += tree[lane + half * stride];
        }
        workgroupBarrier();
    }
    let sum = tree[lane % stride];
    // The memory may be written again at once.
    workgroupBarrier();
    return sum;
}
