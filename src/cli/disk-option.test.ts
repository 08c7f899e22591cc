import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { closeDisks, nameDisks, openDisks, parseDisk } from "./disk-option.js";

const folder = mkdtempSync(join(tmpdir(), "kvm-xen-option-"));
afterAll(() => rmSync(folder, { recursive: true }));
const image = (name: string): string => {
  const path = join(folder, name);
  writeFileSync(path, new Uint8Array(4096));
  return path;
};

describe("--disk", () => {
  it.each([
    ["a.img", { file: "a.img", readonly: false, snapshot: false }],
    ["a.img,ro", { file: "a.img", readonly: true, snapshot: false }],
    ["a.img,dev=xvdc,snapshot", { file: "a.img", readonly: false, snapshot: true, name: "xvdc" }],
    ["a.img,ro,ro", { file: "a.img", readonly: true, snapshot: false }],
    ["", { file: "", readonly: false, snapshot: false }],
  ])("%j", (text, expected) => {
    expect(parseDisk(text)).toEqual(expected);
  });

  it("takes a file with commas in its name", () => {
    const other = image("c,d");
    expect(parseDisk(`${other},ro`)).toMatchObject({ file: other, readonly: true });
    expect(parseDisk(other)).toMatchObject({ file: other, readonly: false });
  });

  it.each([
    ["a.img,rw", "USAGE", "'rw' is no option of a disk"],
    ["a.img,ro,cache=none", "USAGE", "'cache=none' is no option"],
    ["a.img,ro,snapshot", "USAGE", "not both"],
    ["a.img,dev=sda", "DISK_NAME", "sda is no name of a disk"],
    ["a.img,dev=", "DISK_NAME", "'' is no name"],
  ])("refuses %s", (text, code, message) => {
    expect(() => parseDisk(text)).toThrow(expect.objectContaining({ code }));
    expect(() => parseDisk(text)).toThrow(message);
  });

  it("gives the names that are free, in order", () => {
    const names = (texts: string[]) => nameDisks(texts.map(parseDisk)).map(({ name }) => name);
    expect(names(["a", "b,dev=xvda", "c", "d,dev=xvdc", "e"])).toEqual([
      ...["xvdb", "xvda", "xvdd", "xvdc", "xvde"],
    ]);
    expect(() => names(["a,dev=xvdb", "b,dev=xvdb"])).toThrow("two disks cannot both be xvdb");
    expect(() => names(Array.from({ length: 27 }, () => "a"))).toThrow("at most 26 disks");
    expect(names(Array.from({ length: 26 }, () => "a")).at(-1)).toBe("xvdz");
  });

  it("opens all or none", async () => {
    const [one, other] = [image("one"), image("other")];
    await expect(openDisks([one, join(folder, "none")])).rejects.toThrow("no such file");
    const disks = await openDisks([one, `${other},ro`]);
    expect(disks.map(({ name, disk }) => [name, disk.readonly])).toEqual([
      ["xvda", false],
      ["xvdb", true],
    ]);
    await expect(openDisks([one])).rejects.toThrow("another program uses it");
    await closeDisks(disks);
    await closeDisks(await openDisks([one]));
  });
});
