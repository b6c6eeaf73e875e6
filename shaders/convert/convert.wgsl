// y = x, stored in another type. One element a thread.
//
//   TO_F16, TO_F32   x or y is f32, the other f16; without them both are f32
#import lib/element
#if TO_F16
enable f16;
alias From = f32;
alias To = f16;
#else
#if TO_F32
enable f16;
alias From = f16;
#else
alias From = f32;
#endif
alias To = f32;
#endif

struct Params {
    base: u32,
    elements: u32,
    slice: u32,
    x_k: u32,
    y_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<From>;
@group(0) @binding(2) var<storage, read_write> y: array<To>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, count, lane);
    if i >= p.elements {
        return;
    }
    let k = i / p.slice;
    let e = i % p.slice;
    y[k * p.y_k + e] = To(x[k * p.x_k + e]);
}
