import { describe, expect, it } from "vitest";
import {
  type Access,
  formatPermission,
  inheritPermissions,
  ownerOf,
  ownsNode,
  type Permission,
  parsePermission,
  permits,
} from "./node.js";

/** Permissions as Xen's docs/misc/xenstore.txt and xenstored have them. */
type Permissions = readonly [Permission, ...Permission[]];
const nodeWith = (permissions: Permissions) => ({
  ...{ value: new Uint8Array(0), children: [], generation: 1 },
  permissions,
});

describe("an entry", () => {
  it.each([
    ["n0", "n", 0],
    ["r1", "r", 1],
    ["w12", "w", 12],
    ["b32767", "b", 32767],
    // The number is what C's strtoul reads: spaces and a sign before it, any base.
    ["r 1", "r", 1],
    ["r\t\n\v\f\r1", "r", 1],
    ["r+1", "r", 1],
    ["r-1", "r", -1],
    ["r010", "r", 8],
    ["r0", "r", 0],
    ["r00", "r", 0],
    ["r0x1f", "r", 31],
    ["r0XaF", "r", 175],
    ["r-0x2", "r", -2],
    ["r4294967295", "r", -1],
  ])("%j is one", (text, access, domid) => {
    expect(parsePermission(text)).toEqual({ access, domid });
  });

  it.each([
    ...["", "n", "1", "x1", "R1", "rr1", "r1x", "r1 ", " r1", "r08", "r0x", "r0xg", "r+", "r-"],
    ...["r+-1", "r--1", "r1.5", "r1r", "rx", "r\b1", "r\u000e1", "r!1", "r- 1"],
  ])("%j is none", (text) => {
    expect(parsePermission(text)).toBeUndefined();
  });

  it("is written as it is read", () => {
    for (const text of ["n0", "r1", "w2", "b3"])
      expect(formatPermission(parsePermission(text) as Permission)).toBe(text);
  });
});

describe("who may use a node", () => {
  const rows: [others: Access, mine: Access | undefined, may: string][] = [
    ["n", undefined, ""],
    ["r", undefined, "r"],
    ["w", undefined, "w"],
    ["b", undefined, "rw"],
    ["b", "n", ""],
    ["n", "r", "r"],
    ["r", "w", "w"],
    ["n", "b", "rw"],
  ];
  it.each(rows)("all others %s, a domain's own entry %s: %j", (others, mine, may) => {
    const permissions: Permissions = [
      { domid: 3, access: others },
      { domid: 9, access: "b" },
      ...(mine === undefined ? [] : [{ domid: 5, access: mine }]),
    ];
    const allowed = (domid: number): string =>
      (["r", "w"] as const).filter((wanted) => permits(domid, permissions, wanted)).join("");
    // The owner and domain 0 may all; the first entry of a domain counts.
    expect([allowed(5), allowed(3), allowed(0), allowed(9)]).toEqual([may, "rw", "rw", "rw"]);
    expect(permits(5, [...permissions, { domid: 5, access: "b" }], "r")).toBe(
      mine === undefined || may.includes("r"),
    );
  });

  it("is its owner, and domain 0 owns all", () => {
    const node = nodeWith([
      { domid: 3, access: "n" },
      { domid: 5, access: "b" },
    ]);
    expect(ownerOf(node)).toBe(3);
    expect([0, 3, 5].map((domid) => ownsNode(domid, node))).toEqual([true, true, false]);
  });

  it("of a new node are those of its parent, but who made it owns it; domain 0 gives it away", () => {
    const parent = nodeWith([
      { domid: 3, access: "r" },
      { domid: 5, access: "w" },
    ]);
    expect(inheritPermissions(0, parent)).toEqual(parent.permissions);
    expect(inheritPermissions(5, parent)).toEqual([
      { domid: 5, access: "r" },
      { domid: 5, access: "w" },
    ]);
  });
});
