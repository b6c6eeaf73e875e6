// The blocks of a flat buffer: `p.shared_len` elements, then one block of `p.distinct` elements a landmark.
fn block_start(block: u32) -> u32 {
    return select(p.shared_len + (block - 1u) * p.distinct, 0u, block == 0u);
}

fn block_len(block: u32) -> u32 {
    return select(p.distinct, p.shared_len, block == 0u);
}
