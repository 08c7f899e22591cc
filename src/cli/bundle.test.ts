import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { commandModule } from "./bundle.js";

const BUNDLE = "dist/bundle/command.js";
const MANY = "dist/cli/command.js";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "kvm-xen-bundle-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** A file that was written at that second. */
function file(path: string, second: number): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), "");
  utimesSync(join(root, path), second, second);
}

const chosen = (): string => commandModule(pathToFileURL(`${root}/`));
const address = (path: string): string => pathToFileURL(join(root, path)).href;

describe("which modules are the command", () => {
  it("are the many, where there is no bundle", () => {
    expect(chosen()).toBe(address(MANY));
  });

  it("are the bundle in a package, where nothing is compiled", () => {
    file(BUNDLE, 1000);
    expect(chosen()).toBe(address(BUNDLE));
  });

  it("are the bundle when it was made after the last compilation", () => {
    file("build/lib.tsbuildinfo", 1000);
    file("build/node.tsbuildinfo", 1001);
    file(BUNDLE, 1001);
    expect(chosen()).toBe(address(BUNDLE));
  });

  it.each(["lib", "node"])("are the many when %s was compiled since", (part) => {
    file("build/lib.tsbuildinfo", 1000);
    file("build/node.tsbuildinfo", 1000);
    file(BUNDLE, 1001);
    file(`build/${part}.tsbuildinfo`, 1002);
    expect(chosen()).toBe(address(MANY));
  });
});

describe("the bundle", () => {
  const folder = new URL("../../dist/bundle/", import.meta.url);
  const texts = (names: readonly string[]) =>
    names.map((name) => readFileSync(new URL(name, folder), "utf8"));
  const isOfThread = (name: string): boolean => name.startsWith("exec-worker");
  const chunks = texts(readdirSync(folder).filter((name) => !isOfThread(name)));
  const ofThread = texts(readdirSync(folder).filter(isOfThread));

  it("leaves the core to the module that has begun with it", () => {
    const begins = chunks.filter((text) => text.includes("../hosts/node/machine/early-core.js"));
    expect(begins.length).toBeGreaterThan(0);
    expect(chunks.filter((text) => text.includes("function beginCore"))).toEqual([]);
  });

  it("has nothing of others in the file of exec's thread", () => {
    const imports = /(?:from|import\(?)\s*"\.\/([\w-]*)/g;
    const imported = (all: string[]) =>
      all.flatMap((text) => [...text.matchAll(imports)].map(([, name = ""]) => name));
    expect(imported(chunks).filter(isOfThread)).toEqual([]);
    expect(imported(ofThread).filter((name) => !isOfThread(name))).toEqual([]);
    expect(chunks.filter((text) => text.includes("exec-worker.js"))).toHaveLength(1);
  });
});
