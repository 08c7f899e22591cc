// @ts-check
/** Far jumps, calls and returns, IRET. */
export default [
  "EA far | jmp Ap | cpu/far:jmp_far<v> | i64 end",
  "9A far | call Ap | cpu/far:call_far<v> | i64 end",
  "FF /5 mem | jmp Mp | cpu/far:jmp_far_M<v> | end",
  "FF /3 mem | call Mp | cpu/far:call_far_M<v> | end",
  "CB | retf | cpu/return:retf<v> | end",
  "CA iw | retf Iw | cpu/return:retf_I<v> | end",
  "CF | iret | cpu/return:iret<v> | end",
];
