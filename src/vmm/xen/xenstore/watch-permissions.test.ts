import { describe, expect, it } from "vitest";
import type { Access } from "./node.js";
import { Store } from "./store.js";
import { toBytes } from "./wire.js";

/**
 * Who hears of a change: only a domain that may read the node, or could before it changed. Xen's security
 * advisory 115 made that a rule for every xenstored ("permissions are checked before a watch event").
 */
const GUEST = 5;
const OTHER = 6;
const NODE = "/tool/node";

/** A store with one node whose permissions for GUEST are `access`, and what GUEST and domain 0 hear of it. */
function watched(access: Access, path = NODE) {
  const store = new Store();
  const heard: string[] = [];
  const heardByZero: string[] = [];
  store.write(0, 0, NODE, toBytes("1"));
  const permit = (mine: Access): unknown =>
    store.setPermissions(0, 0, NODE, [
      { domid: 0, access: "n" },
      { domid: GUEST, access: mine },
    ]);
  permit(access);
  store.watch({ domid: GUEST, path, token: "g", fire: (at) => heard.push(at) });
  store.watch({ domid: 0, path, token: "z", fire: (at) => heardByZero.push(at) });
  return { store, heard, heardByZero, permit };
}

const write = (store: Store, path = NODE): unknown => store.write(0, 0, path, toBytes("2"));

describe("a change of a node", () => {
  const rows: [Access, boolean][] = [
    ["r", true],
    ["b", true],
    ["w", false],
    ["n", false],
  ];
  it.each(rows)("with permission %s is heard: %s", (access, hears) => {
    const { store, heard, heardByZero } = watched(access);
    write(store);
    expect(heard).toEqual(hears ? [NODE] : []);
    expect(heardByZero).toEqual([NODE]);
  });

  it.each(rows)("that goes away, with permission %s, is heard: %s", (access, hears) => {
    const { store, heard, heardByZero } = watched(access);
    store.rm(0, 0, NODE);
    expect(heard).toEqual(hears ? [NODE] : []);
    expect(heardByZero).toEqual([NODE]);
    write(store);
    expect(heard).toHaveLength(hears ? 1 : 0);
  });

  it("is heard by its owner, whatever else is permitted", () => {
    const { store, heard } = watched("n");
    store.setPermissions(0, 0, NODE, [{ domid: GUEST, access: "n" }]);
    write(store);
    expect(heard).toEqual([NODE, NODE]);
  });

  it("is heard by all when everybody may read", () => {
    const { store, heard } = watched("n");
    store.setPermissions(0, 0, NODE, [
      { domid: 0, access: "r" },
      { domid: OTHER, access: "n" },
    ]);
    write(store);
    expect(heard).toEqual([NODE, NODE]);
  });
});

describe("a change of permissions", () => {
  it("is heard by a domain that may read from now on, and by one that could until now", () => {
    const { store, heard, permit } = watched("n");
    permit("r");
    expect(heard).toEqual([NODE]);
    permit("n");
    expect(heard).toEqual([NODE, NODE]);
    permit("w");
    write(store);
    expect(heard).toEqual([NODE, NODE]);
  });
});

describe("watches of a node above", () => {
  it("hear of what may be read, and of nothing else below", () => {
    const { store, heard, heardByZero } = watched("r", "/tool");
    write(store);
    write(store, "/tool/secret");
    write(store, "/toolbox");
    expect(heard).toEqual([NODE]);
    expect(heardByZero).toEqual([NODE, "/tool/secret"]);
  });

  it.each([
    ["r", true],
    ["n", false],
  ] as const)("hear once of a subtree that goes away; a watch below hears of its own node, if it may list the parent: %s", (access, may) => {
    const { store, heard, heardByZero } = watched(access);
    const below: string[] = [];
    const child = `${NODE}/child`;
    store.write(0, 0, child, toBytes("x"));
    store.setPermissions(0, 0, child, [{ domid: 0, access: "n" }]);
    store.watch({ domid: GUEST, path: child, token: "c", fire: (at) => below.push(`g ${at}`) });
    store.watch({ domid: 0, path: child, token: "c", fire: (at) => below.push(`0 ${at}`) });
    heard.length = 0;
    heardByZero.length = 0;
    store.rm(0, 0, NODE);
    expect(heard).toEqual(may ? [NODE] : []);
    expect(heardByZero).toEqual([NODE]);
    expect(below).toEqual([...(may ? [`g ${child}`] : []), `0 ${child}`]);
  });
});

describe("the order of events", () => {
  it("is that of registration; what a watch changes comes after the events of the change that it heard", () => {
    const store = new Store();
    const heard: string[] = [];
    const watch = (token: string, and: () => void = () => undefined): unknown =>
      store.watch({
        domid: 0,
        path: NODE,
        token,
        fire: (at) => {
          heard.push(`${token} ${at}`);
          if (at === NODE) and();
        },
      });
    watch("a", () => write(store, `${NODE}/x`));
    watch("b");
    write(store);
    expect(heard).toEqual([`a ${NODE}`, `b ${NODE}`, `a ${NODE}/x`, `b ${NODE}/x`]);
  });

  it("a watch that is taken back hears nothing more, not even of what has happened already", () => {
    const store = new Store();
    const heard: string[] = [];
    store.watch({ domid: 0, path: NODE, token: "a", fire: () => store.unwatch(0, NODE, "b") });
    store.watch({ domid: 0, path: NODE, token: "b", fire: () => heard.push("b") });
    store.watch({ domid: GUEST, path: NODE, token: "b", fire: () => heard.push("guest") });
    write(store);
    expect(heard).toEqual([]);
  });

  it("a watch that fails does not silence the ones to come", () => {
    const store = new Store();
    const heard: string[] = [];
    let broken = true;
    const fire = (at: string): void => {
      if (broken) throw new Error("broken");
      heard.push(at);
    };
    store.watch({ domid: 0, path: NODE, token: "a", fire });
    expect(() => write(store)).toThrow("broken");
    broken = false;
    write(store);
    expect(heard).toContain(NODE);
  });
});

describe("watches by domain", () => {
  it("are told apart by domain, path and token, and forgotten by domain", () => {
    const store = new Store();
    const heard: string[] = [];
    const watch = (domid: number, token: string, path = "/"): unknown =>
      store.watch({ domid, path, token, fire: () => heard.push(`${domid} ${token}`) });
    store.setPermissions(0, 0, "/", [{ domid: 0, access: "r" }]);
    expect([watch(0, "t"), watch(GUEST, "t"), watch(GUEST, "u"), watch(GUEST, "t", "/a")]).toEqual(
      Array(4).fill(undefined),
    );
    expect([watch(GUEST, "t"), store.unwatch(OTHER, "/", "t")]).toEqual(["EEXIST", "ENOENT"]);
    expect(store.unwatch(GUEST, "/", "t")).toBeUndefined();
    expect(store.unwatch(GUEST, "/", "t")).toBe("ENOENT");
    write(store);
    expect(heard).toEqual(["0 t", "5 u"]);
    heard.length = 0;
    store.forget(GUEST);
    write(store);
    expect(heard).toEqual(["0 t"]);
    expect(watch(GUEST, "t", "/a")).toBeUndefined();
  });
});
