import { closeSync, openSync, readSync } from "node:fs";
import { delimiter, join } from "node:path";

const PT_INTERP = 3;

/** The first bytes of a file, undefined when it cannot be read. */
function head(path: string): Buffer | undefined {
  try {
    const fd = openSync(path, "r");
    try {
      const bytes = Buffer.alloc(4096);
      return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, 0));
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}

/**
 * Why the dynamic linker does not load a preload library into a program, as far as its file tells;
 * undefined when it does, or the file is no program for Linux.
 */
export function whyNotPreloaded(program: string, path: string): string | undefined {
  const places = program.includes("/") ? [program] : path.split(delimiter);
  const bytes = program.includes("/")
    ? head(program)
    : places.map((place) => head(join(place, program))).find((found) => found !== undefined);
  if (bytes === undefined || bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46) return;
  if (bytes[4] !== 2 || bytes.readUInt16LE(18) !== 62) return "is not for x86-64";
  const first = Number(bytes.readBigUInt64LE(32));
  const size = bytes.readUInt16LE(54);
  for (let i = 0; i < bytes.readUInt16LE(56); i++) {
    const at = first + i * size;
    // Headers far inside the file: not what linkers make.
    if (at + 4 > bytes.length || bytes.readUInt32LE(at) === PT_INTERP) return;
  }
  return "is statically linked";
}
