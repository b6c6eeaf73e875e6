// One element a thread, 256 threads a workgroup. `element` is the thread's; none where it is `p.elements` or more.
#import lib/grid

fn element(group: vec3<u32>, count: vec3<u32>, lane: u32) -> u32 {
    return linear_group(group, count) * 256u + lane;
}
