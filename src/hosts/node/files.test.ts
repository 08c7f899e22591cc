import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { readUserFile } from "./files.js";

let folder: string;
const file = (name: string) => join(folder, name);
const server = createServer();
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kvm-xen-files-"));
  writeFileSync(file("plain"), "0123456789");
  execFileSync("mkfifo", [file("pipe")]);
  symlinkSync(file("loop"), file("loop"));
  writeFileSync(file("sparse"), "");
  truncateSync(file("sparse"), 2 ** 42);
  await new Promise<void>((resolve) => server.listen(file("socket"), resolve));
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

const limit = (bytes: number) => ({ bytes, what: "that" });

describe("readUserFile", () => {
  it("reads all of a file, up to its limit", async () => {
    expect(Buffer.from(await readUserFile(file("plain"), "kernel", limit(10)))).toEqual(
      Buffer.from("0123456789"),
    );
    await expect(readUserFile(file("plain"), "kernel", limit(9))).rejects.toMatchObject({
      code: "FILE_TOO_LARGE",
      message: `kernel ${file("plain")}: it is larger than that`,
    });
    const own = { ...limit(9), code: "INITRD_TOO_LARGE" };
    await expect(readUserFile(file("plain"), "x", own)).rejects.toMatchObject({ code: own.code });
  });

  it("reads a large file in pieces: Node dies of a read of 2 GiB, and an exit waits for what is read", async () => {
    writeFileSync(file("large"), "begin");
    truncateSync(file("large"), 100 << 20);
    appendFileSync(file("large"), "end");
    const lengths: number[] = [];
    const handle = await open(file("large"));
    const read = vi.spyOn(Object.getPrototypeOf(handle), "read");
    await handle.close();
    const bytes = await readUserFile(file("large"), "initrd", limit(1 << 30));
    for (const [, , length] of read.mock.calls) lengths.push(length as number);
    read.mockRestore();
    expect(bytes.length).toBe((100 << 20) + 3);
    expect(Buffer.from(bytes.subarray(0, 6)).toString("latin1")).toBe("begin\0");
    expect(Buffer.from(bytes.subarray(-4)).toString("latin1")).toBe("\0end");
    expect(lengths.length).toBeGreaterThan(6);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(16 << 20);
  });

  it("reads files whose size the system does not know, up to the limit", async () => {
    const mounts = await readUserFile("/proc/self/maps", "kernel", limit(1 << 20));
    expect(mounts.length).toBeGreaterThan(1000);
    const small = readUserFile("/proc/self/maps", "kernel", limit(1000));
    await expect(small).rejects.toMatchObject({ code: "FILE_TOO_LARGE" });
  });

  it.each([
    ["nothing", "none", /no such file/],
    ["a file in a file", "plain/x", /no such file/],
    ["a folder", ".", /folder/],
    ["a pipe that nobody writes", "pipe", /it is a pipe/],
    ["a socket", "socket", /it is a socket/],
    ["links in a circle", "loop", /circle/],
  ])("refuses %s at once, in one line", async (_name, name, words) => {
    const refusal = await readUserFile(file(name), "kernel", limit(1 << 30)).catch((e) => e);
    expect(refusal).toMatchObject({ code: "FILE_UNREADABLE", message: expect.any(String) });
    expect(refusal.message).toMatch(words);
    expect(refusal.message.startsWith(`kernel ${file(name)}: `)).toBe(true);
    expect(refusal.message).not.toMatch(/\n/);
  });

  it.each(["/dev/zero", "/dev/tty", "/dev/full"])("refuses the device %s", async (path) => {
    const refused = readUserFile(path, "kernel", limit(1 << 30));
    await expect(refused).rejects.toMatchObject({
      code: "FILE_UNREADABLE",
      message: expect.stringMatching(/it is a device/),
    });
  });

  it("refuses a file of 4 TiB without reading it", async () => {
    const refused = readUserFile(file("sparse"), "kernel", limit(1 << 30));
    await expect(refused).rejects.toMatchObject({ code: "FILE_TOO_LARGE" });
  });
});
