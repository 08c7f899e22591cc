import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cachedFolder, cacheRoot, fillFolder } from "./cache.js";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "kvm-xen-cache-"));
});
afterEach(() => rmSync(root, { recursive: true }));

const write = (text: string) => (folder: string) => writeFile(join(folder, "file"), text);

describe("cacheRoot", () => {
  it("follows XDG_CACHE_HOME when it is absolute", () => {
    expect(cacheRoot({ XDG_CACHE_HOME: "/x" })).toBe("/x/kvm-xen");
    expect(cacheRoot({ XDG_CACHE_HOME: "x" })).toMatch(/\/\.cache\/kvm-xen$/);
    expect(cacheRoot({})).toMatch(/\/\.cache\/kvm-xen$/);
  });

  it("is in the user's home folder, never in the current one", () => {
    expect(cacheRoot({ HOME: "/users/somebody" })).toBe("/users/somebody/.cache/kvm-xen");
    for (const HOME of ["", "here", "./here"])
      expect(cacheRoot({ HOME, XDG_CACHE_HOME: "" })).toBe(`${userInfo().homedir}/.cache/kvm-xen`);
  });
});

describe("fillFolder", () => {
  it("makes a folder and replaces it", async () => {
    expect(cachedFolder(root, "a")).toBeUndefined();
    const path = await fillFolder(root, "a", write("one"));
    expect(cachedFolder(root, "a")).toBe(path);
    await fillFolder(root, "a", write("two"));
    expect(await readFile(join(path, "file"), "utf8")).toBe("two");
    expect(readdirSync(root)).toEqual(["a"]);
  });

  it("leaves nothing when the filling fails, and keeps what was there", async () => {
    await fillFolder(root, "a", write("one"));
    const failing = fillFolder(root, "a", async (folder) => {
      await write("half")(folder);
      throw new Error("no network");
    });
    await expect(failing).rejects.toThrow("no network");
    expect(readdirSync(root)).toEqual(["a"]);
    expect(await readFile(join(root, "a/file"), "utf8")).toBe("one");
  });

  it("has no finished folder before the filling is done", async () => {
    await fillFolder(root, "a", async (folder) => {
      await write("one")(folder);
      expect(cachedFolder(root, "a")).toBeUndefined();
    });
  });

  it("removes what a killed process left, and nothing of a running one", async () => {
    const dead = spawnSync("true").pid;
    mkdirSync(join(root, `.unfinished-${dead}-x`));
    mkdirSync(join(root, `.unfinished-${process.ppid}-x`));
    await fillFolder(root, "a", write("one"));
    expect(existsSync(join(root, `.unfinished-${dead}-x`))).toBe(false);
    expect(existsSync(join(root, `.unfinished-${process.ppid}-x`))).toBe(true);
  });

  it("says what to do when the cache cannot be written", async () => {
    writeFileSync(join(root, "file"), "");
    for (const inside of [join(root, "file/cache"), join(root, "file"), "/proc/1/cache"]) {
      await expect(fillFolder(inside, "a", write("one"))).rejects.toMatchObject({
        code: "CACHE_UNUSABLE",
        message: expect.stringContaining("XDG_CACHE_HOME"),
      });
    }
    const below = join(root, "two/levels");
    expect(await fillFolder(below, "a", write("one"))).toBe(join(below, "a"));
  });
});
