// y[o] = sum over t of x[o, t]: outputs o and terms t are products of up to three axes each, slowest first, axes with their own
// strides. A workgroup takes `width` neighbouring outputs and one of `slices` equal ranges of the terms: thread `rank * width +
// column` adds the terms rank, rank + 256 / width, ... of its column, and a fixed tree adds the ranks. Several slices
// give partial sums, `y_slice` apart, which a second dispatch adds.
#import lib/grid
#import lib/tree

struct Params {
    base: u32,
    outputs: u32,
    terms: u32,
    slices: u32,
    width: u32,
    y_slice: u32,
    out_1: u32,
    out_2: u32,
    term_1: u32,
    term_2: u32,
    x_out_0: u32,
    x_out_1: u32,
    x_out_2: u32,
    y_out_0: u32,
    y_out_1: u32,
    y_out_2: u32,
    x_term_0: u32,
    x_term_1: u32,
    x_term_2: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn term_offset(t: u32) -> u32 {
    if p.term_2 == p.terms {
        return t * p.x_term_2;
    }
    let rest = t / p.term_2;
    return rest / p.term_1 * p.x_term_0 + rest % p.term_1 * p.x_term_1 + t % p.term_2 * p.x_term_2;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let g = linear_group(group, count);
    let slice = g % p.slices;
    let column = lane % p.width;
    let ranks = 256u / p.width;
    let o = g / p.slices * p.width + column;
    let o_0 = o / (p.out_1 * p.out_2);
    let o_1 = o / p.out_2 % p.out_1;
    let o_2 = o % p.out_2;
    var sum = 0.0;
    if o < p.outputs {
        let start = o_0 * p.x_out_0 + o_1 * p.x_out_1 + o_2 * p.x_out_2;
        let len = (p.terms + p.slices - 1u) / p.slices;
        let end = min((slice + 1u) * len, p.terms);
        for (var t = slice * len + lane / p.width; t < end; t += ranks) {
            sum += x[start + term_offset(t)];
        }
    }
    sum = tree_sum(lane, ranks, p.width, sum);
    if o < p.outputs && lane < p.width {
        y[slice * p.y_slice + o_0 * p.y_out_0 + o_1 * p.y_out_1 + o_2 * p.y_out_2] = sum;
    }
}
