// The maximum of a map of x and the sum of exp(x - maximum); all threads of the workgroup together.
#import lib/reduce_map

var<workgroup> largest: array<f32, WIDTH>;

fn max_and_sum(t: u32, first: u32) -> vec2<f32> {
    var greatest = x[first];
    for (var i = t; i < p.pixels; i += WIDTH) {
        greatest = max(greatest, x[first + i * p.c]);
    }
    workgroupBarrier();
    largest[t] = greatest;
    workgroupBarrier();
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        if t < half {
            largest[t] = max(largest[t], largest[t + half]);
        }
        workgroupBarrier();
    }
    greatest = largest[0];
    var exponentials = 0.0;
    for (var i = t; i < p.pixels; i += WIDTH) {
        exponentials += exp(x[first + i * p.c] - greatest);
    }
    return vec2(greatest, sum(t, exponentials));
}
