// The linear index of a workgroup in its dispatch: `Params.base` is that of the first workgroup of this launch.
fn linear_group(id: vec3<u32>, count: vec3<u32>) -> u32 {
    return p.base + id.x + id.y * count.x;
}
