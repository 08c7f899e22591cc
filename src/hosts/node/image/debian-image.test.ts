import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HostError } from "../../../base/index.js";
import type { RunProgram } from "../subprocess.js";
import { type DebianImage, makeDebianImage } from "./debian-image.js";
import { sourcesFrom } from "./sources.js";

let folder: string;
let commands: string[];
let steps: string[];
/** Programs that fail, and what they say. */
let failing: Record<string, string>;
let removed: boolean;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvm-xen-image-test-"));
  [commands, steps, failing, removed] = [[], [], {}, false];
});
afterEach(() => rmSync(folder, { recursive: true }));

const run: RunProgram = async (program, args, options) => {
  const words =
    program === "mmdebstrap" && args[0] === "--unshare-helper" ? args.slice(1) : [program, ...args];
  const isInNamespace = words.length < args.length + 1;
  const [name = ""] = words;
  commands.push(`${isInNamespace ? "ns " : ""}${name}`);
  if (name === "rm") removed = true;
  if (failing[name] !== undefined)
    throw new HostError("PROGRAM_FAILED", `${name}: ${failing[name]}`);
  if (name === "mktemp") return "/tmp/work\n";
  if (name === "mmdebstrap") options?.onErrorLine?.("I: extracting archives...");
  if (name === "dd" && options?.output !== undefined) writeSync(options.output, "disk");
  return "";
};

const wanted = (more: Partial<DebianImage> = {}): DebianImage => ({
  ...{ include: ["gcc"], bytes: 1 << 30, output: join(folder, "x.img"), scripts: "/scripts" },
  sources: sourcesFrom([{ uri: "http://a/", codename: "sid", origin: "Debian" }], "sid", undefined),
  progress: {
    step: (text) => steps.push(text),
    fraction: () => undefined,
    end: () => steps.push("end"),
  },
  ...{ run, has: () => true, isRoot: true },
  ...more,
});

describe("makeDebianImage", () => {
  it("leaves an image of its size and nothing else, and says what it does", async () => {
    await makeDebianImage(wanted());
    expect(readdirSync(folder)).toEqual(["x.img"]);
    expect(statSync(join(folder, "x.img")).size).toBe(1 << 30);
    const start = Buffer.alloc(4);
    const file = openSync(join(folder, "x.img"), "r");
    readSync(file, start);
    closeSync(file);
    expect(start.toString()).toBe("disk");
    expect(commands).toEqual(["mktemp", "mmdebstrap", "sh", "dd", "rm"]);
    const step = "installing Debian sid";
    expect(steps).toEqual([
      ...[
        step,
        `${step}: extracting archives`,
        "making the file system",
        "copying the image",
        "end",
      ],
    ]);
  });

  it("is root in a user namespace, for all steps, when it is an ordinary user", async () => {
    await makeDebianImage(wanted({ isRoot: false }));
    expect(commands).toEqual(["ns mktemp", "ns mmdebstrap", "ns sh", "ns dd", "ns rm"]);
  });

  it.each([
    ["mmdebstrap", "E: no such suite", "IMAGE_FAILED"],
    ["sh", "mke2fs: Could not allocate block in ext2 filesystem", "IMAGE_SIZE"],
    ["dd", "no space left", "IMAGE_FAILED"],
  ])("leaves nothing when %s fails", async (name, text, code) => {
    failing[name] = text;
    await expect(makeDebianImage(wanted())).rejects.toMatchObject({ code });
    expect([readdirSync(folder), removed, steps.at(-1)]).toEqual([[], true, "end"]);
  });

  it("leaves nothing when it is given up, and cleans all the same", async () => {
    const abort = new AbortController();
    const stopped: RunProgram = async (program, args, options) => {
      if (options?.signal?.aborted) throw new HostError("PROGRAM_FAILED", "aborted");
      const output = await run(program, args, options);
      if (program === "sh") abort.abort();
      return output;
    };
    const image = makeDebianImage(wanted({ run: stopped, signal: abort.signal }));
    await expect(image).rejects.toMatchObject({ code: "STOPPED" });
    expect([readdirSync(folder), removed]).toEqual([[], true]);
  });

  it("refuses a file that exists, sizes, and machines without the tools, before it does anything", async () => {
    const refused = async (more: Partial<DebianImage>) =>
      makeDebianImage(wanted(more)).catch(({ code, message }: HostError) => `${code}: ${message}`);
    expect(await refused({ bytes: 100 << 20 })).toMatch(/^IMAGE_SIZE: /);
    expect(await refused({ bytes: (1 << 30) + 1 })).toMatch(/^IMAGE_SIZE: /);
    expect(await refused({ has: (name) => name !== "mke2fs" && name !== "newuidmap" })).toBe(
      "TOOL_MISSING: an image needs mke2fs (package e2fsprogs), which this system does not have: install it",
    );
    expect(await refused({ has: () => false, isRoot: false })).toMatch(
      /newuidmap \(package uidmap\)/,
    );
    writeFileSync(join(folder, "x.img"), "mine");
    expect(await refused({})).toMatch(/^IMAGE_EXISTS: /);
    expect([commands, readFileSync(join(folder, "x.img"), "utf8")]).toEqual([[], "mine"]);
  });
});
