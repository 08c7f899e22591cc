// @ts-check
/**
 * A test suite whose tests each have a fresh guest that has booted already: one boot, one snapshot, and a machine of it
 * for each test. What a test does to its guest, no other sees. With node's own runner:
 *   node --test examples/snapshots-as-fixtures.mjs
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createMachine, debianGuest, loadEngine, writeSnapshotFile } from "kvm-xen/hosts/node";

const folder = await mkdtemp(join(tmpdir(), "fixtures-"));
const fixture = join(folder, "booted.snapshot");
// One engine for all machines of the process.
const engine = await loadEngine();

before(async () => {
  const machine = await createMachine({ ...(await debianGuest()), engine });
  const ended = machine.run();
  await machine.exec(["sh", "-c", "echo fresh >/tmp/state"]);
  await writeSnapshotFile(fixture, await machine.save());
  machine.stop();
  await ended;
});
after(() => rm(folder, { recursive: true }));

/**
 * A guest of the fixture, for one test.
 * @param {(sh: (line: string) => Promise<string>) => Promise<void>} body
 */
async function withGuest(body) {
  const machine = await createMachine({ restore: fixture, engine });
  const ended = machine.run();
  try {
    await body(async (line) => {
      const { stdout } = await machine.exec(["sh", "-c", line], { timeout: 60_000 });
      return new TextDecoder().decode(stdout).trim();
    });
  } finally {
    machine.stop();
    await ended;
  }
}

test("a guest can be spoilt", () =>
  withGuest(async (sh) => {
    assert.equal(
      await sh("cat /tmp/state; echo spoilt >/tmp/state; cat /tmp/state"),
      "fresh\nspoilt",
    );
  }));

test("and the next one is fresh", () =>
  withGuest(async (sh) => {
    assert.equal(await sh("cat /tmp/state"), "fresh");
  }));
