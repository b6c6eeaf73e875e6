// What tensors are stored as: `Number`, and `Numbers` where a shader reads and writes four neighbours at once (VEC4).
alias Number = f32;
#if VEC4
alias Numbers = vec4<Number>;
#else
alias Numbers = Number;
#endif
