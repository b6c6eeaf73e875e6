// Work on an image's pixels channel by channel: a workgroup of 256 threads has `p.chunk` pixels of one image and a block of
// `p.block` channels. Thread t works on the block's channel t % p.block and on every p.lanes-th pixel of the chunk; the
// p.lanes threads of a channel are its lanes. Blocks are the fastest of the workgroups, then chunks, then images.
#import lib/grid

struct Lane {
    image: u32,
    chunk: u32,
    channel: u32,
    // The lane's pixels: begin, begin + p.lanes, ... below end; none for a thread without a channel.
    begin: u32,
    end: u32,
}

fn lane_of(group: u32, t: u32) -> Lane {
    let blocks = (p.c + p.block - 1u) / p.block;
    let chunk = group / blocks % p.chunks;
    let channel = group % blocks * p.block + t % p.block;
    let begin = chunk * p.chunk + t / p.block;
    let works = t / p.block < p.lanes && channel < p.c;
    let end = select(begin, min((chunk + 1u) * p.chunk, p.pixels), works);
    return Lane(group / blocks / p.chunks, chunk, channel, begin, end);
}

var<workgroup> partial: array<vec2<f32>, 256>;

// The sum over the lanes of thread t's channel, in the order of a fixed tree; all threads of the workgroup together.
fn sum_lanes(t: u32, value: vec2<f32>) -> vec2<f32> {
    workgroupBarrier();
    partial[t] = value;
    workgroupBarrier();
    let lane = t / p.block;
    for (var lanes = p.lanes; lanes > 1u;) {
        let half = (lanes + 1u) / 2u;
        if lane + half < lanes {
            partial[t] += partial[t + half * p.block];
        }
        workgroupBarrier();
        lanes = half;
    }
    return partial[t % p.block];
}
