import { describe, expect, it } from "vitest";
import { writeInitialNodes } from "./initial-nodes.js";
import { DEFAULT_QUOTA, Store } from "./store.js";
import { toBytes, toText } from "./wire.js";

const GUEST = 5;
const HOME = "/local/domain/5";

function withHome(): Store {
  const store = new Store();
  store.write(0, 0, `${HOME}/data`, toBytes(""));
  store.setPermissions(0, 0, HOME, [
    { domid: 0, access: "n" },
    { domid: GUEST, access: "r" },
  ]);
  store.setPermissions(0, 0, `${HOME}/data`, [{ domid: GUEST, access: "n" }]);
  return store;
}

function text(value: unknown): unknown {
  return value instanceof Uint8Array ? toText(value) : value;
}

const write = (store: Store, path: string, value: string, tx = 0, domid = GUEST): unknown =>
  store.write(domid, tx, path, toBytes(value));
const read = (store: Store, path: string, tx = 0, domid = GUEST): unknown =>
  text(store.read(domid, tx, path));

describe("tree", () => {
  it("writes, reads and lists, with parents made on the way", () => {
    const store = withHome();
    expect(write(store, `${HOME}/data/a/b`, "x")).toBeUndefined();
    expect(read(store, `${HOME}/data/a/b`)).toBe("x");
    expect(read(store, `${HOME}/data/a`)).toBe("");
    expect(store.directory(GUEST, 0, `${HOME}/data`)).toMatchObject({ names: ["a"] });
    expect(store.getPermissions(GUEST, 0, `${HOME}/data/a`)).toEqual([
      { domid: GUEST, access: "n" },
    ]);
  });

  it("mkdir keeps what is there", () => {
    const store = withHome();
    write(store, `${HOME}/data/a`, "x");
    expect(store.mkdir(GUEST, 0, `${HOME}/data/a`)).toBeUndefined();
    expect(read(store, `${HOME}/data/a`)).toBe("x");
  });

  it("rm takes all below; an absent node is fine only with its parent there", () => {
    const store = withHome();
    write(store, `${HOME}/data/a/b/c`, "x");
    expect(store.rm(GUEST, 0, `${HOME}/data/a`)).toBeUndefined();
    expect(read(store, `${HOME}/data/a/b/c`)).toBe("ENOENT");
    expect(store.directory(GUEST, 0, `${HOME}/data`)).toMatchObject({ names: [] });
    expect(store.rm(GUEST, 0, `${HOME}/data/a`)).toBeUndefined();
    expect(store.rm(GUEST, 0, `${HOME}/data/a/b`)).toBe("ENOENT");
    expect(store.rm(0, 0, "/")).toBe("EINVAL");
  });
});

describe("permissions", () => {
  it("hides what a domain may not use, absent or not", () => {
    const store = withHome();
    store.write(0, 0, "/local/domain/6/secret", toBytes("s"));
    expect(read(store, "/local/domain/6/secret")).toBe("EACCES");
    expect(read(store, "/local/domain/6/absent")).toBe("EACCES");
    expect(read(store, `${HOME}/absent`)).toBe("ENOENT");
    expect(write(store, `${HOME}/new`, "x")).toBe("EACCES");
    expect(store.mkdir(GUEST, 0, HOME)).toBe("EACCES");
  });

  it("lets only the owner change them, and only domain 0 the owner", () => {
    const store = withHome();
    expect(store.setPermissions(GUEST, 0, HOME, [{ domid: GUEST, access: "b" }])).toBe("EACCES");
    const path = `${HOME}/data`;
    expect(store.setPermissions(GUEST, 0, path, [{ domid: 6, access: "b" }])).toBe("EPERM");
    expect(
      store.setPermissions(GUEST, 0, path, [
        { domid: GUEST, access: "n" },
        { domid: 6, access: "w" },
      ]),
    ).toBeUndefined();
    expect(write(store, `${path}/x`, "1", 0, 6)).toBeUndefined();
    expect(read(store, path, 0, 6)).toBe("EACCES");
    expect(store.getPermissions(GUEST, 0, `${path}/x`)).toBe("EACCES");
    expect(store.getPermissions(0, 0, `${path}/x`)).toEqual([
      { domid: 6, access: "n" },
      { domid: 6, access: "w" },
    ]);
  });
});

describe("quotas", () => {
  it("limits nodes, value size, permissions, watches and transactions of a guest", () => {
    const store = withHome();
    let made = 0;
    const place = (i: number): string => `${HOME}/data/${Math.floor(i / 100)}/${i % 100}`;
    while (write(store, place(made), "") === undefined) made += 1;
    expect(made).toBe(989);
    expect(write(store, place(0), "again")).toBeUndefined();
    expect(write(store, place(0), "x".repeat(2016))).toBe("ENOSPC");
    expect(write(store, place(0), "x".repeat(2015))).toBeUndefined();
    store.rm(GUEST, 0, place(0));
    expect(write(store, place(989), "")).toBeUndefined();
    const many = Array.from({ length: 6 }, () => ({ domid: GUEST, access: "n" as const }));
    expect(store.setPermissions(GUEST, 0, `${HOME}/data`, many)).toBe("ENOSPC");
    const watch = (token: string): unknown =>
      store.watch({ domid: GUEST, path: HOME, token, fire: () => undefined });
    for (let i = 0; i < 129; i++) expect(watch(`${i}`)).toBeUndefined();
    expect(watch("0")).toBe("EEXIST");
    expect(watch("more")).toBe("E2BIG");
    for (let i = 0; i < 11; i++) expect(store.begin(GUEST)).toBeTypeOf("number");
    expect(store.begin(GUEST)).toBe("ENOSPC");
  });

  it("limits what one transaction may look at", () => {
    const store = withHome();
    const tx = store.begin(GUEST) as number;
    let looked = 0;
    while (read(store, `${HOME}/data/n${looked}`, tx) === "ENOENT") looked += 1;
    expect(looked).toBeLessThanOrEqual(1024);
    expect(read(store, `${HOME}/data/more`, tx)).toBe("ENOSPC");
  });
});

describe("transactions", () => {
  it("are invisible until they commit, then fire watches once a node", () => {
    const store = withHome();
    const seen: string[] = [];
    store.watch({ domid: 0, path: HOME, token: "t", fire: (path) => seen.push(path) });
    const tx = store.begin(GUEST) as number;
    write(store, `${HOME}/data/a`, "1", tx);
    write(store, `${HOME}/data/a`, "2", tx);
    expect(read(store, `${HOME}/data/a`)).toBe("ENOENT");
    expect(read(store, `${HOME}/data/a`, tx)).toBe("2");
    expect(seen).toEqual([]);
    expect(store.end(GUEST, tx, true)).toBeUndefined();
    expect(read(store, `${HOME}/data/a`)).toBe("2");
    expect(seen).toEqual([`${HOME}/data/a`]);
    expect(store.end(GUEST, tx, true)).toBe("ENOENT");
  });

  it("conflict by node, not by store", () => {
    const store = withHome();
    write(store, `${HOME}/data/a`, "1");
    write(store, `${HOME}/data/b`, "1");
    const first = store.begin(GUEST) as number;
    const second = store.begin(GUEST) as number;
    expect(read(store, `${HOME}/data/a`, first)).toBe("1");
    expect(read(store, `${HOME}/data/b`, second)).toBe("1");
    write(store, `${HOME}/data/a`, "2");
    expect(read(store, `${HOME}/data/a`, first)).toBe("1");
    write(store, `${HOME}/data/b`, "3", second);
    expect(store.end(GUEST, first, true)).toBe("EAGAIN");
    expect(store.end(GUEST, second, true)).toBeUndefined();
    expect(read(store, `${HOME}/data/b`)).toBe("3");
  });

  it("conflict with a node that was absent", () => {
    const store = withHome();
    const tx = store.begin(GUEST) as number;
    expect(read(store, `${HOME}/data/a`, tx)).toBe("ENOENT");
    write(store, `${HOME}/data/a`, "1");
    expect(store.end(GUEST, tx, true)).toBe("EAGAIN");
  });

  it("can be dropped, and belong to one domain", () => {
    const store = withHome();
    const tx = store.begin(GUEST) as number;
    write(store, `${HOME}/data/a`, "1", tx);
    expect(store.read(6, tx, HOME)).toBe("ENOENT");
    expect(store.end(6, tx, true)).toBe("ENOENT");
    expect(store.end(GUEST, tx, false)).toBeUndefined();
    expect(read(store, `${HOME}/data/a`)).toBe("ENOENT");
  });
});

describe("watches", () => {
  it("fire for the node and what is below, and for what goes away with an ancestor", () => {
    const store = withHome();
    write(store, `${HOME}/data/a/b`, "1");
    const seen: string[] = [];
    const watch = (path: string, token: string): unknown =>
      store.watch({ domid: GUEST, path, token, fire: (at) => seen.push(`${token}:${at}`) });
    watch(`${HOME}/data/a`, "a");
    watch(`${HOME}/data/a/b`, "b");
    write(store, `${HOME}/data/a/c`, "1");
    write(store, `${HOME}/data/ab`, "1");
    expect(seen.splice(0)).toEqual([`a:${HOME}/data/a/c`]);
    store.rm(GUEST, 0, `${HOME}/data`);
    expect(seen.splice(0)).toEqual([`b:${HOME}/data/a/b`, `a:${HOME}/data/a`]);
    expect(store.unwatch(GUEST, `${HOME}/data/a`, "b")).toBe("ENOENT");
    expect(store.unwatch(GUEST, `${HOME}/data/a`, "a")).toBeUndefined();
  });

  it("tell a domain only of nodes that it may read", () => {
    const store = withHome();
    const seen: string[] = [];
    store.watch({ domid: GUEST, path: "/", token: "t", fire: (path) => seen.push(path) });
    store.write(0, 0, "/private/x", toBytes("1"));
    store.write(0, 0, `${HOME}/data/x`, toBytes("1"));
    expect(seen).toEqual([`${HOME}/data/x`]);
  });

  it("may change the store when they fire", () => {
    const store = withHome();
    const seen: string[] = [];
    store.watch({
      domid: 0,
      path: `${HOME}/data/a`,
      token: "t",
      fire: (path) => {
        seen.push(path);
        if (seen.length === 1) store.write(0, 0, `${HOME}/data/a/ack`, toBytes("1"));
      },
    });
    write(store, `${HOME}/data/a`, "1");
    expect(seen).toEqual([`${HOME}/data/a`, `${HOME}/data/a/ack`]);
  });
});

describe("initial nodes", () => {
  it("are there with the right owners", () => {
    const store = new Store();
    const place = { port: 1, gfn: 0xfeff9 };
    const uuid = "00000000-0000-4000-8000-000000000001";
    const ids = { domid: GUEST, name: "guest", uuid, vcpus: 2, memoryBytes: 1 << 20 };
    writeInitialNodes(store, { ...ids, store: place, console: place });
    expect(read(store, `${HOME}/store/ring-ref`)).toBe(`${0xfeff9}`);
    expect(read(store, `${HOME}/cpu/1/availability`)).toBe("online");
    expect(read(store, `${HOME}/memory/target`)).toBe("1024");
    expect(write(store, `${HOME}/store/port`, "9")).toBe("EACCES");
    expect(write(store, `${HOME}/control/shutdown`, "")).toBeUndefined();
    expect(write(store, `${HOME}/control/feature-poweroff`, "1")).toBeUndefined();
    expect(read(store, `/vm/${uuid}/name`)).toBe("guest");
  });
});

describe("a store in a snapshot", () => {
  /** The nodes that are in a store, with what a view of it has. */
  const shown = (store: Store) =>
    store
      .nodes(1000)
      .map(({ path, value, permissions }) => ({ path, value: toText(value), permissions }));

  function filled(): Store {
    const store = withHome();
    for (const name of ["b", "a", "c"]) write(store, `${HOME}/data/${name}/x`, name);
    store.setPermissions(GUEST, 0, `${HOME}/data/a`, [
      { domid: GUEST, access: "r" },
      { domid: 0, access: "w" },
    ]);
    return store;
  }

  it("has the same nodes, values, permissions and order, and nothing that was there before", () => {
    const store = filled();
    const saved = store.save();
    const other = withHome();
    write(other, `${HOME}/data/old`, "old");
    expect(other.restore(saved)).toBe(true);
    expect(shown(other)).toEqual(shown(store));
    expect(other.directory(GUEST, 0, `${HOME}/data`)).toMatchObject({ names: ["b", "a", "c"] });
    expect(read(other, `${HOME}/data/c/x`)).toBe("c");
    expect(read(other, `${HOME}/data/old`)).toBe("ENOENT");
    expect(other.save()).toEqual(saved);
    write(other, `${HOME}/data/d`, "new");
    expect(other.directory(GUEST, 0, `${HOME}/data`)).toMatchObject({
      names: ["b", "a", "c", "d"],
    });
  });

  it("counts for its domain's quota again", () => {
    const nodes = 8;
    const quota = { ...DEFAULT_QUOTA, nodes };
    const store = new Store(quota);
    store.restore(filled().save());
    // Seven of them are the guest's.
    expect(write(store, `${HOME}/data/one`, "")).toBeUndefined();
    expect(write(store, `${HOME}/data/two`, "")).toBe("ENOSPC");
  });

  const none = { value: toBytes(""), permissions: [{ domid: 0, access: "n" }] } as const;
  const root = { path: "/", ...none };
  it.each([
    ["no nodes", []],
    ["no root", [{ path: "/a", ...none }]],
    ["the root twice", [root, root]],
    ["a node twice", [root, { path: "/a", ...none }, { path: "/a", ...none }]],
    ["a node before its parent", [root, { path: "/a/b", ...none }, { path: "/a", ...none }]],
    ["a node without an owner", [{ ...root, permissions: [] }]],
    [
      "an owner that is not there",
      [{ ...root, permissions: [{ domid: 9, access: "n" as const }] }],
    ],
    ["a path from nowhere", [root, { path: "a", ...none }]],
    ["a path that is none", [root, { path: "/a//b", ...none }]],
    ["a character that no path has", [root, { path: "/a b", ...none }]],
  ])("is damaged with %s", (_, nodes) => {
    const store = new Store(undefined, (domid) => domid < 8);
    expect(store.restore(nodes)).toBe(false);
  });
});

describe("the view of a store", () => {
  it("has nodes in their order, at most so many, and watches", () => {
    const store = withHome();
    write(store, `${HOME}/data/b`, "1");
    write(store, `${HOME}/data/a`, "2");
    const paths = (most: number) => store.nodes(most).map(({ path }) => path);
    const all = ["/", "/local", "/local/domain", HOME, `${HOME}/data`];
    expect(paths(100)).toEqual([...all, `${HOME}/data/b`, `${HOME}/data/a`]);
    expect(paths(6)).toEqual([...all, `${HOME}/data/b`]);
    expect(paths(0)).toEqual([]);
    const [node] = store.nodes(100).slice(-1);
    expect(node).toMatchObject({
      value: toBytes("2"),
      permissions: [{ domid: GUEST, access: "n" }],
    });
    const generations = store.nodes(100).map(({ generation }) => generation);
    expect(new Set(generations).size).toBe(7);
    // Values are copies.
    node?.value.fill(0);
    expect(read(store, `${HOME}/data/a`)).toBe("2");

    const watch = (domid: number, path: string, token: string) =>
      store.watch({ domid, path, token, fire: () => undefined });
    watch(GUEST, `${HOME}/data`, "t1");
    watch(0, HOME, "t2");
    expect(store.watches()).toEqual([
      { domid: GUEST, path: `${HOME}/data`, token: "t1" },
      { domid: 0, path: HOME, token: "t2" },
    ]);
  });
});
