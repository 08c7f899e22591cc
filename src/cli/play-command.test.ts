import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DecodePath, Engine } from "../engine/bridge/index.js";
import { FakeHost } from "./host.fixture.js";
import { playFiles } from "./play-command.js";
import { runProgram } from "./program.js";

const core = readFileSync(new URL("../../dist/engine/core.wasm", import.meta.url));
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kvm-xen-play-"));
  writeFileSync(join(folder, "a.scn"), "# a\nvm\ncap 38\n");
  writeFileSync(join(folder, "b.scn"), Buffer.from("hvm get 0\nv\xe4\n", "latin1"));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("kvm-xen play", () => {
  it("prints each file's name, steps and answers, bytes as they are", async () => {
    const chunks: Uint8Array[] = [];
    const host = {
      output: { write: (bytes: Uint8Array) => chunks.push(bytes) },
      loadEngine: (decode: DecodePath) => Engine.compile(core, { decode }),
    };
    const paths = [join(folder, "a.scn"), join(folder, "b.scn")];
    for (const decode of ["compiled", "cached", "each"] as const) {
      expect(await playFiles(paths, { decode }, host)).toBe(0);
      const printed = Buffer.concat(chunks.splice(0)).toString("latin1");
      expect(printed).toBe(
        "== a.scn\nvm = 0\ncap 38 = 511\n== b.scn\nhvm get 0 = -EBADF\nv\xe4 = ?\n",
      );
    }
  });

  it("plays nothing when a file is missing", async () => {
    const host = new FakeHost();
    const missing = join(folder, "c.scn");
    expect(await runProgram(["play", join(folder, "a.scn"), missing], host)).toBe(2);
    expect(host.printed).toBe("");
    expect(host.complaints).toBe(`kvm-xen: scenario ${missing}: no such file; check the path\n`);
  });

  it("explains itself with an example", async () => {
    const host = new FakeHost();
    expect(await runProgram(["play", "--help"], host)).toBe(0);
    expect(host.printed).toContain("$ kvm-xen play ");
  });

  it("refuses options that make no sense with one line", async () => {
    const host = new FakeHost();
    expect(await runProgram(["play"], host)).toBe(1);
    expect(await runProgram(["play", "--decode", "never", "x"], host)).toBe(1);
    expect(host.complaints.trim().split("\n")).toHaveLength(2);
  });
});
