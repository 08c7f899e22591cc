/** What a guest has synced is there after the power was lost, whatever became of everything else that it wrote. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { seed } from "../../src/base/seed.fixture.js";
import { nodeDecompressors } from "../../src/hosts/node/decompress.js";
import { loadEngine } from "../../src/hosts/node/machine/load-engine.js";
import { TextConsole } from "../../src/hosts/node/machine/text-console.js";
import { timePorts } from "../../src/hosts/node/machine/time-ports.js";
import { type HeapTimers, PacedDisk } from "../../src/hosts/sim/index.js";
import { BlockBackend, Machine } from "../../src/vmm/machine/index.js";
import { workFolder } from "../boot/support/guests.js";
import { MemoryDisk, RecordingDisk } from "./lossy-disk.js";
import { checkImage, sqliteGuest, toldIn } from "./sqlite-guest.js";
import { makeImage } from "./support.js";

/** How often the power is lost. */
const LOSSES = 60;
/** Commits of the one run that is recorded. */
const COMMITS = 40;

const folder = workFolder();
afterAll(() => folder.remove());

/** Numbers from 0 to below 1 (mulberry32). */
function numbers(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

it("loses no commit and leaves a clean file system when any subset of unsynced writes is lost", async () => {
  const { image: kernel, initrd } = await sqliteGuest(folder.path, "6.12");
  const base = readFileSync(makeImage(folder.path, "base.img", "24M"));
  const outside = timePorts("virtual", (seed >>> 0) + 1);
  const paced = new PacedDisk(
    new MemoryDisk(Uint8Array.from(base)),
    outside.clock,
    outside.timers as HeapTimers,
  );
  const disk = new RecordingDisk(paced);
  let machine: Machine | undefined;
  const console = new TextConsole((text) => {
    const told = toldIn(text);
    if (told > 0) disk.told(told);
    if (told >= COMMITS) machine?.stop();
  });
  machine = await Machine.create(
    {
      kernel: readFileSync(kernel),
      initrd: readFileSync(initrd),
      commandLine: "console=hvc0 panic=-1 cryptomgr.notests",
      memoryBytes: 256 << 20,
      cpus: 1,
      console: "hvc0",
      devices: [new BlockBackend("xvda", disk)],
    },
    {
      engine: await loadEngine({ seed: 1n }),
      decompressors: nodeDecompressors,
      ...outside,
      log: { warn: () => undefined, debug: () => undefined },
      console,
    },
  );
  expect((await machine.run()).kind).toBe("stopped");
  expect(console.text).not.toContain("E failed");
  const random = numbers(seed);
  const image = join(folder.path, "lost.img");
  let lost = 0;
  for (let i = 0; i < LOSSES; i++) {
    // The last moment is one of them: all was told of then.
    const moment = i === 0 ? disk.moments : Math.floor(random() * disk.moments);
    const after = disk.losePower(base, moment, random);
    writeFileSync(image, after.bytes);
    lost += after.lost;
    try {
      checkImage(folder.path, image, after.told);
    } catch (cause) {
      throw new Error(`moment ${moment} of ${disk.moments}, SEED=${seed}: ${cause}`, { cause });
    }
  }
  // It would prove nothing if there were nothing to lose.
  expect(lost).toBeGreaterThan(LOSSES / 3);
});
