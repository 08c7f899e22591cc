// @ts-check
/**
 * No operation, undefined operation, BOUND. Where Intel has a register form of PREFETCHW and ModRM bytes
 * of UD0 and UD1, AMD raises #UD before it looks at them.
 */
const HINTS = [0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f];

export default [
  "F3 90 | pause | cpu/idle:pause",
  "0F 0D /r mem | prefetchw Mb | ops/misc:nop",
  "0F 18 /r | prefetch Ev | ops/misc:nop",
  // ENDBR32 and ENDBR64 are among these.
  ...HINTS.map((op) => `0F ${op.toString(16).toUpperCase()} /r | nop Ev | ops/misc:nop`),
  "0F 0B | ud2 | ops/misc:ud | end",
  "0F B9 | ud1 | ops/misc:ud | end",
  "0F FF | ud0 | ops/misc:ud | end",
  "62 /r mem | bound Gv,Ma | ops/misc:bound<v> | i64",
];
