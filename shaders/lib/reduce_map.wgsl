// A map is one channel of one sample: p.pixels numbers that lie p.c apart. A workgroup of 256 threads has one map; channels
// are the fastest of the workgroups, then samples, then landmarks.
#import lib/grid
#import lib/reduce_sum

const WIDTH: u32 = 256u;

struct Map {
    k: u32,
    // The map's first pixel in the landmark's slice.
    first: u32,
}

fn map_of(group: u32) -> Map {
    let image = group / p.c;
    return Map(image / p.n, image % p.n * p.pixels * p.c + group % p.c);
}
