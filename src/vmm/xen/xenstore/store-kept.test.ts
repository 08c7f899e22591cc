import { expect, it } from "vitest";
import { Store } from "./store.js";
import { storeLayer } from "./store-layer.js";
import { toBytes, toText } from "./wire.js";

/** A store of another process with the same in it, by way of a file. */
function again(store: Store): { store: Store; settle: () => void } {
  const { watches, transactions, ...kept } = store.kept;
  const written = storeLayer.write({
    ...kept,
    watches: watches.map(({ domid, path, token, isRelative = false }) => ({
      ...{ domid, path, token },
      isRelative,
    })),
    transactions: transactions.map(({ changes, ...transaction }) => ({
      ...transaction,
      changes: changes.map(({ path, exact, before, parent }) => ({ path, exact, before, parent })),
    })),
  });
  const read = storeLayer.read(JSON.parse(JSON.stringify(written)), "store");
  const next = new Store();
  expect(next.keep(read)).toBe(true);
  return { store: next, settle: () => next.settle(read) };
}

function full(): Store {
  const store = new Store();
  store.write(0, 0, "/a", toBytes("1"));
  store.setPermissions(0, 0, "/a", [{ domid: 1, access: "n" }]);
  store.write(1, 0, "/a/b", toBytes("2"));
  return store;
}

it("goes on with transactions: what they have changed, and what others have since", () => {
  const store = full();
  const [fine, late] = [store.begin(1), store.begin(1)] as [number, number];
  store.write(1, fine, "/a/c", toBytes("3"));
  store.read(1, late, "/a/b");
  store.write(1, late, "/a/d", toBytes("4"));
  store.write(0, 0, "/a/b", toBytes("5"));
  const { store: next, settle } = again(store);
  settle();
  for (const each of [store, next]) {
    expect(toText(each.read(1, fine, "/a/c") as Uint8Array)).toBe("3");
    expect(each.read(1, 0, "/a/c")).toBe("ENOENT");
    expect([each.end(1, late, true), each.end(1, fine, true)]).toEqual(["EAGAIN", undefined]);
    expect(each.begin(1)).toBe(late + 1);
  }
  expect(next.nodes(100)).toEqual(store.nodes(100));
  expect(next.memory(1)).toBe(store.memory(1));
});

it("tells watches in the order in which they were, whoever registers first, and charges what it charged", () => {
  const store = full();
  const heard: string[] = [];
  const watch = (into: Store, token: string) =>
    into.watch({ domid: 1, path: "/a", token, fire: () => heard.push(token) });
  for (const token of ["x", "y", "z"]) watch(store, token);
  store.useMemory(1, 77);
  const { store: next, settle } = again(store);
  for (const token of ["z", "y", "x"]) watch(next, token);
  settle();
  next.write(1, 0, "/a/b", toBytes("6"));
  expect(heard).toEqual(["x", "y", "z"]);
  expect(next.memory(1)).toBe(store.memory(1));
});

it("refuses a transaction that has lost the root, for which there would be no end", () => {
  const { transactions: _, ...kept } = full().kept;
  const view = {
    prefix: 2,
    seen: [],
    changed: [{ path: "/", node: undefined }],
    owned: [],
    copies: [],
  };
  const transactions = [{ id: 1, domid: 1, failed: false, view, changes: [] }];
  const written = storeLayer.write({ ...kept, watches: [], transactions });
  expect(() => storeLayer.read(written, "store")).toThrow(/damaged/);
});
