// @ts-check
/** Near branches. */
const CONDITIONS = Array.from({ length: 16 }, (_, cc) => cc);
const hex = (/** @type {number} */ n) => n.toString(16).toUpperCase().padStart(2, "0");

export default [
  ...CONDITIONS.map((cc) => `${hex(0x70 + cc)} rel8 | jcc Jb | ops/branch:jcc<v> | f64`),
  ...CONDITIONS.map((cc) => `0F ${hex(0x80 + cc)} relz | jcc Jz | ops/branch:jcc<v> | f64`),
  "EB rel8 | jmp Jb | ops/branch:jmp_J<v> | f64 end",
  "E9 relz | jmp Jz | ops/branch:jmp_J<v> | f64 end",
  "FF /4 | jmp Ev | ops/branch:jmp_E<v> | f64 end",
  "E8 relz | call Jz | ops/branch:call_J<v> | f64 end",
  "FF /2 | call Ev | ops/branch:call_E<v> | f64 end",
  "C3 | ret | ops/branch:ret<v> | f64 end",
  "C2 iw | ret Iw | ops/branch:ret_I<v> | f64 end",
  "E0 rel8 | loopne Jb | ops/branch:loopne<v> | f64",
  "E1 rel8 | loope Jb | ops/branch:loope<v> | f64",
  "E2 rel8 | loop Jb | ops/branch:loop<v> | f64",
  "E3 rel8 | jcxz Jb | ops/branch:jcxz<v> | f64",
];
