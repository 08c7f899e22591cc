import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";
import { compileFile, exec, here } from "./support.js";

/** Scenarios that one process plays, one after the other. */
const BATCH = 26;

const folders = ["topics", "random"].map((name) => here(`../vectors/${name}`));
const files = folders.flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".scn"))
    .map((name) => join(folder, name)),
);

const answers = (file: string): string =>
  `== ${basename(file)}\n${readFileSync(file.replace(/\.scn$/, ".out"), "utf8")}`;

describe("the probe that recorded the scenarios answers through exec as on Linux", () => {
  const program = compileFile(here("../oracle/probe.c"), "probe");

  it("plays all of them", () => {
    expect(files.length).toBe(259);
  });

  for (let at = 0; at < files.length; at += BATCH) {
    const batch = files.slice(at, at + BATCH);
    it(`from ${basename(batch[0] ?? "")} on`, async () => {
      const ended = await exec("--", program, ...batch);
      expect(ended.stdout.split(/^(?=== )/m)).toEqual(batch.map(answers));
      expect(ended.status).toBe(0);
    });
  }
});
