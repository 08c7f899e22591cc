import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Frame, Log } from "../../../ports/index.js";
import type { UserForward } from "./network-thread.js";
import { openPasstNetwork } from "./passt.js";

const folder = mkdtempSync(join(tmpdir(), "kvm-xen-passt-"));
afterAll(() => rmSync(folder, { recursive: true }));
const log: Log = { warn: () => undefined, debug: () => undefined };

/** A program in passt's place. */
function program(script: string): string {
  const path = join(folder, "passt");
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

const ssh: UserForward = {
  ...{ protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 2222 },
  ...{ guestAddress: "", guestPort: 22 },
};

describe("passt", () => {
  it("that is not installed is one line", async () => {
    await expect(openPasstNetwork([], log, join(folder, "none"))).rejects.toMatchObject({
      code: "NO_PASST",
      message: "--net passt needs the program passt (package passt), which is not installed",
    });
  });

  it("is told which ports lead into the guest, and no others; what it refuses is one line", async () => {
    const path = program('echo first >&2; echo "$@" >&2; exit 1');
    const words = (tcp: string, udp: string) =>
      `--net passt: passt has ended: --foreground --fd 3 --mtu 1500 --no-map-gw --tcp-ports ${tcp} --udp-ports ${udp}`;
    await expect(openPasstNetwork([], log, path)).rejects.toThrow(words("none", "none"));
    const dns: UserForward = { ...ssh, protocol: "udp", hostAddress: "", hostPort: 53 };
    const refused = openPasstNetwork([ssh, dns], log, path);
    await expect(refused).rejects.toThrow(words("127.0.0.1/2222:22", "53:22"));
    await expect(refused).rejects.toMatchObject({ code: "NET_UNUSABLE" });
  });

  it("has frames both ways, and ends with the network", async () => {
    // What comes goes back.
    const network = await openPasstNetwork([], log, program("exec cat <&3 >&3"));
    const got: Frame[] = [];
    network.onFrames((frames) => got.push(...frames) && frames.length);
    const frame: Frame = { bytes: new Uint8Array(60).fill(7), checksum: "unknown" };
    network.send(frame);
    while (got.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(got).toEqual([frame]);
    // Resolves when the program has ended.
    await network.close();
  });
});
