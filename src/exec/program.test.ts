import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, isAbsolute, join, relative } from "node:path";
import { expect, it, vi } from "vitest";
import { preloadName, whyNotPreloaded, whyNotStartable } from "./program.js";

/** An ELF file with one program header. */
function elf(machine: number, kind: number, interpreter = "/lib64/ld-linux-x86-64.so.2") {
  const bytes = Buffer.alloc(200);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, machine === 62 ? 2 : 1]);
  bytes.writeUInt16LE(machine, 18);
  bytes.writeBigUInt64LE(64n, 32);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(1, 56);
  bytes.writeUInt32LE(kind, 64);
  bytes.writeBigUInt64LE(120n, 72);
  bytes.write(interpreter, 120);
  return bytes;
}

it("tells programs that do not load the preload library by their file", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-program-"));
  const why = (bytes: Uint8Array | string) => {
    writeFileSync(join(folder, "program"), bytes, { mode: 0o755 });
    const path = join(folder, "program");
    const direct = whyNotPreloaded(path, [], "")?.replace(`${path} `, "");
    expect(whyNotPreloaded("program", [], `/nowhere:${folder}`)?.replace("program ", "")).toBe(
      direct,
    );
    return direct;
  };
  try {
    expect(why(elf(62, 3))).toBeUndefined();
    expect(why(elf(62, 3, "/lib/ld-musl-x86_64.so.1"))).toBe("uses musl, not glibc");
    expect(why(elf(62, 1))).toBe("is statically linked");
    expect(why(elf(3, 3))).toBe("is not for x86-64");
    expect(why("#!/bin/sh\n")).toBeUndefined();
    // Sizes and places that lead out of the file.
    const odd = (change: (bytes: Buffer) => void) => {
      const bytes = elf(62, 3);
      change(bytes);
      return why(bytes);
    };
    for (const size of [0, 1, 55]) {
      expect(odd((bytes) => void bytes.writeUInt16LE(size, 54))).toBeUndefined();
    }
    for (const at of [199n, 2n ** 53n, 2n ** 64n - 1n]) {
      expect(odd((bytes) => void bytes.writeBigUInt64LE(at, 32))).toBeUndefined();
      expect(odd((bytes) => void bytes.writeBigUInt64LE(at, 72))).toBeUndefined();
    }
    expect(whyNotPreloaded(join(folder, "nothing"), [], "")).toBeUndefined();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("looks at what a dynamic linker is told to run", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-program-"));
  const file = (name: string, bytes: Uint8Array) => {
    writeFileSync(join(folder, name), bytes, { mode: 0o755 });
    return join(folder, name);
  };
  try {
    const loader = file("ld-linux-x86-64.so.2", elf(62, 1));
    const linked = file("linked", elf(62, 3));
    const fixed = file("fixed", elf(62, 1));
    const why = (...args: string[]) => whyNotPreloaded(loader, args, "");
    expect(why("--library-path", fixed, "--inhibit-cache", linked, fixed)).toBeUndefined();
    expect(why("--library-path", linked, fixed)).toBe(`${fixed} is statically linked`);
    expect(why("--argv0", "name", fixed, "--help")).toBe(`${fixed} is statically linked`);
    expect(why()).toBeUndefined();
    expect(why("--help")).toBeUndefined();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

// Only root can make files of others.
it.runIf(process.getuid?.() === 0)("tells programs with more rights than their user", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-program-"));
  const program = join(folder, "program");
  const why = (mode: number) => {
    chmodSync(program, mode);
    return whyNotPreloaded(program, [], "")?.replace(`${program} `, "");
  };
  try {
    writeFileSync(program, elf(62, 3));
    expect(why(0o6755)).toBeUndefined();
    chownSync(program, 12345, 12345);
    expect(why(0o755)).toBeUndefined();
    expect(why(0o4755)).toBe("has more rights than its user (setuid)");
    expect(why(0o2755)).toBe("has more rights than its user (setgid)");
    expect(why(0o2745)).toBeUndefined();
    writeFileSync(program, "#!/bin/sh");
    expect(why(0o4755)).toBeUndefined();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("gives the preload library a name that LD_PRELOAD can hold", () => {
  const open = realpathSync(process.execPath);
  expect(preloadName(open).path).toBe(open);
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen: $ORIGIN program-"));
  try {
    const file = join(folder, "library.so");
    writeFileSync(file, "content");
    vi.stubEnv("TMPDIR", relative(process.cwd(), tmpdir()));
    const name = preloadName(file);
    expect(isAbsolute(name.path)).toBe(true);
    expect(statSync(dirname(name.path)).mode & 0o777).toBe(0o755);
    expect(name.path).toMatch(/^[^\s:$]+$/);
    expect(readFileSync(name.path, "latin1")).toBe("content");
    name.remove();
    expect(existsSync(name.path)).toBe(false);
    expect(existsSync(file)).toBe(true);
  } finally {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true });
  }
});

// Only root's programs become other users.
it.runIf(process.getuid?.() === 0)("copies a preload library that only root could read", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-program-"));
  try {
    const file = join(folder, "library.so");
    writeFileSync(file, "content");
    chmodSync(folder, 0o700);
    const name = preloadName(file);
    expect(name.path).not.toBe(file);
    expect(statSync(name.path).mode & 0o777).toBe(0o755);
    expect(readFileSync(name.path, "latin1")).toBe("content");
    name.remove();
    expect(existsSync(name.path)).toBe(false);
    chmodSync(folder, 0o755);
    expect(preloadName(file).path).toBe(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("says why a file cannot be started", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-program-"));
  try {
    writeFileSync(join(folder, "text"), "text", { mode: 0o644 });
    expect(whyNotStartable(join(folder, "text"))).toMatch(/not executable/);
    chmodSync(join(folder, "text"), 0o755);
    expect(whyNotStartable(join(folder, "text"))).toBeUndefined();
    expect(whyNotStartable(folder)).toMatch(/a folder/);
    expect(whyNotStartable("/dev/null")).toMatch(/a device/);
    expect(whyNotStartable(join(folder, "nothing"))).toBeUndefined();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
