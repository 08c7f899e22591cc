/** What sqlite has committed survives SIGKILL of the monitor. */
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { Cli } from "../boot/support/cli.js";
import { workFolder } from "../boot/support/guests.js";
import { ControlClient } from "./control-client.js";
import { checkImage, sqliteGuest, toldIn } from "./sqlite-guest.js";
import { makeImage } from "./support.js";

const ROUNDS = 100;
const folder = workFolder();
afterAll(() => folder.remove());
const at = (name: string): string => join(folder.path, name);

/** A guest that has booted and waits for a disk, saved: each round goes on from there. */
async function savedGuest(): Promise<string> {
  const { image: kernel, initrd } = await sqliteGuest(folder.path, "6.12");
  const words = ["--append", "quiet panic=-1 cryptomgr.notests", "--memory", "128M"];
  const control = ["--control", at("first.sock")];
  const cli = new Cli(["run", "--kernel", kernel, "--initrd", initrd, ...words, ...control]);
  await cli.waitFor(/E waits/);
  const client = await ControlClient.open(at("first.sock"));
  expect(await client.ask("save", { file: at("waits.snapshot") })).toBeTypeOf("object");
  await client.ask("stop");
  await cli.ended();
  return at("waits.snapshot");
}

it(
  `${ROUNDS} rounds of one disk: each finds what the one before it has committed`,
  async () => {
    const snapshot = await savedGuest();
    const disk = makeImage(folder.path, "disk.img", "32M");
    let there = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const socket = at(`${round}.sock`);
      const cli = new Cli(["run", "--restore", snapshot, "--control", socket]);
      const client = await ControlClient.open(socket);
      expect(await client.ask("addDevice", { disk })).toEqual({ name: "xvda" });
      const first = await cli.waitFor(/E first \d+/);
      // The guest has replayed the journal; sqlite has what is there.
      expect(Number(/E first (\d+)/.exec(cli.output)?.[1])).toBe(there + 1);
      await cli.waitFor(/E commit \d+\./, first);
      // At any moment of what it does.
      await new Promise((resolve) => setTimeout(resolve, (round * 37) % 200));
      cli.kill("SIGKILL");
      const ended = await cli.ended();
      expect(ended.stdout).not.toContain("E failed");
      copyFileSync(disk, at("copy.img"));
      there = checkImage(folder.path, at("copy.img"), toldIn(ended.stdout));
    }
    expect(there).toBeGreaterThanOrEqual(ROUNDS);
  },
  15 * 60_000,
);
