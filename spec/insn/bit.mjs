// @ts-check
/** Single bits, bit scans and counts, CRC32. */
export default [
  "0F A3 /r | bt Ev,Gv | ops/bit:bt_EG<v>",
  "0F AB /r | bts Ev,Gv | ops/bit:bts_EG<v> | lock",
  "0F B3 /r | btr Ev,Gv | ops/bit:btr_EG<v> | lock",
  "0F BB /r | btc Ev,Gv | ops/bit:btc_EG<v> | lock",
  "0F BA /4 ib | bt Ev,Ib | ops/bit:bt_EI<v>",
  "0F BA /5 ib | bts Ev,Ib | ops/bit:bts_EI<v> | lock",
  "0F BA /6 ib | btr Ev,Ib | ops/bit:btr_EI<v> | lock",
  "0F BA /7 ib | btc Ev,Ib | ops/bit:btc_EI<v> | lock",
  // With F3 these are TZCNT and LZCNT where CPUID has them; here it does not, and F3 means nothing.
  "0F BC /r | bsf Gv,Ev | ops/bit:bsf<v>",
  "0F BD /r | bsr Gv,Ev | ops/bit:bsr<v>",
  "F3 0F B8 /r | popcnt Gv,Ev | ops/bit:popcnt_GE<v>",
  "F2 0F38 F0 /r | crc32 Gd,Eb | ops/bit:crc32<b>",
  "F2 0F38 F1 /r | crc32 Gd,Ev | ops/bit:crc32<v>",
];
