// @ts-check
/** SSE4.2 (CRC32 is in bit.mjs). Row format: spec/insn/README.md. */
export default [
  // comparison and strings
  "66 0F38 37 /r | pcmpgtq Vdq,Wdq | simd/int:pcmpgtq",
  "66 0F3A 60 /r ib | pcmpestrm Vdq,Wdq,Ib | simd/text:pcmpestrm",
  "66 0F3A 61 /r ib | pcmpestri Vdq,Wdq,Ib | simd/text:pcmpestri",
  "66 0F3A 62 /r ib | pcmpistrm Vdq,Wdq,Ib | simd/text:pcmpistrm",
  "66 0F3A 63 /r ib | pcmpistri Vdq,Wdq,Ib | simd/text:pcmpistri",
];
