import { type CpioEntry, writeCpio } from "./cpio.js";

/**
 * A root file system of busybox alone, as an initramfs. It is not compressed: unpacking it inside
 * the guest would cost more than the bytes do.
 */
export function busyboxInitramfs(
  busybox: Uint8Array,
  init: Uint8Array,
  more: readonly CpioEntry[] = [],
): Uint8Array {
  return writeCpio([
    { kind: "folder", path: "bin" },
    { kind: "folder", path: "dev" },
    { kind: "device", path: "dev/console", major: 5, minor: 1 },
    { kind: "file", path: "bin/busybox", mode: 0o755, data: busybox },
    { kind: "file", path: "init", mode: 0o755, data: init },
    ...more,
  ]);
}
