// @ts-check
/** Decimal arithmetic of 16- and 32-bit code. */
export default [
  "27 | daa | ops/bcd:daa | i64",
  "2F | das | ops/bcd:das | i64",
  "37 | aaa | ops/bcd:aaa | i64",
  "3F | aas | ops/bcd:aas | i64",
  "D4 ib | aam Ib | ops/bcd:aam | i64",
  "D5 ib | aad Ib | ops/bcd:aad | i64",
];
