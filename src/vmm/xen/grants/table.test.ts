import { describe, expect, it } from "vitest";
import { ArrayPage } from "../shared-page.fixture.js";
import { GrantTable, type GrantUse } from "./table.js";

function setUp() {
  const pages = [new ArrayPage(), new ArrayPage()];
  const table = new GrantTable(pages);
  const put = (ref: number, flags: number, domid: number, frame: number): void => {
    const page = pages[Math.floor(ref / 512)] as ArrayPage;
    const view = new DataView(page.bytes.buffer);
    view.setUint16((ref % 512) * 8, flags, true);
    view.setUint16((ref % 512) * 8 + 2, domid, true);
    view.setUint32((ref % 512) * 8 + 4, frame, true);
  };
  const flags = (ref: number): number => {
    const page = pages[Math.floor(ref / 512)] as ArrayPage;
    return new DataView(page.bytes.buffer).getUint16((ref % 512) * 8, true);
  };
  return { table, put, flags };
}

describe("GrantTable", () => {
  it("grants the two rings from the start", () => {
    const { table, flags } = setUp();
    table.reserve(0xfeff8, 0xfeff9);
    expect(flags(0)).toBe(1);
    expect(table.begin(1, 0, false)).toMatchObject({ gfn: 0xfeff9 });
    expect(table.begin(1, 3, false)).toBe(-1);
  });

  it("checks reference, type, domain and direction", () => {
    const { table, put } = setUp();
    put(600, 1, 0, 77);
    put(601, 5, 0, 78);
    put(602, 2, 0, 79);
    expect(table.begin(1024, 0, true)).toBe(-3);
    expect(table.begin(599, 0, true)).toBe(-1);
    expect(table.begin(602, 0, true)).toBe(-1);
    expect(table.begin(600, 2, true)).toBe(-1);
    expect(table.begin(601, 0, false)).toBe(-1);
    expect(table.begin(601, 0, true)).toEqual({ ref: 601, readonly: true, gfn: 78 });
  });

  it("shows use in the flags until the last one ends", () => {
    const { table, put, flags } = setUp();
    put(600, 0x81, 0, 77);
    const reader = table.begin(600, 0, true) as GrantUse;
    expect(flags(600)).toBe(0x89);
    const writer = table.begin(600, 0, false) as GrantUse;
    expect(flags(600)).toBe(0x99);
    expect(table.inUse).toBe(true);
    table.end(writer);
    expect(flags(600)).toBe(0x89);
    table.end(reader);
    expect(flags(600)).toBe(0x81);
    expect(table.inUse).toBe(false);
    table.end(reader);
  });
});
