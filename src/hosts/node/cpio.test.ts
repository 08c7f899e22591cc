import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type CpioEntry, writeCpio } from "./cpio.js";

const entries: CpioEntry[] = [
  { kind: "folder", path: "bin" },
  { kind: "file", path: "bin/tool", mode: 0o755, data: Buffer.from("#!/bin/sh\nexit 3\n") },
  { kind: "link", path: "bin/alias", target: "tool" },
  { kind: "file", path: "empty", mode: 0o644, data: new Uint8Array(0) },
];

it("starts with the newc magic and is padded to 4 bytes", () => {
  const archive = Buffer.from(writeCpio(entries));
  expect(archive.subarray(0, 6).toString()).toBe("070701");
  expect(archive.length % 4).toBe(0);
  expect(archive.includes("TRAILER!!!")).toBe(true);
});

it("gives the same bytes for the same entries", () => {
  expect(writeCpio(entries)).toEqual(writeCpio(entries));
});

const cpio = spawnSync("cpio", ["--version"]).status === 0;

it.skipIf(!cpio)("is unpacked by cpio", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-cpio-"));
  try {
    execFileSync("cpio", ["-i", "--quiet"], { cwd: folder, input: writeCpio(entries) });
    expect(spawnSync(join(folder, "bin/tool")).status).toBe(3);
    expect(readlinkSync(join(folder, "bin/alias"))).toBe("tool");
    expect(readFileSync(join(folder, "empty")).length).toBe(0);
    expect(statSync(join(folder, "bin/tool")).mode & 0o777).toBe(0o755);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it.skipIf(!cpio)("lists devices as cpio does", () => {
  const archive = writeCpio([{ kind: "device", path: "console", major: 5, minor: 1 }]);
  const listing = execFileSync("cpio", ["-tv", "--quiet"], { input: archive }).toString();
  expect(listing).toMatch(/^crw------- .* 5, +1 .*console$/m);
});
