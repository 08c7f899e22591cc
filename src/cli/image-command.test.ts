import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HostError } from "../base/index.js";
import type { DebianImage } from "../hosts/node/image/debian-image.js";
import { sourcesFrom } from "../hosts/node/image/sources.js";
import { FakeHost } from "./host.fixture.js";
import { type ImageOptions, imageCommand } from "./image-command.js";

let folder: string;
let host: FakeHost;
let made: DebianImage[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvm-xen-image-"));
  [host, made] = [new FakeHost(), []];
});
afterEach(() => rmSync(folder, { recursive: true }));

const options = { include: [], size: 1 << 30, output: "x.img" };
const image = (more: Partial<ImageOptions> = {}, uri = "http://a/") =>
  imageCommand(
    { ...options, ...more },
    host,
    async (wanted) => void made.push(wanted),
    async (suite) =>
      sourcesFrom([{ uri, codename: "bookworm", origin: "Debian" }], suite, undefined),
    true,
  );

describe("imageCommand", () => {
  it("makes what was asked for, and is quiet", async () => {
    const key = join(folder, "key.pub");
    writeFileSync(key, "ssh-ed25519 AAAA me\n");
    expect(await image({ suite: "trixie", include: ["gcc,make", "g++"], sshKey: key })).toBe(0);
    expect(made).toMatchObject([
      {
        ...{ include: ["gcc", "make", "g++"], bytes: 1 << 30, output: "x.img" },
        ...{ sshKey: "ssh-ed25519 AAAA me", sources: { suite: "trixie" } },
      },
    ]);
    expect([host.complaints, host.printed]).toEqual(["", ""]);
  });

  it("says that a guest needs the loopback interface for its packages", async () => {
    await image({}, "http://127.0.0.1/debian");
    expect(host.complaints).toMatch(/^kvm-xen: [^\n]*--net user,hostloopback=on\n$/);
  });

  it.each([
    ["a package", { include: ["gcc,--oops"] }],
    ["a release", { suite: "/etc" }],
    ["a public key", { sshKey: "private" }],
  ])("refuses what is no name of %s", async (_what, more: Partial<ImageOptions>) => {
    writeFileSync(join(folder, "private"), "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    const given = more.sshKey ? { sshKey: join(folder, more.sshKey) } : more;
    await expect(image(given)).rejects.toMatchObject({ code: "USAGE" });
    expect(made).toEqual([]);
  });

  it("gives up by a signal, with its status", async () => {
    const sources = sourcesFrom(
      [{ uri: "http://a/", codename: "sid", origin: "Debian" }],
      "sid",
      undefined,
    );
    const make = ({ signal }: DebianImage) =>
      new Promise<void>((_, reject) => {
        signal?.addEventListener("abort", () => reject(new HostError("STOPPED", "")));
        host.signals?.onTerminate("SIGINT", 130);
      });
    expect(await imageCommand(options, host, make, async () => sources, true)).toBe(130);
    expect(host.signals).toBeUndefined();
  });
});
