// @ts-check
/** Flags; CLI and STI are in system.mjs. */
export default [
  "F5 | cmc | ops/flag:cmc",
  "F8 | clc | ops/flag:clc",
  "F9 | stc | ops/flag:stc",
  "FC | cld | ops/flag:cld",
  "FD | std | ops/flag:std",
  "9F | lahf | ops/flag:lahf",
  "9E | sahf | ops/flag:sahf",
  "D6 | salc | ops/flag:salc | i64",
];
