// @ts-check
/** SSE3 (FISTTP is in x87.mjs, MONITOR and MWAIT in system.mjs). Row format: spec/insn/README.md. */
export default [
  // moves and sums of neighbours
  "F3 0F 12 /r | movsldup Vps,Wps | simd/move:movsldup",
  "F2 0F 12 /r | movddup Vpd,Wq | simd/move:movddup",
  "F3 0F 16 /r | movshdup Vps,Wps | simd/move:movshdup",
  "F2 0F F0 /r mem | lddqu Vdq,Mdq | simd/move:load16u",
  "66 0F 7C /r | haddpd Vpd,Wpd | simd/fp-packed:haddpd",
  "F2 0F 7C /r | haddps Vps,Wps | simd/fp-packed:haddps",
  "66 0F 7D /r | hsubpd Vpd,Wpd | simd/fp-packed:hsubpd",
  "F2 0F 7D /r | hsubps Vps,Wps | simd/fp-packed:hsubps",
  "66 0F D0 /r | addsubpd Vpd,Wpd | simd/fp-packed:addsubpd",
  "F2 0F D0 /r | addsubps Vps,Wps | simd/fp-packed:addsubps",
];
