import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { patched, readPatches } from "../../spec/kvm/patches.mjs";
import { IoctlPlayer } from "../../src/ioctl/ioctls.fixture.js";
import { LINUX_RELEASES } from "../../src/kvm/index.js";

const folder = new URL("../../src/ioctl/recorded/", import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, folder), "latin1");
const files = readdirSync(folder).filter((name) => name.endsWith(".ioctls"));

/**
 * Ioctls with the answers that Linux gave. Each NAME.out is what Linux 6.12 printed for
 * `tests/oracle/ask-linux ioctls NAME.ioctls`, with `ioctls` built from tests/oracle/ioctls.c;
 * linux-RELEASE.txt has the lines that another release printed otherwise.
 */
describe.each(LINUX_RELEASES)("recorded ioctls of Linux %s", (release) => {
  const patches =
    release === "6.12"
      ? new Map()
      : readPatches(readFileSync(new URL(`linux-${release}.txt`, folder), "latin1"));

  it("are none but those that are there", () => {
    const names = files.map((file) => file.replace(/\.ioctls$/, ""));
    expect([...patches.keys()].filter((name) => !names.includes(name))).toEqual([]);
  });

  for (const file of files) {
    it(file, async () => {
      const player = await IoctlPlayer.open(release);
      const ours = await player.play(read(file));
      const name = file.replace(/\.ioctls$/, "");
      const recorded = read(`${name}.out`).trimEnd().split("\n");
      const linux = patched(recorded, patches.get(name));
      for (const [i, line] of linux.entries()) expect(ours[i], `line ${i + 1}`).toBe(line);
      expect(ours).toHaveLength(linux.length);
    });
  }
});
