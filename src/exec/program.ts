import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, delimiter, dirname, join, resolve } from "node:path";

/** The environment variable that tells the preload library which server is its own. */
export const SOCKET_VARIABLE = "KVM_XEN_EXEC_SOCKET";

const PT_INTERP = 3;
/** `sizeof(Elf64_Phdr)`. */
const PHDR_SIZE = 56;
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

/** The file that a shell would start. */
function fileOf(program: string, path: string): string | undefined {
  const places = program.includes("/") ? [""] : path.split(delimiter);
  return places
    .map((place) => join(place, program))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return statSync(file).isFile();
      } catch {
        return false;
      }
    });
}

const SETUID = 0o4000;
/** Setgid, and what makes it one: a group may execute the file. */
const SETGID = 0o2010;

/** What gives a program rights that its user does not have: it ignores LD_PRELOAD then. */
function moreRights(file: string): string | undefined {
  const { mode, uid, gid } = statSync(file);
  const isSetuid = (mode & SETUID) !== 0 && uid !== process.getuid?.();
  const isSetgid = (mode & SETGID) === SETGID && gid !== process.getgid?.();
  if (!isSetuid && !isSetgid) return undefined;
  // Where this process gave that up for itself and its children, the bits do nothing.
  const forgone = /^NoNewPrivs:\s*1$/m.test(ownStatus());
  return forgone ? undefined : isSetuid ? "setuid" : "setgid";
}

/** Options of the dynamic linker that take a word of their own (`ld.so --help`). */
const LOADER_OPTIONS_WITH_WORD = new Set([
  "--library-path",
  "--glibc-hwcaps-prepend",
  "--glibc-hwcaps-mask",
  "--inhibit-rpath",
  "--audit",
  "--preload",
  "--argv0",
]);

const isLoader = (file: string): boolean =>
  /^ld(-linux)?[-.].*\bso\b/.test(basename(realpathSync(file)));

/** The program that a dynamic linker is told to run; undefined when it is none. */
function toldToLoader(args: readonly string[]): string | undefined {
  for (let i = 0; i < args.length; i++) {
    const word = args[i] as string;
    if (!word.startsWith("--")) return word;
    if (LOADER_OPTIONS_WITH_WORD.has(word)) i++;
  }
  return undefined;
}

/** Empty where there is no /proc. */
function ownStatus(): string {
  try {
    return readFileSync("/proc/self/status", "latin1");
  } catch {
    return "";
  }
}

/** Why the system does not start a program that is there, by what its file is. */
export function whyNotStartable(file: string): string | undefined {
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined) return undefined;
  if (found.isDirectory()) return "is a folder, not a program";
  if (!found.isFile()) return "is a device, a pipe or a socket, not a program";
  return (found.mode & 0o111) === 0 ? "is not executable: 'chmod +x' makes it so" : undefined;
}

/**
 * Why the dynamic linker does not load a preload library into a program, as far as its file tells, as a
 * sentence without its end; undefined when it does, or the file is no program for Linux. Where the program is
 * the dynamic linker itself (`ld-linux-x86-64.so.2 PROGRAM`), what it is told to run counts.
 */
export function whyNotPreloaded(
  program: string,
  args: readonly string[],
  path: string,
): string | undefined {
  const file = fileOf(program, path);
  if (file === undefined) return undefined;
  const bytes = head(file);
  // One that cannot be read can be started all the same.
  if (bytes !== undefined && (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46)) return;
  const rights = moreRights(file);
  if (rights !== undefined) return `${program} has more rights than its user (${rights})`;
  if (bytes === undefined) return undefined;
  if (isLoader(file)) {
    const told = toldToLoader(args);
    return told === undefined ? undefined : whyNotPreloaded(told, [], path);
  }
  const why = whyNotLinked(bytes);
  return why === undefined ? undefined : `${program} ${why}`;
}

/** The same, as far as the program's headers tell. */
function whyNotLinked(bytes: Buffer): string | undefined {
  if (bytes[4] !== 2 || bytes.readUInt16LE(18) !== 62) return "is not for x86-64";
  const first = Number(bytes.readBigUInt64LE(32));
  const size = bytes.readUInt16LE(54);
  // No program of this class: the system refuses it.
  if (size < PHDR_SIZE) return;
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

/** Whether any user can read a file: programs that root starts may become other users. */
function isOpenToAll(file: string): boolean {
  const isFolderOpen = (folder: string): boolean =>
    (statSync(folder).mode & 0o001) !== 0 &&
    (folder === dirname(folder) || isFolderOpen(dirname(folder)));
  return (statSync(file).mode & 0o004) !== 0 && isFolderOpen(dirname(realpathSync(file)));
}

/**
 * A name for a file that LD_PRELOAD can hold, which has lists and `$`; for as long as it is needed. A copy of
 * the file when only root could read it.
 */
export function preloadName(file: string): { readonly path: string; remove(): void } {
  const cannot = /[\s:$]/;
  const isHidden = process.getuid?.() === 0 && !isOpenToAll(file);
  if (!cannot.test(file) && !isHidden) return { path: file, remove() {} };
  // Programs that the client starts elsewhere, or as another user, look it up again.
  const place = resolve(tmpdir());
  const folder = mkdtempSync(join(cannot.test(place) ? "/tmp" : place, "kvm-xen-exec-"));
  chmodSync(folder, 0o755);
  const path = join(folder, "libkvm-xen-exec.so");
  if (isHidden) {
    copyFileSync(file, path);
    chmodSync(path, 0o755);
  } else symlinkSync(file, path);
  return { path, remove: () => rmSync(folder, { recursive: true }) };
}
