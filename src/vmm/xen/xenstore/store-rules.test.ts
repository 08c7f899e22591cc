/**
 * What xenstored lets whom do (Xen's docs/misc/xenstore.txt and tools/xenstore), at its limits: the quotas of each
 * domain but 0, whose memory a node is, and what a transaction that met a limit is good for.
 */
import { describe, expect, it } from "vitest";
import type { Access } from "./node.js";
import { DEFAULT_QUOTA, Store, type StoreQuota } from "./store.js";
import { toBytes, toText } from "./wire.js";

const GUEST = 5;
/** Bytes of a node with an owner alone: a header and an entry. */
const BARE = 24 + 8;
const FREE = { nodes: 1e6, nodeSize: 1e6, watches: 1e6, transactions: 1e6, transactionNodes: 1e6 };
const QUOTA: StoreQuota = { ...FREE, permissions: 1e6, memory: 1e9 };

/** A store with one limit, and the directories /h and /g of the guest. */
function limited(quota: Partial<StoreQuota> = {}): Store {
  const store = new Store({ ...QUOTA, ...quota });
  for (const path of ["/h", "/g"]) {
    store.write(0, 0, path, toBytes(""));
    store.setPermissions(0, 0, path, [{ domid: GUEST, access: "n" }]);
  }
  return store;
}

const put = (store: Store, domid: number, path: string, value = "", tx = 0) =>
  store.write(domid, tx, path, toBytes(value));
const begin = (store: Store, domid: number): number => store.begin(domid) as number;
const read = (store: Store, path: string, domid = 0, tx = 0): unknown => {
  const value = store.read(domid, tx, path);
  return typeof value === "string" ? value : toText(value);
};
/** All that a domain's watch of a path hears. */
function heard(store: Store, path: string, domid = 0): string[] {
  const seen: string[] = [];
  store.watch({ domid, path, token: "heard", fire: (at) => seen.push(at) });
  return seen;
}

/** What can be tried again and again. */
const again: Record<string, (store: Store, domid: number, i: number) => unknown> = {
  "a node": (store, domid, i) => put(store, domid, `/h/${i}`),
  "a directory": (store, domid, i) => store.mkdir(domid, 0, `/h/${i}`),
  "a node in a transaction": (store, domid, i) =>
    put(store, domid, `/h/${i}`, "", store.begin(domid) as number) ?? put(store, domid, `/h/${i}`),
  "a watch": (store, domid, i) =>
    store.watch({ domid, path: "/h", token: `${i}`, fire: () => undefined }),
  "a transaction": (store, domid) => {
    const tx = store.begin(domid);
    return typeof tx === "number" ? undefined : tx;
  },
  "a larger value": (store, domid, i) => put(store, domid, "/h", "x".repeat(i)),
  "a name more in a directory": (store, domid, i) => put(store, domid, `/h/x${i}`),
  "more permissions": (store, domid, i) =>
    store.setPermissions(
      ...([domid, 0, "/h"] as const),
      Array.from({ length: i + 1 }, () => ({ domid: GUEST, access: "n" })),
    ),
};

describe("a quota", () => {
  it.each<[string, Partial<StoreQuota>, number, string]>([
    // The guest has /h and /g.
    ["a node", { nodes: 4 }, 2, "ENOSPC"],
    ["a directory", { nodes: 4 }, 2, "ENOSPC"],
    ["a node in a transaction", { nodes: 4 }, 2, "ENOSPC"],
    ["a watch", { watches: 3 }, 3, "E2BIG"],
    ["a transaction", { transactions: 3 }, 3, "ENOSPC"],
    // Fewer bytes than the quota says: 39 is the longest, so that eight values are possible.
    ["a larger value", { nodeSize: BARE + 8 }, 8, "ENOSPC"],
    // Each name has its two characters and an end.
    ["a name more in a directory", { nodeSize: BARE + 10 }, 3, "ENOSPC"],
    ["more permissions", { permissions: 3 }, 3, "ENOSPC"],
    ["more permissions", { nodeSize: BARE + 17 }, 3, "ENOSPC"],
  ])("of %s: %j, met after %i, by guests alone", (what, quota, count, error) => {
    const action = again[what];
    if (action === undefined) throw new Error(what);
    const store = limited(quota);
    const answers = Array.from({ length: count + 2 }, (_, i) => action(store, GUEST, i));
    expect(answers).toEqual([...Array(count).fill(undefined), error, error]);
    const free = limited(quota);
    for (let i = 0; i < count + 2; i++) expect(action(free, 0, i)).toBeUndefined();
  });

  it("is each domain's own", () => {
    const store = limited({ watches: 1, transactions: 1 });
    const watch = (domid: number) =>
      store.watch({ domid, path: "/h", token: "", fire: () => undefined });
    for (const domid of [GUEST, 6, 7]) {
      expect([watch(domid), typeof store.begin(domid)]).toEqual([undefined, "number"]);
      expect([watch(domid), store.begin(domid)]).toEqual(["EEXIST", "ENOSPC"]);
    }
  });

  it("is free again when a transaction has ended, either way", () => {
    const store = limited({ transactions: 1 });
    for (const commit of [true, false]) {
      expect(store.end(GUEST, begin(store, GUEST), commit)).toBeUndefined();
    }
  });

  it("of permissions is asked before the node", () => {
    const store = limited({ permissions: 2 });
    expect([2, 3].map((count) => store.mayHavePermissions(GUEST, count))).toEqual([true, false]);
    expect([2, 3].map((count) => store.mayHavePermissions(0, count))).toEqual([true, true]);
    expect(store.setPermissions(GUEST, 0, "/h", [])).toBe("EINVAL");
  });

  it("of nodes counts what others have made when a transaction ends", () => {
    for (const [nodes, expected] of [
      [4, "ENOSPC"],
      [5, undefined],
    ] as const) {
      const store = limited({ nodes });
      const tx = begin(store, GUEST);
      expect(put(store, GUEST, "/g/1", "", tx)).toBeUndefined();
      for (const path of ["/h/1", "/h/2"]) put(store, GUEST, path);
      expect([nodes, store.end(GUEST, tx, true)]).toEqual([nodes, expected]);
      expect(read(store, "/g/1")).toBe(expected === undefined ? "" : "ENOENT");
    }
    // Domain 0 owns far more than that.
    const store = limited({ nodes: 0 });
    const tx = begin(store, 0);
    expect(put(store, 0, "/zero", "", tx)).toBeUndefined();
    expect(store.end(0, tx, true)).toBeUndefined();
    expect(put(store, 0, "/one")).toBeUndefined();
  });

  it("of nodes that a transaction looks at spoils it", () => {
    const store = limited({ transactionNodes: 2 });
    const tx = begin(store, GUEST);
    // An absent node takes one, and its parent.
    expect(read(store, "/h/a", GUEST, tx)).toBe("ENOENT");
    expect(read(store, "/g", GUEST, tx)).toBe("ENOSPC");
    expect(put(store, GUEST, "/g/1", "", tx)).toBe("ENOSPC");
    // What it has looked at already does not count.
    expect(read(store, "/h", GUEST, tx)).toBe("");
    expect(store.end(GUEST, tx, true)).toBe("ENOMEM");
    const other = begin(store, GUEST);
    expect(read(store, "/h/a", GUEST, other)).toBe("ENOENT");
    expect(store.end(GUEST, other, true)).toBeUndefined();
    const spoilt = begin(store, GUEST);
    for (const path of ["/h", "/g", "/"]) store.read(GUEST, spoilt, path);
    expect(store.end(GUEST, spoilt, false)).toBeUndefined();
    const free = begin(store, 0);
    for (const path of ["/h/a", "/g/b", "/c"]) expect(read(store, path, 0, free)).toBe("ENOENT");
    expect(store.end(0, free, true)).toBeUndefined();
  });

  it("by default is xenstored's", () => {
    expect(DEFAULT_QUOTA).toEqual({
      ...{ nodes: 1000, nodeSize: 2048, watches: 129, transactions: 11, transactionNodes: 1024 },
      ...{ permissions: 5, memory: 2621440 },
    });
  });
});

describe("memory", () => {
  /** A store in which the guest has so many bytes left. */
  function withLeft(left: number): Store {
    const store = limited({ memory: 100_000 });
    put(store, GUEST, "/h/old", "12345");
    store.useMemory(GUEST, 100_000 - store.memory(GUEST) - left);
    return store;
  }
  const used = (run: (store: Store) => void): number => {
    const store = withLeft(1000);
    const before = store.memory(GUEST);
    run(store);
    return store.memory(GUEST) - before;
  };

  it.each<[string, number, string, (store: Store) => unknown]>([
    ["a new node: its path, itself, its name", 6 + BARE + 4, "EIO", (s) => put(s, GUEST, "/h/new")],
    [
      "a new node and its parents",
      ...([8 + BARE + 4 + BARE + 4 + 2, "EIO"] as const),
      (s) => put(s, GUEST, "/h/a/bcd"),
    ],
    ["a directory", 4 + BARE + 2, "EIO", (s) => s.mkdir(GUEST, 0, "/h/a")],
    ["a longer value", 3, "ENOMEM", (s) => put(s, GUEST, "/h/old", "12345678")],
    [
      "another entry",
      ...([8, "ENOMEM"] as const),
      (s) =>
        s.setPermissions(GUEST, 0, "/h", [
          { domid: GUEST, access: "n" },
          { domid: 6, access: "r" },
        ]),
    ],
    [
      "a watch: its path and token",
      ...([2 + 5, "ENOMEM"] as const),
      (s) => s.watch({ domid: GUEST, path: "/h", token: "token", fire: () => undefined }),
    ],
  ])("is taken by %s: %i bytes, or there is none: %s", (_, bytes, error, action) => {
    expect(used(action)).toBe(bytes);
    expect(action(withLeft(bytes))).toBeUndefined();
    const full = withLeft(bytes - 1);
    const before = full.memory(GUEST);
    expect([action(full), full.memory(GUEST)]).toEqual([error, before]);
  });

  it.each<[string, number, (store: Store) => unknown]>([
    ["the same length", 0, (s) => put(s, GUEST, "/h/old", "54321")],
    ["a shorter value", -4, (s) => put(s, GUEST, "/h/old", "1")],
    ["a node less", -(6 + BARE + 5) - 4, (s) => s.rm(GUEST, 0, "/h/old")],
  ])("is never wanting for %s", (_, bytes, action) => {
    expect(used(action)).toBe(bytes);
    expect(action(withLeft(-500))).toBeUndefined();
  });

  it("is not looked at for domain 0, whoever's the node is", () => {
    const store = withLeft(0);
    expect(put(store, 0, "/h/old", "x".repeat(3000))).toBeUndefined();
    expect(put(store, 0, "/h/new")).toBeUndefined();
    expect([store.hasRoom(0, 1e12), store.hasRoom(GUEST, 0), store.hasRoom(6, 100_000)]).toEqual([
      ...[true, false],
      true,
    ]);
    expect(store.hasRoom(6, 100_001)).toBe(false);
  });

  it("is the owner's, not the writer's", () => {
    const store = withLeft(0);
    store.setPermissions(0, 0, "/h/old", [
      { domid: GUEST, access: "n" },
      { domid: 6, access: "w" },
    ]);
    const before = [store.memory(GUEST), store.memory(6)];
    expect(put(store, 6, "/h/old", "123456")).toBe("ENOMEM");
    expect([store.memory(GUEST), store.memory(6)]).toEqual(before);
  });

  it("comes back from watches and transactions, however they end", () => {
    const store = limited();
    const start = store.memory(GUEST);
    const watch = (token: string) =>
      store.watch({ domid: GUEST, path: "/h", token, fire: () => undefined });
    watch("1");
    watch("22");
    expect(store.memory(GUEST)).toBe(start + 3 + 4);
    store.unwatch(GUEST, "/h", "22");
    expect(store.memory(GUEST)).toBe(start + 3);
    for (const end of [true, false, "forget"] as const) {
      const tx = begin(store, GUEST);
      const before = store.memory(GUEST);
      store.read(GUEST, tx, "/h");
      expect(store.memory(GUEST)).toBeGreaterThan(before);
      if (end === "forget") store.forget(GUEST);
      else store.end(GUEST, tx, end);
      expect(store.memory(GUEST)).toBe(end === "forget" ? start : before);
    }
  });

  it("of a transaction's copies is the guest's, and none of domain 0's", () => {
    const store = withLeft(0);
    const [own, privileged] = [begin(store, GUEST), begin(store, 0)];
    expect(read(store, "/h", GUEST, own)).toBe("ENOMEM");
    expect(store.end(GUEST, own, true)).toBe("ENOMEM");
    expect(read(store, "/h", 0, privileged)).toBe("");
    expect(store.end(0, privileged, true)).toBeUndefined();
  });
});

describe("permissions", () => {
  const allowed = { n: "", r: "r", w: "w", b: "rw" } as const;
  const actions: [string, "r" | "w", (store: Store) => unknown][] = [
    ["reads", "r", (s) => s.read(6, 0, "/h/x")],
    ["lists", "r", (s) => s.directory(6, 0, "/h/x")],
    ["sees who may", "r", (s) => s.getPermissions(6, 0, "/h/x")],
    ["writes", "w", (s) => put(s, 6, "/h/x", "new")],
    ["removes", "w", (s) => s.rm(6, 0, "/h/x")],
    ["makes a node that is there", "w", (s) => s.mkdir(6, 0, "/h/x")],
    ["makes a node below", "w", (s) => put(s, 6, "/h/x/y")],
    ["makes a directory below", "w", (s) => s.mkdir(6, 0, "/h/x/y")],
    ["removes what is not there, below", "w", (s) => s.rm(6, 0, "/h/x/y")],
  ];
  it.each(actions)("say who %s", (_, wanted, action) => {
    for (const access of ["n", "r", "w", "b"] as const satisfies Access[]) {
      for (const isListed of [true, false]) {
        const store = limited();
        put(store, GUEST, "/h/x", "old");
        const rest = isListed ? "n" : access;
        const listed = isListed ? [{ domid: 6, access }] : [];
        store.setPermissions(GUEST, 0, "/h/x", [{ domid: GUEST, access: rest }, ...listed]);
        const isAllowed = (allowed[access] as string).includes(wanted);
        expect([access, isListed, action(store) !== "EACCES"]).toEqual([
          access,
          isListed,
          isAllowed,
        ]);
      }
    }
  });

  it("may be changed by nobody but the owner and domain 0", () => {
    const store = limited();
    store.setPermissions(GUEST, 0, "/h", [{ domid: GUEST, access: "b" }]);
    const change = (domid: number, owner = domid) =>
      store.setPermissions(domid, 0, "/h", [{ domid: owner, access: "n" }]);
    expect([change(6), change(6, GUEST), change(GUEST, 6)]).toEqual(["EACCES", "EACCES", "EPERM"]);
    expect([change(GUEST), change(0, 7), change(GUEST)]).toEqual([undefined, undefined, "EACCES"]);
    expect(store.setPermissions(0, 0, "/h/absent", [{ domid: 0, access: "n" }])).toBe("ENOENT");
    store.setPermissions(0, 0, "/h", [
      { domid: GUEST, access: "n" },
      { domid: 6, access: "w" },
    ]);
    expect(store.setPermissions(6, 0, "/h/absent", [{ domid: 6, access: "n" }])).toBe("ENOENT");
  });

  it("of a new store let domain 0 alone in", () => {
    expect(new Store().nodes(10)).toMatchObject([
      { path: "/", value: toBytes(""), permissions: [{ domid: 0, access: "n" }] },
    ]);
    expect(new Store().directory(0, 0, "/")).toMatchObject({ names: [] });
    expect(read(new Store(), "/", 1)).toBe("EACCES");
  });
});

describe("a transaction's number", () => {
  it("is the one after the last, never 0, and none that is in use", () => {
    const store = limited();
    expect([1, 2, 3].map(() => store.begin(GUEST))).toEqual([1, 2, 3]);
    store.end(GUEST, 2, true);
    expect(store.begin(6)).toBe(4);
    const kept = { ...store.kept, nextTransaction: 0xffffffff };
    const next = new Store(QUOTA);
    expect(next.keep(kept)).toBe(true);
    expect([1, 2, 3].map(() => next.begin(GUEST))).toEqual([0xffffffff, 2, 5]);
    next.keep({ ...store.kept, nextTransaction: 4 });
    expect(next.begin(GUEST)).toBe(6);
    next.keep({ ...store.kept, transactions: [], nextTransaction: 0x7fffffff });
    expect([next.begin(GUEST), next.begin(GUEST)]).toEqual([0x7fffffff, 0x80000000]);
    next.keep({ ...store.kept, transactions: [], nextTransaction: 0x7fffffff });
    expect(next.begin(GUEST)).toBe(0x80000001);
  });

  it("of another domain, or of none, is ENOENT for all that is asked", () => {
    const store = limited();
    const tx = begin(store, 6);
    for (const id of [tx, 77]) {
      expect([
        store.read(GUEST, id, "/h"),
        store.directory(GUEST, id, "/h"),
        store.getPermissions(GUEST, id, "/h"),
        put(store, GUEST, "/h", "", id),
        store.mkdir(GUEST, id, "/h/a"),
        store.rm(GUEST, id, "/h"),
        store.setPermissions(GUEST, id, "/h", [{ domid: GUEST, access: "n" }]),
        store.end(GUEST, id, true),
        store.checkTransaction(GUEST, id),
      ]).toEqual(Array(9).fill("ENOENT"));
    }
    expect([store.checkTransaction(GUEST, 0), store.checkTransaction(6, tx)]).toEqual([
      ...[undefined, undefined],
    ]);
  });

  it("goes away with its domain, and with no other", () => {
    const store = limited();
    const [own, other] = [begin(store, GUEST), begin(store, 6)];
    store.watch({ domid: 6, path: "/h", token: "", fire: () => undefined });
    store.forget(GUEST);
    expect([store.checkTransaction(GUEST, own), store.checkTransaction(6, other)]).toEqual([
      ...["ENOENT", undefined],
    ]);
    expect(store.watches()).toHaveLength(1);
  });
});

describe("a change", () => {
  it("keeps the bytes that it was given, and gives none of its own away", () => {
    for (const isNew of [true, false]) {
      const store = limited();
      if (!isNew) put(store, GUEST, "/h/x", "old");
      const bytes = toBytes("mine");
      store.write(GUEST, 0, "/h/x", bytes);
      bytes.fill(0x78);
      (store.read(GUEST, 0, "/h/x") as Uint8Array).fill(0x78);
      expect([isNew, read(store, "/h/x")]).toEqual([isNew, "mine"]);
    }
  });

  it("takes one of several siblings away, and leaves the others in their order", () => {
    const store = limited();
    for (const name of ["c", "a", "b"]) put(store, GUEST, `/h/${name}/x`);
    store.rm(GUEST, 0, "/h/a");
    expect(store.directory(GUEST, 0, "/h")).toMatchObject({ names: ["c", "b"] });
    expect([read(store, "/h/b/x"), read(store, "/h/a/x")]).toEqual(["", "ENOENT"]);
  });

  it("gives what changes another generation, and nothing else", () => {
    const store = limited();
    put(store, GUEST, "/h/x");
    const of = (path: string) => {
      const found = store.directory(0, 0, path);
      return typeof found === "string" ? -1 : found.generation;
    };
    const paths = ["/", "/g", "/h", "/h/x"];
    const before = paths.map(of);
    put(store, GUEST, "/h/x", "1");
    expect(paths.map((path, i) => of(path) - (before[i] ?? 0)).map(Math.sign)).toEqual([
      0, 0, 0, 1,
    ]);
    put(store, GUEST, "/h/y");
    expect(paths.map((path, i) => of(path) - (before[i] ?? 0)).map(Math.sign)).toEqual([
      0, 0, 1, 1,
    ]);
  });

  it("of permissions is told to all who watch the node or what is above it", () => {
    const store = limited();
    const seen = heard(store, "/");
    store.setPermissions(0, 0, "/h", [{ domid: 6, access: "n" }]);
    expect(seen).toEqual(["/h"]);
  });

  it("of which nothing came is nobody's news", () => {
    const store = limited({ nodeSize: BARE + 8, transactionNodes: 10, memory: 500 });
    put(store, GUEST, "/h/x", "1");
    const seen = heard(store, "/h");
    const change = (tx: number) => [
      put(store, GUEST, "/h/x", "x".repeat(9), tx),
      store.setPermissions(
        ...([GUEST, tx, "/h/x"] as const),
        Array.from({ length: 3 }, () => ({ domid: GUEST, access: "n" })),
      ),
      put(store, GUEST, "/h/toolong", "", tx),
      store.mkdir(GUEST, tx, "/h/x"),
      store.rm(GUEST, tx, "/h/none"),
    ];
    const expected = ["ENOSPC", "ENOSPC", "ENOSPC", undefined, undefined];
    expect([change(0), seen]).toEqual([expected, []]);
    const tx = begin(store, GUEST);
    expect([change(tx), store.end(GUEST, tx, true), seen]).toEqual([expected, undefined, []]);
  });

  it("in a transaction is told at its end, as the last that was done to the node", () => {
    const store = limited();
    for (const path of ["/h/a/b/c", "/h/d"]) put(store, GUEST, path);
    const [top, deep] = [heard(store, "/h"), heard(store, "/h/a/b/c", GUEST)];
    const tx = begin(store, GUEST);
    // Written, then taken away with what is above it: more than its own watch hears of it.
    put(store, GUEST, "/h/a/b", "1", tx);
    store.rm(GUEST, tx, "/h/a");
    // Made and taken away again: nobody's news.
    put(store, GUEST, "/h/e", "", tx);
    store.rm(GUEST, tx, "/h/e");
    expect([top, deep]).toEqual([[], []]);
    expect(store.end(GUEST, tx, true)).toBeUndefined();
    expect([new Set(top), deep]).toEqual([new Set(["/h/a/b", "/h/a"]), ["/h/a/b/c"]]);
  });

  it("that makes again what went away with its parent is told as one of the node", () => {
    const store = limited();
    put(store, GUEST, "/h/a/b", "1");
    const seen = heard(store, "/h/a");
    const tx = begin(store, GUEST);
    store.rm(GUEST, tx, "/h/a");
    put(store, GUEST, "/h/a/b", "2", tx);
    store.end(GUEST, tx, true);
    expect(new Set(seen)).toEqual(new Set(["/h/a", "/h/a/b"]));
    expect(read(store, "/h/a/b")).toBe("2");
  });
});

describe("a store that was saved", () => {
  it("may have its root alone", () => {
    const [root] = new Store().save();
    const store = limited();
    if (root === undefined) throw new Error("no root");
    expect([store.restore([root]), store.nodes(10).length]).toEqual([true, 1]);
  });

  it("has its generations, transactions and what they have changed", () => {
    const store = limited();
    const tx = begin(store, GUEST);
    put(store, GUEST, "/h/x", "1", tx);
    store.rm(GUEST, tx, "/g");
    const { kept } = store;
    const next = new Store(QUOTA);
    next.keep(kept);
    expect(next.nodes(10)).toEqual(store.nodes(10));
    expect(kept.generation).toBeGreaterThanOrEqual(
      Math.max(...kept.nodes.map(({ generation }) => generation)),
    );
    const seen = [store, next].map((each) => {
      const events = heard(each, "/");
      expect(each.end(GUEST, tx, true)).toBeUndefined();
      return events;
    });
    expect(seen[0]).toEqual(["/h/x", "/g"]);
    expect(seen[1]).toEqual(seen[0]);
  });
});
