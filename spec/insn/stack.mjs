// @ts-check
/** The stack. POP of segment registers is in system.mjs. */
export default [
  "50 +r | push Zv | ops/stack:push_Z<v> | d64",
  "58 +r | pop Zv | ops/stack:pop_Z<v> | d64",
  "68 iz | push Iz | ops/stack:push_I<v> | d64",
  "6A ib | push Ib | ops/stack:push_I<v> | d64",
  "FF /6 | push Ev | ops/stack:push_E<v> | d64",
  "8F /0 | pop Ev | ops/stack:pop_E<v> | d64",
  "06 | push ES | ops/stack:push_S<v> | i64",
  "0E | push CS | ops/stack:push_S<v> | i64",
  "16 | push SS | ops/stack:push_S<v> | i64",
  "1E | push DS | ops/stack:push_S<v> | i64",
  "0F A0 | push FS | ops/stack:push_S<v> | d64",
  "0F A8 | push GS | ops/stack:push_S<v> | d64",
  "60 | pusha | ops/stack:pusha<v> | i64",
  "61 | popa | ops/stack:popa<v> | i64",
  "C8 iwib | enter Iw,Ib | ops/stack:enter<v> | d64",
  "C9 | leave | ops/stack:leave<v> | d64",
  "9C | pushf | ops/stack:pushf<v> | d64",
  "9D | popf | ops/stack:popf<v> | d64",
];
