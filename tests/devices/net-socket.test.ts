/** QEMU's stream protocol with QEMU itself at the other end: behind its socket is its own user network. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openSocketNetwork } from "../../src/hosts/node/network/socket-network.js";
import type { Frame } from "../../src/ports/index.js";
import { workFolder } from "../boot/support/guests.js";

const folder = workFolder();
afterAll(() => folder.remove());
const log = { warn: () => undefined, debug: () => undefined };

/** Who has 10.0.2.2? */
const question = Uint8Array.from([
  ...[255, 255, 255, 255, 255, 255, 0, 0x16, 0x3e, 1, 2, 3, 8, 6],
  ...[0, 1, 8, 0, 6, 4, 0, 1, 0, 0x16, 0x3e, 1, 2, 3, 10, 0, 2, 15],
  ...[0, 0, 0, 0, 0, 0, 10, 0, 2, 2],
]);

it.each([
  ["listens", "on"],
  ["connects", "off"],
])("frames go both ways when QEMU %s", async (_, server) => {
  const path = join(folder.path, `${server}.sock`);
  const start = () =>
    spawn(
      "qemu-system-x86_64",
      [
        ...["-M", "none", "-nographic", "-monitor", "none", "-serial", "none"],
        ...["-netdev", `stream,id=s,server=${server},addr.type=unix,addr.path=${path}`],
        ...["-netdev", "hubport,id=h1,hubid=0,netdev=s"],
        ...["-netdev", "user,id=u", "-netdev", "hubport,id=h2,hubid=0,netdev=u"],
      ],
      { stdio: "ignore" },
    );
  let qemu = server === "on" ? start() : undefined;
  while (qemu !== undefined && !existsSync(path)) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const network = await openSocketNetwork(path, log);
  qemu ??= start();
  const ended = new Promise((resolve) => qemu?.on("exit", resolve));
  const got: Frame[] = [];
  network.onFrames((frames) => got.push(...frames) && frames.length);
  try {
    while (got.length === 0) {
      network.send({ bytes: question, checksum: "unknown" });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // The answer's sender.
    expect([...(got[0]?.bytes.subarray(28, 32) ?? [])]).toEqual([10, 0, 2, 2]);
  } finally {
    qemu.kill();
    await ended;
    await network.close();
  }
});
