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

  it("ends what another user of the same reference has not: readers and writers count apart", () => {
    const { table, put, flags } = setUp();
    put(600, 1, 0, 77);
    const uses = [false, true, false, true].map(
      (readonly) => table.begin(600, 0, readonly) as GrantUse,
    );
    const seen = uses.map((use) => {
      table.end(use);
      return flags(600);
    });
    expect(seen).toEqual([0x19, 0x19, 9, 1]);
  });

  it("exchanges two entries, in any frames, that nobody uses", () => {
    const { table, put, flags } = setUp();
    put(600, 1, 0, 77);
    put(9, 5, 3, 78);
    expect([table.swap(600, 1024), table.swap(1024, 600), table.swap(-1, 9)]).toEqual([-3, -3, -3]);
    expect(table.swap(9, 600)).toBe(0);
    expect([flags(9), flags(600)]).toEqual([1, 5]);
    const use = table.begin(9, 0, false) as GrantUse;
    expect(use.gfn).toBe(77);
    // GNTST_eagain; the same entry twice is no exchange.
    expect([table.swap(9, 600), table.swap(600, 9), table.swap(9, 9)]).toEqual([-12, -12, 0]);
    table.end(use);
    expect(table.swap(600, 9)).toBe(0);
    expect([flags(9), flags(600)]).toEqual([5, 1]);
  });

  it("is empty and unused after a reset; a use that ends then changes nothing", () => {
    const { table, put, flags } = setUp();
    put(600, 1, 0, 77);
    const use = table.begin(600, 0, false) as GrantUse;
    table.reset();
    expect([table.inUse, table.list(9), flags(600)]).toEqual([false, [], 0]);
    put(600, 1, 0, 79);
    table.end(use);
    expect(flags(600)).toBe(1);
    expect([table.swap(600, 601), flags(601)]).toEqual([0, 1]);
  });

  it("lists entries that are not empty, each with its uses, up to a number", () => {
    const { table, put } = setUp();
    put(1023, 1, 0, 80);
    put(511, 5, 2, 79);
    put(0, 1, 0, 78);
    table.begin(1023, 0, false);
    const rows = [
      { ref: 0, flags: 1, domid: 0, frame: 78, readers: 0, writers: 0 },
      { ref: 511, flags: 5, domid: 2, frame: 79, readers: 0, writers: 0 },
      { ref: 1023, flags: 0x19, domid: 0, frame: 80, readers: 0, writers: 1 },
    ];
    for (let most = 0; most < 5; most++) expect(table.list(most)).toEqual(rows.slice(0, most));
    expect(table.size).toBe(1024);
  });
});
