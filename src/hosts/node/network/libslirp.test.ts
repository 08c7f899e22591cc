import { createServer, type Server } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { koffi } from "../koffi.js";
import { SlirpLink } from "./libslirp.js";
import type { Forward, UserLinkRequest } from "./link.js";
import { PollList } from "./system.js";

/** Whether the library is installed: as tools/check/machine.mjs finds it. */
function hasLibslirp(): boolean {
  try {
    koffi.load("libslirp.so.0");
    return true;
  } catch {
    return false;
  }
}

const open: SlirpLink[] = [];
const servers: Server[] = [];
afterEach(() => {
  for (const link of open.splice(0)) link.close();
  for (const server of servers.splice(0)) server.close();
});

const LOCAL = [127, 0, 0, 1];
const forward = (hostPort: number, more: Partial<Forward> = {}): Forward => ({
  ...{ isUdp: false, hostAddress: LOCAL, hostPort, guestAddress: [0, 0, 0, 0], guestPort: 22 },
  ...more,
});

function link(request: Partial<UserLinkRequest> = {}) {
  const got: Uint8Array[] = [];
  const host = { receive: (bytes: Uint8Array) => void got.push(bytes), say: () => undefined };
  const made = new SlirpLink(
    { kind: "user", subnet: 2, hostLoopback: false, forwards: [], ...request },
    host,
  );
  open.push(made);
  return { made, got };
}

/** Who has 10.0.N.2? */
const arp = (subnet: number): Uint8Array =>
  Uint8Array.from([
    ...[255, 255, 255, 255, 255, 255, 0, 0x16, 0x3e, 1, 2, 3, 8, 6],
    ...[0, 1, 8, 0, 6, 4, 0, 1, 0, 0x16, 0x3e, 1, 2, 3, 10, 0, subnet, 15],
    ...[0, 0, 0, 0, 0, 0, 10, 0, subnet, 2],
  ]);

/** A port of 127.0.0.1 that somebody listens on. */
async function usedPort(): Promise<number> {
  const server = createServer();
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as { port: number }).port;
}

describe.skipIf(!hasLibslirp())("libslirp", () => {
  it("answers for the gateway of its own network, several side by side", () => {
    const [one, two] = [link(), link({ subnet: 3 })];
    one.made.send(arp(2));
    two.made.send(arp(2));
    two.made.send(arp(3));
    const sender = ({ got }: typeof one) => got.map((bytes) => [...bytes.subarray(28, 32)]);
    expect([sender(one), sender(two)]).toEqual([[[10, 0, 2, 2]], [[10, 0, 3, 2]]]);
  });

  it("wants its sockets polled, and its turn within the time that it is given", () => {
    const { made } = link({ forwards: [forward(0)] });
    const list = new PollList();
    expect(made.fill(list, 300)).toBeLessThanOrEqual(300);
    // The one that listens.
    list.poll(0);
    made.react(list);
    expect(list.events(0)).toBe(0);
    expect(list.events(1)).toBe(0);
  });

  it("refuses a port that another program uses, or an address that the host has not", async () => {
    const port = await usedPort();
    expect(() => link({ forwards: [forward(port)] })).toThrow(
      `--net user: tcp port ${port} of 127.0.0.1 cannot be had: another program uses it`,
    );
    expect(() => link({ forwards: [forward(0, { hostAddress: [192, 0, 2, 1] })] })).toThrow(
      expect.objectContaining({ code: "NET_UNUSABLE" }),
    );
    // What was open before is open no more.
    expect(link({ forwards: [forward(0), forward(0, { isUdp: true })] }).got).toEqual([]);
  });

  it("takes whatever a guest sends", () => {
    const { made } = link();
    for (const length of [0, 1, 13, 14, 60, 1500, 65549]) made.send(new Uint8Array(length));
    const frame = arp(2);
    for (let at = 0; at < frame.length; at++) {
      for (const value of [0, 0xff]) made.send(frame.with(at, value).subarray(0, 42 - (at % 20)));
    }
  });
});
