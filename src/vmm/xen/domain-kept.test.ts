/** A domain in an exact snapshot, through a file and in another process: all that it was, in the middle of its work. */

import { describe, expect, it } from "vitest";
import { HVM_NR_PARAMS } from "../../abi/xen/hvm.js";
import { Xs } from "../../abi/xen/xs-wire.js";
import { evtchnPort, PAGE_SIZE, xenVcpuId } from "../../base/index.js";
import { codeOf } from "../../base/refusal.fixture.js";
import { ConsoleBackend } from "./backends/console/console-backend.js";
import { ConsoleFrontend } from "./backends/console/frontend.fixture.js";
import { putBytes, takeBytes } from "./byte-ring.js";
import {
  type DomainKept,
  domainKeptLayer,
  isReadable,
  readDomainKept,
  settleDomain,
  writeDomainKept,
} from "./domain-kept.js";
import { makeDomain } from "./kvm.fixture.js";
import type { SharedPage } from "./shared-page.js";
import { requests, responses } from "./xenstore/ring.fixture.js";
import { encodeMessage, toBytes, toText } from "./xenstore/wire.js";

type Test = ReturnType<typeof makeDomain>;
/** What a file holds. */
type Json = Readonly<Record<string, unknown>>;
type Path = readonly (string | number)[];

const GUEST = 1;
const HOME = "/local/domain/1";
/** VIRQ_TIMER is of each vCPU; VIRQ_DEBUG is, too. */
const [VIRQ_TIMER, VIRQ_DEBUG] = [0, 1] as const;

const consoleDevice = (index: number): ConsoleBackend =>
  new ConsoleBackend(
    index,
    { write: () => undefined, onData: () => undefined },
    { isBusy: () => false },
  );

/** The page of xenstore's ring, as the guest sees it. */
function ringPage({ domain }: Test): SharedPage {
  const { memory, config } = domain;
  const base = config.xenstoreGfn * PAGE_SIZE;
  return {
    read: (offset, length) => memory.read(base + offset, length) as Uint8Array,
    write: (offset, bytes) => void memory.write(base + offset, bytes),
    borrow: (offset, length) => memory.read(base + offset, length) as Uint8Array,
    noteWrite: () => undefined,
    readU32: (offset) => memory.readU32(base + offset) as number,
    writeU32: (offset, value) => void memory.writeU32(base + offset, value),
  };
}

/** Puts requests into xenstore's ring, and tells. */
function request(test: Test, ...messages: [type: number, text: string][]): void {
  for (const [i, [type, text]] of messages.entries()) {
    putBytes(
      ringPage(test),
      requests,
      encodeMessage({ type, reqId: i, txId: 0, payload: toBytes(text) }),
    );
    test.domain.ports.send(evtchnPort(Number(test.domain.params.get(1 + 1))));
  }
}

/** Reads all that xenstore has to say, as a guest that goes on does. */
function drain(test: Test): string {
  let all = "";
  for (let i = 0; i < 100; i++) {
    all += toText(takeBytes(ringPage(test), responses, 1024) ?? new Uint8Array(0));
    test.domain.ports.send(evtchnPort(Number(test.domain.params.get(2))));
  }
  return all;
}

/** Whoever watches on the host does so again by himself. */
const watchAsTools = ({ domain }: Test): void =>
  void domain.store.watch({
    ...{ domid: 0, path: `${HOME}/data`, token: "tools" },
    fire: () => undefined,
  });

/** A domain whose guest has done a bit of everything. */
function busy(): Test {
  const device = consoleDevice(1);
  const test = makeDomain([device]);
  const { domain, time, call } = test;
  const { store, ports, physmap } = domain;
  new ConsoleFrontend(test).connect();
  domain.params.set(12, 2n ** 64n - 1n);
  expect(call(24, [10, 0, 0x5000])).toBe(0);
  domain.mapSharedInfo(0x9000, true);
  physmap.place(domain.grantFrames[3]?.hva as never, 0x9001);
  physmap.clear(0x30);
  physmap.release(0x40);
  physmap.release(0x41);
  physmap.populate(0x8000);
  Object.assign(domain.vcpus.get(1) ?? {}, { initialised: true, down: true });
  // Ports of every kind: unbound, of this domain itself, of virtual interrupts, of a vCPU, of a physical one.
  const open = ports.allocUnbound(GUEST);
  expect(ports.bindInterdomain(GUEST, open)).toBeGreaterThan(0);
  expect(ports.allocUnbound(0)).toBeGreaterThan(0);
  for (const port of [
    ports.bindVirq(VIRQ_TIMER, xenVcpuId(0)),
    ports.bindVirq(VIRQ_DEBUG, xenVcpuId(1)),
    ports.bindIpi(xenVcpuId(1)),
    ports.bindPirq(55),
  ])
    expect(port).toBeGreaterThan(0);
  domain.vcpus.get(1)?.timers.setOneShot(BigInt(time.now) + 700n);
  domain.vcpus.get(1)?.timers.setPeriodic(2_000_000n);
  expect(domain.watchdogs.start(9)).toBe(1);
  expect(domain.watchdogs.start(7)).toBe(2);
  domain.watchdogs.set(1, 0);
  // A transaction, watches with events that the guest does not read, and a request that is half there.
  store.write(0, 0, `${HOME}/data`, toBytes("old"));
  const transaction = store.begin(GUEST) as number;
  store.write(GUEST, transaction, `${HOME}/data/new`, toBytes("1"));
  request(test, [Xs.WATCH, "data\0relative\0"], [Xs.WATCH, `${HOME}/data\0absolute\0`]);
  watchAsTools(test);
  for (let i = 0; i < 40; i++) store.write(0, 0, `${HOME}/data/${i}`, toBytes("x"));
  putBytes(ringPage(test), requests, new Uint8Array(20).fill(0));
  ports.send(evtchnPort(Number(domain.params.get(2))));
  domain.rings.console.keep(Uint8Array.of(1, 2, 3));
  domain.charge(123);
  return test;
}

/** What a file holds of it. */
const written = ({ domain }: Test): Json => {
  const devices = domain.devices.map((device) => ({
    name: device.name,
    kept: (device as ConsoleBackend).kept(),
  }));
  const kept = readDomainKept(domain, devices);
  return JSON.parse(JSON.stringify(domainKeptLayer.write(kept)));
};
const read = (json: Json): DomainKept => domainKeptLayer.read(json as never, "domain");

/** Another process: a new domain at the same moment, with the pages of the old one. */
function again(test: Test, json: Json, devices = [consoleDevice(1)]) {
  const next = makeDomain();
  next.time.now = test.time.now;
  for (const [i, at] of test.domain.pages.entries()) {
    const [from, to] = [test.domain, next.domain].map((domain) => domain.config.vm.linear.u8);
    to?.set(from?.subarray(at, at + PAGE_SIZE) ?? [], next.domain.pages[i] as number);
  }
  const timers: { order: number; arm: () => void }[] = [];
  const kept = read(json);
  writeDomainKept(next.domain, kept, devices, (order, arm) => timers.push({ order, arm }));
  for (const { arm } of timers) arm();
  if (kept.store.watches.some(({ token }) => token === "tools")) watchAsTools(next);
  settleDomain(next.domain, kept);
  return next;
}

describe("a domain in an exact snapshot", () => {
  const test = busy();
  const json = written(test);

  it("has something of everything", () => {
    const kept = read(json);
    const states = kept.ports.ports.map(({ state }) => state);
    expect(new Set(states)).toEqual(
      new Set(["unbound", "loopback", "backend", "virq", "pirq", "ipi"]),
    );
    expect(kept.overlays.map(({ page }) => page)).toContain(-1);
    expect(kept.frames).toMatchObject({ free: [0x41], elsewhere: [0x40] });
    expect(kept.vcpus[1]?.timers).toMatchObject({
      oneShot: { atNs: 1700 },
      periodic: { atNs: 2_001_000 },
      periodNs: 2_000_000n,
    });
    expect(kept.watchdogs).toMatchObject([undefined, { atNs: 7e9 + 1000 }]);
    expect(kept.isSharedInfoActive).toBe(true);
    expect(kept.vcpus.map(({ hasPageInfo }) => hasPageInfo)).toEqual([false, true]);
    expect(kept.store.transactions).toHaveLength(1);
    expect(kept.store.watches.filter(({ domid }) => domid === GUEST)).toMatchObject([
      { path: `${HOME}/data`, token: "relative", isRelative: true },
      { path: `${HOME}/data`, token: "absolute", isRelative: false },
    ]);
    const { rings } = kept;
    expect(rings.store.connection.output.length).toBeGreaterThan(10);
    expect(rings.store.sending.length).toBeGreaterThan(0);
    expect([rings.store.input.length, rings.waiting]).toEqual([4, Uint8Array.of(1, 2, 3)]);
    expect([kept.work, test.domain.takeWork()]).toEqual([kept.work, kept.work]);
    test.domain.charge(kept.work);
    expect(kept.work).toBeGreaterThanOrEqual(123);
  });

  it("is the same in another process", () => {
    const next = again(test, json);
    expect(written(next)).toEqual(json);
    expect(next.domain.watchdogs.start(5)).toBe(1);
    expect(next.time.armed.size).toBe(test.time.armed.size + 1);
    expect(next.hvm.values.get("SHARED_INFO_HVA")).toMatchObject({
      hva: BigInt(next.domain.pages[0] as number),
    });
  });

  it("goes on alike: events, replies, timers, ports and transactions", () => {
    const [one, other] = [busy(), again(test, json)];
    expect(drain(other)).toBe(drain(one));
    for (const each of [one, other]) {
      const { domain, time } = each;
      time.now = 1800;
      expect(time.runDue()).toBe(1);
      expect(domain.store.begin(GUEST)).toBeGreaterThan(0);
      // The page that is elsewhere is not free, and the one that is free comes back.
      expect([domain.physmap.populate(0x41), domain.physmap.populate(0x40)]).toEqual([true, false]);
      expect(domain.store.write(0, 0, `${HOME}/data/7`, toBytes("y"))).toBeUndefined();
    }
    expect(drain(other)).toBe(drain(one));
    expect(written(other)).toEqual(written(one));
  });

  it("before shared_info is there keeps the events that wait for it", () => {
    const early = makeDomain();
    early.domain.ports.raiseVirq(VIRQ_TIMER, xenVcpuId(0));
    const port = early.domain.ports.bindVirq(VIRQ_TIMER, xenVcpuId(1));
    early.domain.ports.raiseVirq(VIRQ_TIMER, xenVcpuId(1));
    const saved = written(early);
    expect(read(saved).delivery.early).toContainEqual({ port, vcpu: 1 });
    const next = again(early, saved, []);
    expect(written(next)).toEqual(saved);
    next.take();
    next.domain.mapSharedInfo(0x9000, true);
    expect(next.take()).toContain(`send ${port} to 4`);
  });

  it("cannot be read while a backend's other end is closed", () => {
    const half = busy();
    expect(isReadable(half.domain)).toBe(true);
    half.domain.ports.close(evtchnPort(Number(half.domain.params.get(2))));
    expect(isReadable(half.domain)).toBe(false);
    expect(() => written(half)).toThrow("not readable");
  });

  /** Every place in a file, but for what devices keep, which they check themselves. */
  function places(at: unknown, path: Path = []): Path[] {
    if (typeof at !== "object" || at === null || path.includes("kept")) return [path];
    const keys = Array.isArray(at) ? [...at.keys()].slice(0, 3) : Object.keys(at);
    return [path, ...keys.flatMap((key) => places(Reflect.get(at, key), [...path, key]))];
  }
  const valueAt = (from: unknown, path: Path): unknown =>
    path.reduce((at, key) => Reflect.get(at as object, key), from);
  /** A copy with another value at a place, or without it. */
  function changed(path: Path, value: unknown): Json {
    const copy = structuredClone(json);
    const [key, into] = [path.at(-1), valueAt(copy, path.slice(0, -1)) as object];
    if (key === undefined) return value as Json;
    if (value === undefined) Reflect.deleteProperty(into, key);
    else Reflect.set(into, key, value);
    return copy;
  }

  it("is refused with anything missing, or of another kind", () => {
    const accepted: string[] = [];
    for (const path of places(json)) {
      const isElement = typeof path.at(-1) === "number";
      const others = [{ wrong: 1 }, ...(isElement ? [] : [undefined])];
      for (const value of others)
        if (path.at(-1) !== "kept" && codeOf(() => read(changed(path, value))) === undefined)
          accepted.push(path.join("."));
    }
    expect(accepted).toEqual([]);
  });

  it.each<readonly [path: string, last: unknown, beyond: unknown]>([
    ["params.0.index", HVM_NR_PARAMS - 1, HVM_NR_PARAMS],
    ["vcpus.0.infoGpa", 0, -1],
    ["vcpus.0.infoGpa", null, "0"],
    ["watchdogs", [null, null], [null]],
    ["overlays.0.gfn", 2 ** 40 - 1, 2 ** 40],
    ["overlays.0.page", 255, 256],
    ["overlays.0.page", -1, -2],
    ["ports.ports.0.port", 4095, 4096],
    ["ports.ports.0.port", 1, 0],
    ["ports.ports.0.vcpu", 63, 64],
    ["ports.ports.0.to", 2 ** 32 - 1, 2 ** 32],
    ["ports.ports.0.state", "ipi", "other"],
    ["ports.nextBackendPort", 0, -1],
    ["delivery.shortcuts", [4095], [4096]],
    ["delivery.early", [{ port: 1, vcpu: 63 }], [{ port: 1, vcpu: 64 }]],
    ["rings.ports.store", 1, 0],
    ["rings.store.outstanding", 1000, 1001],
    ["rings.store.outstanding", 0, -1],
    ["work", 0, -1],
    ["work", Number.MAX_SAFE_INTEGER, 1.5],
    ["devices.0.name", "x".repeat(200), "x".repeat(201)],
    ["store.transactions.0.id", 1, 0],
    ["store.transactions.0.id", 2 ** 32 - 1, 2 ** 32],
    ["store.nextTransaction", 2 ** 32 - 1, 2 ** 32],
    ["store.accounts.nodes.0.domid", -(2 ** 31), -(2 ** 31) - 1],
    ["store.accounts.nodes.0.domid", 2 ** 31 - 1, 2 ** 31],
    ["store.accounts.nodes.0.count", 2 ** 40, 2 ** 40 + 1],
    ["store.accounts.nodes.0.count", -(2 ** 40), -(2 ** 40) - 1],
    ["store.nodes.0.path", "/a", "a"],
    ["store.nodes.0.path", "/", "//"],
    ["store.nodes.0.permissions", ["n0"], []],
    ["store.nodes.0.permissions", ["n0"], ["x0"]],
  ])("%s may be %j, not %j", (path, last, beyond) => {
    const at = path.split(".").map((key) => (/^\d+$/.test(key) ? Number(key) : key));
    expect(codeOf(() => read(changed(at, last)))).toBeUndefined();
    expect(codeOf(() => read(changed(at, beyond)))).toBe("SNAPSHOT_DAMAGED");
  });

  const many = (count: number, one: unknown): unknown[] => Array.from({ length: count }, () => one);
  it.each<readonly [path: string, most: number, one: unknown]>([
    ["params", HVM_NR_PARAMS, { index: 0, value: "0" }],
    ["overlays", 200, { gfn: 0, page: 0 }],
    ["delivery.shortcuts", 4096, 1],
    ["delivery.early", 4096, { port: 1, vcpu: 0 }],
    ["devices", 256, { name: "x", kept: null }],
    ["store.watches", 2000, { domid: 0, path: "/", token: "", isRelative: false }],
    ["store.nodes.0.permissions", 256, "n0"],
    ["store.accounts.nodes", 1000, { domid: 0, count: 0 }],
  ])("%s are at most %i", (path, most, one) => {
    const at = path.split(".").map((key) => (/^\d+$/.test(key) ? Number(key) : key));
    expect(codeOf(() => read(changed(at, many(most, one))))).toBeUndefined();
    expect(codeOf(() => read(changed(at, many(most + 1, one))))).toBe("SNAPSHOT_DAMAGED");
  });

  const indexOf = (state: string): number =>
    read(json).ports.ports.findIndex((one) => one.state === state);
  it.each<readonly [what: string, path: Path, value: unknown]>([
    ["a vCPU too few", ["vcpus"], [valueAt(json, ["vcpus", 1])]],
    ["a port of a vCPU that there is not", ["ports", "ports", 0, "vcpu"], 2],
    ["a virtual interrupt beyond the last", ["ports", "ports", indexOf("virq"), "to"], 24],
    ["a physical interrupt beyond the last", ["ports", "ports", indexOf("pirq"), "to"], 56],
    ["a page that there is not", ["overlays", 0, "page"], 255],
    ["a page of RAM that there is not", ["frames", "free"], [4096]],
    ["a device that is not there", ["devices", 0, "name"], "hvc2"],
    ["ticks without a period", ["vcpus", 1, "timers", "periodNs"], "0"],
    ["a ring at a port of nobody", ["rings", "ports", "store"], 4000],
    ["a console at a port of nobody", ["rings", "ports", "console"], 4000],
    ["a store without its root", ["store", "nodes", 0, "path"], "/nothing"],
  ])("is refused with %s", (_, path, value) => {
    expect(codeOf(() => again(test, changed(path, value)))).toBe("SNAPSHOT_DAMAGED");
  });

  it("is refused with a device that cannot be kept", () => {
    const plain = { name: "hvc1", connect: () => undefined } as unknown as ConsoleBackend;
    expect(codeOf(() => again(test, json, [plain]))).toBe("SNAPSHOT_DAMAGED");
  });
});
