// What tensors are stored as: `Number`, f16 with F16, and `Numbers` where a shader reads and writes four neighbours at once
// (VEC4). Arithmetic is in f32.
#if F16
enable f16;
alias Number = f16;
#else
alias Number = f32;
#endif
#if VEC4
alias Numbers = vec4<Number>;
#else
alias Numbers = Number;
#endif
