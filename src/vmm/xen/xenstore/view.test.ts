/** The tree, and that of a transaction over it: what each sees, and what counts for whom. */
import { beforeEach, describe, expect, it } from "vitest";
import { Accounts, nodeBytes } from "./accounts.js";
import type { StoreNode } from "./node.js";
import { prefixOf, TransactionView, Tree } from "./view.js";

let generation = 0;
const nodeOf = (domid: number, value = "", children: string[] = []): StoreNode => ({
  ...{ value: new TextEncoder().encode(value), permissions: [{ domid, access: "n" }], children },
  generation: ++generation,
});
/** Bytes of a node without anything: a header and one permission. */
const BARE = 32;
const PREFIX = 3;

let accounts: Accounts;
let tree: Tree;
let room: [owner: number, bytes: number][];
const begin = (limit = 100, hasRoom = true) =>
  new TransactionView(tree, accounts, PREFIX, limit, (owner, bytes) => {
    room.push([owner, bytes]);
    return hasRoom;
  });

beforeEach(() => {
  accounts = new Accounts();
  tree = new Tree(nodeOf(0), accounts);
  room = [];
});

describe("accounts", () => {
  it("count a node's header, permissions, value, and its children's names with their ends", () => {
    expect(nodeBytes(nodeOf(1))).toBe(BARE);
    expect(nodeBytes(nodeOf(1, "abc", ["x", "yz"]))).toBe(BARE + 3 + 2 + 3);
    const shared = {
      ...nodeOf(1),
      permissions: [1, 2, 3].map((domid) => ({ domid, access: "r" })),
    };
    expect(nodeBytes(shared as unknown as StoreNode)).toBe(BARE + 16);
  });

  it("are put back as they were, whatever was there", () => {
    accounts.use(3, 50);
    const all = accounts.all;
    expect(all).toEqual({
      nodes: [[0, 1]],
      bytes: [
        [0, BARE + 1],
        [3, 50],
      ],
    });
    const others = new Accounts();
    others.use(9, 9);
    others.replace("/x", undefined, nodeOf(9));
    others.all = all;
    expect([others.all, others.nodes(9), others.memory(9), others.memory(3)]).toEqual([
      all,
      0,
      0,
      50,
    ]);
  });
});

describe("the tree", () => {
  it("counts nodes and bytes for their owners, also when a node changes hands or goes", () => {
    expect([tree.ownedBy(0), accounts.memory(0)]).toEqual([1, BARE + 1]);
    tree.put("/ab", nodeOf(5, "xyz"));
    expect([tree.ownedBy(5), accounts.memory(5)]).toEqual([1, 3 + BARE + 3]);
    tree.put("/ab", nodeOf(6));
    expect([tree.ownedBy(5), accounts.memory(5)]).toEqual([0, 0]);
    expect([tree.ownedBy(6), accounts.memory(6)]).toEqual([1, 3 + BARE]);
    tree.remove("/ab");
    expect([tree.ownedBy(6), accounts.memory(6), tree.get("/ab")]).toEqual([0, 0, undefined]);
    expect([...tree.entries()].map(([path]) => path)).toEqual(["/"]);
  });
});

describe("a transaction", () => {
  it("has a name that tells its copies from nodes", () => {
    expect([prefixOf(7), prefixOf(123)]).toEqual([2, 4]);
  });

  it("sees its own changes only, until they are applied", () => {
    const [old, mine, other] = [nodeOf(5, "old"), nodeOf(5, "mine"), nodeOf(5, "other")];
    tree.put("/a", old);
    tree.put("/gone", old);
    const view = begin();
    expect(view.get("/a")).toBe(old);
    view.put("/a", mine);
    view.put("/new", other);
    view.remove("/gone");
    view.put("/never", other);
    view.remove("/never");
    expect(["/a", "/new", "/gone", "/never"].map((path) => view.get(path))).toEqual([
      ...[mine, other],
      ...[undefined, undefined],
    ]);
    expect(["/a", "/new", "/gone"].map((path) => tree.get(path))).toEqual([old, undefined, old]);
    expect([view.first("/a"), view.first("/new")]).toEqual([old, undefined]);
    view.apply();
    expect([...tree.entries()].map(([path, node]) => [path, node]).slice(1)).toEqual([
      ["/a", mine],
      ["/new", other],
    ]);
    expect(tree.ownedBy(5)).toBe(2);
  });

  it("conflicts with a node that others replaced, made or removed, and with no other", () => {
    const begun = (path: string) => {
      const view = begin();
      view.get(path);
      return view;
    };
    tree.put("/a", nodeOf(5));
    tree.put("/b", nodeOf(5));
    const [replaced, made, removed, other] = ["/a", "/c", "/b", "/d"].map(begun);
    expect([replaced, made, removed, other].map((view) => view?.conflicts())).toEqual(
      Array(4).fill(false),
    );
    tree.put("/a", nodeOf(5));
    tree.put("/c", nodeOf(5));
    tree.remove("/b");
    expect([replaced, made, removed, other].map((view) => view?.conflicts())).toEqual([
      ...[true, true, true, false],
    ]);
  });

  it("counts nodes that a domain owns in it", () => {
    tree.put("/a", nodeOf(5));
    tree.put("/b", nodeOf(5));
    const view = begin();
    expect([view.ownedBy(5), view.ownedBy(6)]).toEqual([2, 0]);
    view.put("/c", nodeOf(5));
    view.put("/d", nodeOf(5));
    expect(view.ownedBy(5)).toBe(4);
    view.put("/a", nodeOf(6));
    expect([view.ownedBy(5), view.ownedBy(6)]).toEqual([3, 1]);
    view.remove("/a");
    view.remove("/nowhere");
    expect([view.ownedBy(5), view.ownedBy(6), tree.ownedBy(5)]).toEqual([3, 0, 2]);
  });

  it("uses memory of the owners of what it looks at, until it ends", () => {
    tree.put("/ab", nodeOf(5, "xyz"));
    const before = accounts.memory(5);
    const view = begin();
    const copy = (path: string, value: string) => PREFIX + path.length + BARE + value.length;
    view.get("/ab");
    view.get("/ab");
    view.get("/none");
    expect(accounts.memory(5) - before).toBe(copy("/ab", "xyz"));
    expect(room).toEqual([[5, copy("/ab", "xyz")]]);
    view.put("/ab", nodeOf(6, "long value"));
    expect([accounts.memory(5) - before, accounts.memory(6)]).toEqual([
      ...[0, copy("/ab", "long value")],
    ]);
    view.put("/new", nodeOf(6));
    view.put("/more", nodeOf(6));
    view.remove("/new");
    expect(accounts.memory(6)).toBe(copy("/ab", "long value") + copy("/more", ""));
    view.end();
    expect([accounts.memory(5) - before, accounts.memory(6)]).toEqual([0, 0]);
  });

  it("looks at so many nodes, absent ones too, and says once that there were more", () => {
    tree.put("/a", nodeOf(5));
    tree.put("/b", nodeOf(5));
    const view = begin(2);
    expect([view.get("/a")?.value.length, view.get("/x"), view.takeTrouble()]).toEqual([
      ...[0, undefined, undefined],
    ]);
    expect([view.get("/a")?.value.length, view.takeTrouble()]).toEqual([0, undefined]);
    expect(view.get("/b")).toBe(tree.get("/b"));
    expect([view.takeTrouble(), view.takeTrouble()]).toEqual(["ENOSPC", undefined]);
    expect(view.first("/b")).toBeUndefined();
  });

  it("says that an owner has no room for a copy, but not for a node that is not there", () => {
    tree.put("/a", nodeOf(5));
    const view = begin(9, false);
    view.get("/none");
    expect(view.takeTrouble()).toBeUndefined();
    view.get("/a");
    expect(view.takeTrouble()).toBe("ENOMEM");
  });

  it("sorts by what it looked at first; what it did not look at is last", () => {
    const view = begin();
    for (const path of ["/c", "/a", "/b", "/a"]) view.get(path);
    const things = ["/z", "/a", "/b", "/c"].map((path) => ({ path }));
    expect(view.inOrder(things).map(({ path }) => path)).toEqual(["/c", "/a", "/b", "/z"]);
  });

  it("goes on elsewhere with all of it", () => {
    tree.put("/a", nodeOf(5, "a"));
    tree.put("/b", nodeOf(5, "b"));
    const view = begin();
    view.get("/a");
    view.get("/b");
    view.put("/b", nodeOf(6, "mine"));
    tree.put("/a", nodeOf(5, "other"));
    const { kept } = view;
    expect(kept.prefix).toBe(PREFIX);
    expect(kept.seen.map(({ path, isCurrent }) => [path, isCurrent])).toEqual([
      ["/a", false],
      ["/b", true],
    ]);
    const next = begin();
    const memory = accounts.memory(6);
    next.keep(kept);
    expect(accounts.memory(6)).toBe(memory);
    expect(next.kept).toEqual(kept);
    expect([next.conflicts(), next.ownedBy(5), next.ownedBy(6)]).toEqual([true, 1, 1]);
    next.end();
    expect(accounts.memory(6)).toBe(0);
  });
});
