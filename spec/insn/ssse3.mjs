// @ts-check
/** SSSE3 on XMM registers; the MMX forms are in mmx.mjs. Row format: spec/insn/README.md. */
export default [
  // integers
  "66 0F38 00 /r | pshufb Vdq,Wdq | simd/shuffle:pshufb",
  "66 0F38 01 /r | phaddw Vdq,Wdq | simd/mul:phaddw",
  "66 0F38 02 /r | phaddd Vdq,Wdq | simd/mul:phaddd",
  "66 0F38 03 /r | phaddsw Vdq,Wdq | simd/mul:phaddsw",
  "66 0F38 04 /r | pmaddubsw Vdq,Wdq | simd/mul:pmaddubsw",
  "66 0F38 05 /r | phsubw Vdq,Wdq | simd/mul:phsubw",
  "66 0F38 06 /r | phsubd Vdq,Wdq | simd/mul:phsubd",
  "66 0F38 07 /r | phsubsw Vdq,Wdq | simd/mul:phsubsw",
  "66 0F38 08 /r | psignb Vdq,Wdq | simd/mul:psignb",
  "66 0F38 09 /r | psignw Vdq,Wdq | simd/mul:psignw",
  "66 0F38 0A /r | psignd Vdq,Wdq | simd/mul:psignd",
  "66 0F38 0B /r | pmulhrsw Vdq,Wdq | simd/mul:pmulhrsw",
  "66 0F38 1C /r | pabsb Vdq,Wdq | simd/int:pabsb",
  "66 0F38 1D /r | pabsw Vdq,Wdq | simd/int:pabsw",
  "66 0F38 1E /r | pabsd Vdq,Wdq | simd/int:pabsd",
  "66 0F3A 0F /r ib | palignr Vdq,Wdq,Ib | simd/shuffle:palignr",
];
