/** What the files of snapshots may say of a domain, its grants and its store: the last value, and the one beyond. */
import { describe, expect, it } from "vitest";
import { codeOf } from "../../base/refusal.fixture.js";
import type { Codec } from "../snapshot/codec.js";
import { grantLayer } from "./backends/kept-grant.js";
import { domainLayer } from "./domain-state.js";
import { storeLayer, storeRingLayer } from "./xenstore/store-layer.js";

const DAMAGED = "SNAPSHOT_DAMAGED";
const seen = { path: "/a", node: null };
const node = { value: "00", permissions: ["n0"], children: ["a"], generation: 1 };
const view = {
  ...{ prefix: 2, seen: [{ ...seen, isCurrent: false }], changed: [{ path: "/a", node }] },
  ...{ owned: [], copies: [] },
};
const change = { path: "/a", exact: true, before: null, parent: ["n0"] };
const transaction = { id: 1, domid: 1, failed: false, view, changes: [change] };
const samples: Record<string, [Codec<unknown>, unknown]> = {
  grant: [grantLayer as Codec<unknown>, { ref: 8, readonly: false, gfn: 1 }],
  domain: [
    domainLayer as Codec<unknown>,
    {
      params: [{ index: 1, value: "1" }],
      vcpus: [{ initialised: true, down: false }],
      frames: { elsewhere: [1], free: [1], moved: [{ gfn: 1, page: 1 }] },
      ports: [1],
      console: "00".repeat(4096),
      store: [{ path: "/", value: "", permissions: ["n0"] }],
    },
  ],
  store: [
    storeLayer as Codec<unknown>,
    {
      nodes: [{ path: "/", value: "", generation: 1, permissions: ["n0"] }],
      ...{ generation: 1, nextTransaction: 1 },
      watches: [{ domid: 1, path: "/a", token: "t", isRelative: true }],
      transactions: [transaction],
      accounts: { nodes: [{ domid: 1, count: 1 }], bytes: [] },
    },
  ],
  ring: [
    storeRingLayer as Codec<unknown>,
    {
      connection: { output: [{ event: "a", reply: null }], overflowed: false },
      ...{ input: "", sending: "", outstanding: 0, dead: false },
      message: { bytes: "00".repeat(16), isReply: true },
    },
  ],
};

/** A sample with another value in one place. */
function read(path: string, value: unknown): string | undefined {
  const [name = "", ...keys] = path.split(".");
  const [codec, data] = samples[name] ?? [];
  const copy = JSON.parse(JSON.stringify(data));
  const last = keys.pop() as string;
  keys.reduce((at, key) => at[key], copy)[last] = value;
  return codeOf(() => codec?.read(copy, name));
}

describe("a sample", () => {
  it.each(Object.entries(samples))("of %s is what it says, and lacks nothing", (_, [
    codec,
    data,
  ]) => {
    expect(codec.write(codec.read(data as never, "sample"))).toEqual(data);
    const missing: string[] = [];
    const look = (at: Record<string, unknown>, place: string): void => {
      for (const [key, value] of Object.entries(at)) {
        if (!Array.isArray(at)) {
          delete at[key];
          if (codeOf(() => codec.read(data as never, "sample")) !== DAMAGED)
            missing.push(place + key);
          at[key] = value;
        }
        if (typeof value === "object" && value !== null)
          look(value as Record<string, unknown>, `${place + key}.`);
      }
    };
    look(data as Record<string, unknown>, "");
    expect(missing).toEqual([]);
  });
});

const bytes = (count: number): string => "00".repeat(count);
const text = (count: number): string => "/".padEnd(count, "a");
describe("a value", () => {
  it.each<[path: string, last: unknown, beyond: unknown]>([
    ["grant.ref", 0xffffffff, 2 ** 32],
    ["grant.gfn", 0, -1],
    ["grant.gfn", 2 ** 40 - 1, 2 ** 40],
    ["domain.params.0.index", 38, 39],
    ["domain.params.0.index", 0, -1],
    ["domain.frames.moved.0.gfn", 0, -1],
    ["domain.frames.moved.0.gfn", 2 ** 40 - 1, 2 ** 40],
    ["domain.frames.elsewhere.0", 2 ** 20, 2 ** 20 + 1],
    ["domain.ports.0", 1, 0],
    ["domain.ports.0", 4095, 4096],
    ["domain.store.0.permissions.0", "n".repeat(32), "n".repeat(33)],
    ["store.nodes.0.value", bytes(4096), bytes(4097)],
    ["store.nodes.0.path", text(2048), text(2049)],
    ["store.nodes.0.generation", 0, -1],
    ["store.nodes.0.permissions.0", `n${"0".repeat(31)}`, `n${"0".repeat(32)}`],
    ["store.generation", 0, -1],
    ["store.watches.0.domid", -(2 ** 31), -(2 ** 31) - 1],
    ["store.watches.0.path", text(4096), text(4097)],
    ["store.watches.0.token", text(4096), text(4097)],
    ["store.transactions.0.id", 0xffffffff, 2 ** 32],
    ["store.transactions.0.id", 1, 0],
    ["store.transactions.0.view.prefix", 0, -1],
    ["store.transactions.0.view.seen.0.path", "/", "x"],
    ["store.transactions.0.view.changed.0.node.value", "", bytes(4097)],
    ["store.transactions.0.view.changed.0.node.value", bytes(4096), bytes(4097)],
    ["store.transactions.0.view.changed.0.node.children.0", text(4096), text(4097)],
    ["store.transactions.0.view.changed.0.node.permissions", ["n0"], []],
    ["store.transactions.0.changes.0.before", ["n0"], []],
    ["store.transactions.0.changes.0.path", "/", "//"],
    ["ring.connection.output.0.event", text(4096), text(4097)],
    ["ring.connection.output.0.reply", bytes(16), bytes(15)],
    ["ring.connection.output.0.reply", bytes(16 + 4096), bytes(16 + 4097)],
    ["ring.input", bytes(16 + 4096), bytes(16 + 4097)],
    ["ring.input", "", "0"],
    ["ring.sending", bytes(16 + 4096), bytes(16 + 4097)],
    ["ring.sending", "", "0"],
    ["ring.message.bytes", bytes(16), bytes(15)],
    ["ring.message.bytes", bytes(16 + 4096), bytes(16 + 4097)],
    ["ring.message", null, 1],
    ["ring.outstanding", 0, -1],
  ])("%s has a last one", (path, last, beyond) => {
    // The root of a transaction's view is always there.
    const isRoot = path.endsWith("seen.0.path");
    expect([read(path, last), read(path, beyond)]).toEqual([isRoot ? DAMAGED : undefined, DAMAGED]);
  });

  it("may be a root that a transaction has seen", () => {
    for (const which of ["seen", "changed"]) {
      const root = { path: "/", node, ...(which === "seen" ? { isCurrent: true } : {}) };
      const path = `store.transactions.0.view.${which}`;
      expect(read(path, [root])).toBeUndefined();
      expect(read(path, [{ ...root, node: null }])).toBe(DAMAGED);
      expect(read(path, [{ ...root, path: "/a", node: null }])).toBeUndefined();
    }
  });
});

describe("a list", () => {
  it.each<[path: string, most: number, one: unknown]>([
    ["domain.params", 39, { index: 0, value: "0" }],
    ["domain.ports", 4096, 1],
    ["domain.store", 10_000, { path: "/", value: "", permissions: ["n0"] }],
    ["store.nodes", 10_000, { path: "/", value: "", generation: 1, permissions: ["n0"] }],
    ["store.nodes.0.permissions", 256, "n0"],
    ["store.watches", 2000, { domid: 0, path: "/", token: "", isRelative: false }],
    ["store.transactions", 64, transaction],
    ["store.transactions.0.view.changed.0.node.permissions", 256, "n0"],
    ["store.transactions.0.view.owned", 1000, { domid: 0, count: 0 }],
    ["store.transactions.0.changes", 10_000, change],
    ["store.accounts.bytes", 1000, { domid: 0, count: 0 }],
  ])("%s has at most %i", (path, most, one) => {
    const many = (count: number): unknown[] => Array.from({ length: count }, () => one);
    expect([read(path, many(most)), read(path, many(most + 1))]).toEqual([undefined, DAMAGED]);
  });

  it.each(["domain.vcpus", "domain.store", "store.nodes"])("%s has one at least", (path) => {
    expect(read(path, [])).toBe(DAMAGED);
  });
});
