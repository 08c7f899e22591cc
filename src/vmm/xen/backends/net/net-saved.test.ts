import { describe, expect, it } from "vitest";
import { Sring } from "../../../../abi/xen/ring.js";
import { LINUX, ManualNetwork, plain, RX_GFN, TX_GFN, withCard } from "./frontend.fixture.js";
import { NetBackend } from "./net-backend.js";

const MAC = "00:16:3e:01:02:03";
const frame = (length: number) => ({ bytes: plain(length), checksum: "unknown" }) as const;

/** A card in another process: what it was told of the old one is what `save` gave. */
interface Saved {
  device: { state: number; online: boolean; connected: boolean };
  connection: Record<string, unknown> | null;
}

function connected(keys: Readonly<Record<string, string>> = LINUX) {
  const all = withCard();
  all.frontend.connect(4, keys);
  return all;
}

/** Saves a card, and gives one that may take its place, in the same domain. */
async function moved(all: ReturnType<typeof withCard>, change: (saved: Saved) => void = () => {}) {
  const { backend, frontend, domain } = all;
  await backend.suspend();
  const saved = frontend.leave(backend.save(), frontend.port0, change);
  const network = new ManualNetwork();
  const next = new NetBackend(0, MAC, network);
  return { saved, network, next, restore: () => next.restore(domain, saved as never) };
}

describe("a card in another process", () => {
  it("sends what the guest put into the ring meanwhile, and lets the network begin", async () => {
    const all = connected();
    const { network, restore } = await moved(all);
    all.frontend.transmit(plain(60));
    restore();
    expect(network.sent).toEqual([frame(60)]);
    expect([all.frontend.answers(), network.resumed > 0]).toEqual([["100:0"], true]);
  });

  it("moves nothing while it is suspended, either way", async () => {
    const all = connected();
    all.frontend.post(4);
    const { network, next, restore } = await moved(all);
    await next.suspend();
    restore();
    all.frontend.transmit(plain(60));
    network.room();
    expect([network.sent, network.deliver([frame(61)])]).toEqual([[], 0]);
    next.resume();
    expect(network.sent).toEqual([frame(60)]);
    expect(network.deliver([frame(61)])).toBe(1);
    expect(all.frontend.received().map(({ status }) => status)).toEqual([61]);
  });

  it("without a driver is as it was, and serves one that comes", async () => {
    const all = withCard();
    const { network, next, restore } = await moved(all);
    restore();
    expect([all.frontend.read("state"), next.status().connected]).toEqual(["2", false]);
    all.frontend.connect();
    all.frontend.transmit(plain(60));
    expect([network.sent.length, next.status().connected]).toEqual([1, true]);
  });

  it("sees that its guest let go meanwhile", async () => {
    const all = connected();
    const { next, restore } = await moved(all);
    all.frontend.write("state", "6");
    restore();
    expect([all.frontend.read("state"), next.status().connected]).toEqual(["6", false]);
  });

  it("starts anew after a soft reset of the domain, and of none before it has one", async () => {
    const all = connected();
    const { network, next, restore } = await moved(all);
    next.reset();
    next.resume();
    restore();
    next.reset();
    expect(all.frontend.read("state")).toBe("2");
    all.frontend.connect();
    all.frontend.transmit(plain(60));
    expect(network.sent).toHaveLength(1);
  });

  it("lets go of a frontend that breaks the rules then", async () => {
    const all = connected();
    const { restore } = await moved(all);
    restore();
    all.frontend.kick({ size: 65535 });
    expect(all.frontend.read("state")).toBe("5");
  });

  it.each([
    ["request-rx-copy alone", {}],
    ...Object.keys(LINUX)
      .filter((name) => name !== "request-rx-copy")
      .map((name) => [`${name} alone`, { [name]: "1" }] as const),
    ["feature-no-csum-offload alone", { "feature-no-csum-offload": "1" }],
    ["all", LINUX],
  ] as const)("knows what the frontend takes: %s", async (_, keys) => {
    const all = connected({ "request-rx-copy": "1", ...keys });
    const { saved, next, restore } = await moved(all);
    const on = (name: string): boolean => (keys as Record<string, string>)[name] === "1";
    // public/io/netif.h: a frontend has to say what it takes, and of IPv4's checksums, that it does not.
    expect(saved.connection?.["takes"]).toEqual({
      sg: on("feature-sg"),
      gso4: on("feature-gso-tcpv4"),
      gso6: on("feature-gso-tcpv6"),
      checksum4: !on("feature-no-csum-offload"),
      checksum6: on("feature-ipv6-csum-offload"),
      notifies: on("feature-rx-notify"),
    });
    restore();
    expect(next.save()).toEqual(saved);
  });

  it("goes on behind what both rings have had", async () => {
    const all = connected();
    all.frontend.post(4);
    all.frontend.kick({ size: 60 }, { size: 60 });
    all.network.deliver([frame(60), frame(60), frame(60)]);
    const { saved, next, restore } = await moved(all);
    expect(saved.connection?.["position"]).toEqual({
      tx: { consumed: 2, produced: 2 },
      rx: { consumed: 3, produced: 3 },
    });
    // What the guest writes into the page meanwhile counts for nothing.
    for (const gfn of [TX_GFN, RX_GFN]) all.frontend.ring(gfn, Sring.rsp_prod, 77);
    restore();
    expect(next.save()).toEqual(saved);
  });

  const connection = (part: Record<string, unknown>) => (saved: Saved) =>
    void Object.assign(saved.connection ?? {}, part);
  const numbers = [undefined, null, "1", -1, 1.5, 2 ** 32];
  const fields = ["tx", "rx", "port"].flatMap((name) =>
    numbers.map((value) => [`${name} ${value}`, connection({ [name]: value })] as const),
  );
  const halfway = { consumed: 1, produced: 0 };
  const start = { consumed: 0, produced: 0 };
  const positions = [undefined, {}, halfway, ...numbers.map((n) => ({ consumed: n, produced: n }))];
  it.each<readonly [string, (saved: Saved) => void]>([
    ...fields,
    ...positions.flatMap(
      (at) =>
        [
          [
            `a ring to send at ${JSON.stringify(at)}`,
            connection({ position: { tx: at, rx: start } }),
          ],
          [
            `a ring to receive at ${JSON.stringify(at)}`,
            connection({ position: { tx: start, rx: at } }),
          ],
        ] as const,
    ),
    ["no positions", connection({ position: undefined })],
    ["a grant that is none", connection({ tx: 200 })],
    ["another grant that is none", connection({ rx: 200 })],
    ["the same page twice", connection({ rx: 8 })],
    ["a port that there is not", connection({ port: 4000 })],
    ["no connection", (saved) => void Object.assign(saved, { connection: null })],
    ["a connection that is a list", (saved) => void Object.assign(saved, { connection: [] })],
    [
      "a connection that the device does not know",
      (saved) => void Object.assign(saved.device, { connected: false }),
    ],
    ["no device", (saved) => void Object.assign(saved, { device: null })],
  ])("refuses %s", async (_, damage) => {
    const { next, restore } = await moved(connected(), damage);
    expect(restore).toThrow(
      expect.objectContaining({ code: "STATE_DAMAGED", message: expect.stringContaining("vif0") }),
    );
    expect(next.save()).toMatchObject({ connection: null });
  });
});

describe("a card that is in no domain", () => {
  it("has an address, no guest, and lets all be done with it", async () => {
    const network = new ManualNetwork();
    const backend = new NetBackend(15, MAC, network);
    expect(backend.status()).toEqual({ name: "vif15", class: "vif", connected: false });
    expect(await backend.identity()).toEqual({ mac: MAC });
    expect(backend.save()).toEqual({ device: null, connection: null });
    network.room();
    expect(network.deliver([frame(60), frame(60)])).toBe(2);
    backend.reset();
    await backend.suspend();
    expect(network.deliver([frame(60)])).toBe(0);
    backend.resume();
    expect(network.resumed).toBe(1);
    await backend.unplug();
  });

  it("is forgotten when it was unplugged, and what comes for it is lost", async () => {
    const { frontend, backend, network } = connected();
    const unplugged = backend.unplug();
    frontend.write("state", "6");
    await unplugged;
    await backend.unplug();
    expect(backend.save()).toEqual({ device: null, connection: null });
    expect(network.deliver([frame(60)])).toBe(1);
  });
});

describe("a frontend that cannot be served", () => {
  it.each([
    ["tx-ring-ref", "", "tx-ring-ref is no number"],
    ["rx-ring-ref", "", "rx-ring-ref is no number"],
    ["event-channel", "", "event-channel is no number"],
    ["request-rx-copy", "0", "request-rx-copy is not 1"],
    ["rx-ring-ref", "8", "both rings are the same page"],
    // GNTST_general_error for an entry without flags, GNTST_bad_gntref for none.
    ["tx-ring-ref", "200", "tx-ring-ref 200 cannot be used (-1)"],
    ["rx-ring-ref", "4294967295", "rx-ring-ref 4294967295 cannot be used (-3)"],
    ["event-channel", "1", "event-channel 1 is not for this domain"],
  ])("%s of '%s' is told: %s", (name, value, text) => {
    const { frontend, test } = withCard();
    frontend.connect(1);
    frontend.write(name, value);
    frontend.write("state", "4");
    expect(frontend.error()).toBe(`22 ${text}`);
    expect(test.lines).toEqual([`vif0: ${text}`]);
  });
});

describe("limits and work", () => {
  it("256 KiB wait for a guest without pages, and a frame begins below that", () => {
    const { network } = connected();
    // 4 of 65,535 bytes are 4 short of it.
    const large = [65535, 65535, 65535, 65535].map(frame);
    expect(network.deliver([...large, frame(3), frame(14), frame(14)])).toBe(6);
    const other = connected();
    expect(other.network.deliver([...large, frame(4), frame(14)])).toBe(5);
  });

  it("every slot and every ten bytes are charged, both ways", () => {
    const { frontend, network, domain } = connected();
    frontend.post(4);
    domain.takeWork();
    frontend.transmit(plain(60));
    expect(domain.takeWork()).toBe(106);
    frontend.transmit(plain(5000));
    expect(domain.takeWork()).toBe(700);
    network.deliver([frame(60)]);
    expect(domain.takeWork()).toBe(106);
    network.deliver([frame(9000)]);
    expect(domain.takeWork()).toBe(1200);
    // What cannot be read costs its slot.
    frontend.kick({ gref: 200, size: 60 });
    expect(domain.takeWork()).toBe(100);
  });
});
