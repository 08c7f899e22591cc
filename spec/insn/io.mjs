// @ts-check
/** Ports. */
export default [
  "E4 ib | in AL,Ib | cpu/io:in_I<b>",
  "E5 ib | in eAX,Ib | cpu/io:in_I<v>",
  "EC | in AL,DX | cpu/io:in_DX<b>",
  "ED | in eAX,DX | cpu/io:in_DX<v>",
  "E6 ib | out Ib,AL | cpu/io:out_I<b>",
  "E7 ib | out Ib,eAX | cpu/io:out_I<v>",
  "EE | out DX,AL | cpu/io:out_DX<b>",
  "EF | out DX,eAX | cpu/io:out_DX<v>",
  "6C | ins Yb,DX | cpu/io:ins<b>",
  "6D | ins Yv,DX | cpu/io:ins<v>",
  "6E | outs DX,Xb | cpu/io:outs<b>",
  "6F | outs DX,Xv | cpu/io:outs<v>",
];
