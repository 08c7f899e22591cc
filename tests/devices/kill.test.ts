/** What sqlite has committed survives SIGKILL of the monitor. */
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { Cli } from "../boot/support/cli.js";
import { workFolder } from "../boot/support/guests.js";
import { checkImage, sqliteGuest, toldIn } from "./sqlite-guest.js";
import { makeImage } from "./support.js";

/** Each takes four seconds of a processor. */
const ROUNDS = process.env["KVM_XEN_DEVICES"] === "all" ? 100 : 15;
const folder = workFolder();
afterAll(() => folder.remove());

it(
  `${ROUNDS} rounds of one disk: each finds what the one before it has committed`,
  async () => {
    const { image: kernel, initrd } = await sqliteGuest(folder.path, "6.12");
    const disk = makeImage(folder.path, "disk.img", "32M");
    const copy = join(folder.path, "copy.img");
    const words = ["--append", "quiet panic=-1 cryptomgr.notests", "--memory", "128M"];
    let there = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const cli = new Cli([
        "run",
        "--kernel",
        kernel,
        "--initrd",
        initrd,
        "--disk",
        disk,
        ...words,
      ]);
      const at = await cli.waitFor(/E first \d+/);
      // The guest has replayed the journal; sqlite has what is there.
      expect(Number(/E first (\d+)/.exec(cli.output)?.[1])).toBe(there + 1);
      await cli.waitFor(/E commit \d+\./, at);
      // At any moment of what it does.
      await new Promise((resolve) => setTimeout(resolve, (round * 37) % 200));
      cli.kill("SIGKILL");
      const ended = await cli.ended();
      expect(ended.stdout).not.toContain("E failed");
      copyFileSync(disk, copy);
      there = checkImage(folder.path, copy, toldIn(ended.stdout));
    }
    expect(there).toBeGreaterThanOrEqual(ROUNDS);
  },
  15 * 60_000,
);
