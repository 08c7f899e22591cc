import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { IoctlPlayer } from "./ioctls.fixture.js";

const folder = new URL("recorded/", import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, folder), "utf8");

/**
 * Ioctls with the answers that Linux 6.12 gave. Each NAME.out is what
 * `tests/oracle/ask-linux ioctls NAME.ioctls` printed, with `ioctls` built from tests/oracle/ioctls.c.
 */
describe("recorded ioctls", () => {
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".ioctls"))) {
    it(file, async () => {
      const player = await IoctlPlayer.open();
      const ours = await player.play(read(file));
      const linux = read(file.replace(/ioctls$/, "out"))
        .trimEnd()
        .split("\n");
      for (const [i, line] of linux.entries()) expect(ours[i], `line ${i + 1}`).toBe(line);
      expect(ours).toHaveLength(linux.length);
    });
  }
});
