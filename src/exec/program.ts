import { closeSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The environment variable that tells the preload library which server is its own. */
export const SOCKET_VARIABLE = "KVM_XEN_EXEC_SOCKET";

const PT_INTERP = 3;
/** Where a program header says where its part of the file is. */
const P_OFFSET = 8;

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
    if (at + size > bytes.length) return;
    if (bytes.readUInt32LE(at) !== PT_INTERP) continue;
    const offset = Number(bytes.readBigUInt64LE(at + P_OFFSET));
    return bytes.toString("latin1", offset, offset + 64).includes("ld-musl")
      ? "uses musl, not glibc"
      : undefined;
  }
  return "is statically linked";
}

/** The state of a process as /proc has it ("R", "S", "T", "Z"...); undefined when there is none. */
export function stateOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.at(stat.lastIndexOf(")") + 2);
  } catch {
    return undefined;
  }
}

/** Whether a process runs that was started with this in its environment ("NAME=value"). */
export function isAnyStartedWith(variable: string): boolean {
  return readdirSync("/proc").some((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(variable);
    } catch {
      return false;
    }
  });
}
