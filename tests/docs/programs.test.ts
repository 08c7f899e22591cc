/** The programs of examples/: each runs as it is, ends with status 0, and is on the folder's page. */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const folder = fileURLToPath(new URL("../../examples/", import.meta.url));
const programs = readdirSync(folder).filter((name) => name.endsWith(".mjs"));

describe("examples/", () => {
  it("has a page that names every program", () => {
    const page = readFileSync(join(folder, "README.md"), "utf8");
    const named = [...page.matchAll(/\]\(([\w-]+\.mjs)\)/g)].map((match) => match[1]);
    expect(named.sort()).toEqual(programs.sort());
  });

  // Some boot a whole guest, whose time is the host's: a second try is named at the end of npm test.
  it.each(programs)("%s runs", { retry: 1, timeout: 240_000 }, (name) => {
    const ended = spawnSync(process.execPath, [join(folder, name)], { encoding: "utf8" });
    expect(ended.stderr).toBe("");
    expect(ended.status).toBe(0);
    expect(ended.stdout).not.toBe("");
  });

  it("test-a-kernel.mjs says by its status what did not come", () => {
    const args = [join(folder, "test-a-kernel.mjs")];
    const image = join(folder, "../guest/embedded/image.elf");
    const ended = spawnSync(process.execPath, [...args, image, image, "never"], {
      encoding: "utf8",
    });
    expect(ended.status).toBe(1);
    expect(ended.stdout).toMatch(/\/never\/ did not come: the guest ended \(poweroff\)\n$/);
  });
});
