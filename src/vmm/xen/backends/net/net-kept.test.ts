/** A network card in an exact snapshot: it goes on elsewhere as if nothing had been, and nobody is told. */
import { describe, expect, it } from "vitest";
import type { ArmLater, Frame, KeptRecord } from "../../../../ports/index.js";
import { ip, LINUX, ManualNetwork, plain, RX_GFN, TX_GFN, withCard } from "./frontend.fixture.js";
import { NetBackend } from "./net-backend.js";

const MAC = "00:16:3e:01:02:03";
const frame = (length: number): Frame => ({ bytes: plain(length), checksum: "unknown" });
/** A TCP packet of three segments. */
const LARGE: Frame = {
  bytes: ip(4, 6, new Uint8Array(3000)),
  checksum: "blank",
  segmentSize: 1000,
};
const later: ArmLater = () => undefined;
const RECORDS: readonly KeptRecord[] = [
  { what: "lease", numbers: [1, 2.5], bytes: Uint8Array.of(7, 8), timer: { atNs: 5, order: 1 } },
  { what: "frame", numbers: [], bytes: new Uint8Array(0), timer: undefined },
];

/** A network that can be saved. */
class KeepingNetwork extends ManualNetwork {
  records: readonly KeptRecord[] = RECORDS;
  /** What it was given to go on from. */
  given: [readonly KeptRecord[], ArmLater][] = [];

  kept = (): readonly KeptRecord[] => this.records;
  keep = (records: readonly KeptRecord[], arm: ArmLater): void =>
    void this.given.push([records, arm]);
}

/** What a card keeps, open to changes. */
interface Kept {
  device: { bus: { connected: boolean }; complaints: number };
  net: { connection: Record<string, unknown> | null; network: unknown[] };
}

/** A card whose network can be saved, connected unless `keys` is undefined. */
function card(keys: Readonly<Record<string, string>> | undefined = LINUX) {
  const all = withCard();
  const network = all.network as ManualNetwork & Partial<KeepingNetwork>;
  network.kept = () => RECORDS;
  if (keys !== undefined) all.frontend.connect(4, keys);
  return all;
}

/** Another card that is to go on in the same domain. */
function moved(
  all: ReturnType<typeof card>,
  change: (kept: Kept) => void = () => {},
  network = new KeepingNetwork(),
) {
  const { backend, frontend, domain } = all;
  const kept = frontend.leave(backend.kept() as unknown as Kept, frontend.port0, change);
  const next = new NetBackend(0, MAC, network);
  return { kept, network, next, keep: () => next.keep(domain, kept as never, later) };
}

const refused = (code: string) =>
  expect.objectContaining({ code, message: expect.stringContaining("vif0") });

describe("a card in an exact snapshot", () => {
  it("goes on behind what both rings have had, and in the middle of what waits", () => {
    const all = card();
    all.frontend.post(1);
    all.frontend.kick({ size: 60 }, { size: 60 });
    all.frontend.answers();
    all.network.deliver([frame(60), frame(61), LARGE]);
    expect(all.frontend.received()).toHaveLength(1);
    const { keep, next, network } = moved(all);
    // What the guest writes into the page meanwhile counts for nothing.
    keep();
    const states = all.frontend.watchStates();
    expect([all.frontend.answers(), all.frontend.received(), network.sent]).toEqual([[], [], []]);
    expect([states, network.resumed, next.status().connected]).toEqual([[], 0, true]);
    all.frontend.post(8, { tell: true });
    const [small, large, extra, ...others] = all.frontend.received();
    // public/io/netif.h: a blank checksum has flags 1 and 2, and another slot says how to cut it (8): type 1, its size.
    expect([small?.status, large?.status, large?.flags, others]).toEqual([61, 3054, 11, []]);
    expect([extra?.bytes[0], extra?.bytes[2], extra?.bytes[3]]).toEqual([1, 1000 & 255, 1000 >> 8]);
    all.frontend.kick({ size: 62 });
    expect([all.frontend.answers(), network.sent.map(({ bytes }) => bytes.length)]).toEqual([
      ["0:0"],
      [62],
    ]);
  });

  it("says the same of itself as before: what waits, both rings, what the frontend takes", () => {
    for (const keys of [LINUX, { "request-rx-copy": "1", "feature-rx-notify": "1" }]) {
      const all = card(keys);
      all.frontend.post(2);
      all.frontend.kick({ size: 60 });
      all.network.deliver([frame(60), frame(61), frame(62), frame(63)]);
      const { keep, kept, next } = moved(all);
      keep();
      expect(JSON.parse(JSON.stringify(next.kept()))).toEqual(kept);
      expect(kept.net.connection).toMatchObject({ txAt: 1, rxAt: 2, port: all.frontend.port0 });
    }
  });

  it("keeps how a large packet is to be cut, and that its checksum is blank", () => {
    const all = card();
    all.network.deliver([LARGE, frame(60)]);
    const { kept } = moved(all);
    expect(kept.net.connection?.["waiting"]).toMatchObject([
      { checksum: "blank", segmentSize: 1000 },
      { checksum: "unknown", segmentSize: null },
    ]);
  });

  it("takes as many bytes for a guest without pages as the old one would have", () => {
    const all = card();
    const large = [65535, 65535, 65535, 65535].map(frame);
    all.network.deliver(large.slice(0, 2));
    const { keep, network } = moved(all);
    keep();
    // 256 KiB, and a frame begins below that: 4 of 65,535 bytes are 4 short of it.
    expect(network.deliver([...large.slice(2), frame(14), frame(14)])).toBe(3);
  });

  it("gives the network what it said, with the times of it, and whoever arms timers", () => {
    const all = card();
    const { keep, network } = moved(all);
    keep();
    expect(network.given).toEqual([[RECORDS, later]]);
  });

  it("has each grant in use as before, whatever the guest has made of its entry", () => {
    const all = card();
    for (const ref of [8, 9]) all.frontend.grant(ref, 0x999, { flags: 0 });
    const flags = [8, 9].map((ref) => all.frontend.flags(ref));
    const { keep, next, network } = moved(all);
    keep();
    expect([8, 9].map((ref) => all.frontend.flags(ref))).toEqual(flags);
    // Its rings are where they were.
    all.frontend.ring(TX_GFN, 0, 0);
    all.frontend.ring(RX_GFN, 0, 0);
    all.frontend.transmit(plain(60));
    expect([network.sent, next.status().connected]).toEqual([[frame(60)], true]);
  });

  it("without a driver is as it was, and serves one that comes", () => {
    const all = withCard();
    (all.network as Partial<KeepingNetwork>).kept = () => RECORDS;
    const { keep, kept, next, network } = moved(all);
    expect(kept.net.connection).toBeNull();
    keep();
    expect([next.status().connected, all.frontend.read("state")]).toEqual([false, "2"]);
    all.frontend.connect();
    all.frontend.transmit(plain(60));
    expect([next.status().connected, network.sent]).toEqual([true, [frame(60)]]);
  });

  it("lets go of a frontend that breaks the rules afterwards", () => {
    const all = card();
    const { keep, next } = moved(all);
    keep();
    all.frontend.kick({ size: 65535 });
    expect([all.frontend.read("state"), next.status().connected]).toEqual(["5", false]);
    expect(all.test.lines.join()).toContain("vif0");
  });

  it("goes on in its count of messages about the frontend", () => {
    const all = card();
    const error = "/local/domain/1/error/device/vif/0/error";
    const say = (): void => void all.domain.store.write(1, 0, error, Uint8Array.of(0x61));
    for (let i = 0; i < 6; i++) say();
    const { keep, kept } = moved(all);
    expect(kept.device.complaints).toBe(6);
    keep();
    for (let i = 0; i < 6; i++) say();
    expect(all.test.lines).toHaveLength(8);
  });
});

describe("a card that cannot be saved exactly", () => {
  it("has a network of the host", () => {
    const all = withCard();
    all.frontend.connect();
    expect(() => all.backend.kept()).toThrow(refused("SNAPSHOT_IMPOSSIBLE"));
    expect(() => all.backend.kept()).toThrow("simulated");
  });

  it("is suspended, in no domain, or about to be replaced", async () => {
    const all = card();
    await all.backend.suspend();
    expect(() => all.backend.kept()).toThrow(refused("SNAPSHOT_IMPOSSIBLE"));
    expect(() => all.backend.kept()).toThrow("in the middle of something");
    all.backend.resume();
    expect(all.backend.kept()).toMatchObject({ device: { bus: { connected: true } } });
    const none = new NetBackend(0, MAC, new KeepingNetwork());
    expect(() => none.kept()).toThrow(refused("SNAPSHOT_IMPOSSIBLE"));
  });

  it("was saved with a simulated network, and has another one now", () => {
    const { keep } = moved(card(), undefined, new ManualNetwork() as KeepingNetwork);
    expect(keep).toThrow(refused("SNAPSHOT_DEVICES"));
  });
});

describe("a card's part of an exact snapshot that fits to nothing", () => {
  const connection = (part: Record<string, unknown>) => (kept: Kept) =>
    void Object.assign(kept.net.connection ?? {}, part);
  const nowhere = { ref: 1 << 20, readonly: false, gfn: 1 };
  it.each<[string, string, (kept: Kept) => void, string?]>([
    ["no connection of a connected device", "STATE_DAMAGED", ({ net }) => (net.connection = null)],
    [
      "a connection that the device does not know",
      "STATE_DAMAGED",
      ({ device }) => (device.bus.connected = false),
    ],
    [
      "a ring to send that is nowhere",
      "SNAPSHOT_DAMAGED",
      connection({ txPage: nowhere }),
      "a ring",
    ],
    [
      "a ring to receive that is nowhere",
      "SNAPSHOT_DAMAGED",
      connection({ rxPage: nowhere }),
      "a ring",
    ],
    ["a port of nobody", "SNAPSHOT_DAMAGED", connection({ port: 4000 }), "an event channel"],
    ["no device", "STATE_DAMAGED", (kept) => Object.assign(kept, { device: null })],
    ["no network", "SNAPSHOT_DAMAGED", ({ net }) => Object.assign(net, { network: null })],
  ])("is refused: %s", (_, code, change, what = "") => {
    const { keep, network } = moved(card(), change);
    const message = expect.stringContaining(what);
    expect(keep).toThrow(expect.objectContaining({ code, message }));
    expect(network.given).toEqual([]);
  });
});
