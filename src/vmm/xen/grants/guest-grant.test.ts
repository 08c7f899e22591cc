import { expect, it } from "vitest";
import { grantRef, PAGE_SIZE } from "../../../base/index.js";
import { GuestSide } from "../backends/guest.fixture.js";
import type { GrantMapping } from "../interfaces.js";
import { makeDomain } from "../kvm.fixture.js";
import type { LinearPage } from "../shared-page.js";

function setUp() {
  const test = makeDomain();
  const guest = new GuestSide(test, "vbd/1");
  const { domain } = test;
  const map = (ref: number, readonly = false) => domain.grants.map(grantRef(ref), readonly);
  return { domain, guest, map };
}

it("uses the frame that was granted, and shows that it does", () => {
  const { domain, guest, map } = setUp();
  guest.grant(8, 0x20);
  const grant = map(8) as GrantMapping;
  expect(guest.flags(8)).toBe(0x19);
  guest.grant(8, 0x21, { flags: 0x19 });
  grant.page?.writeU32(0, 99);
  expect(domain.memory.readU32(0x20 * PAGE_SIZE)).toBe(99);
  grant.unmap();
  grant.unmap();
  expect([guest.flags(8), grant.page]).toEqual([1, undefined]);
});

it.each<[string, number, { flags?: number; domid?: number; frame?: number }, number]>([
  ["the console's", 0, {}, -3],
  ["xenstore's", 1, {}, -3],
  ["one beyond the table", 64 * 512, {}, -3],
  ["the last of 32 bits", 0xffffffff, {}, -3],
  ["an empty one", 9, { flags: 0 }, -1],
  ["one for a transfer", 9, { flags: 2 }, -1],
  ["another domain's", 9, { domid: 7 }, -1],
  ["one for reading only", 9, { flags: 5 }, -1],
  ["a frame without memory", 9, { frame: 0xfffff }, -9],
  ["a frame that no memory can have", 9, { frame: 0xffffffff }, -9],
])("does not use %s", (_, ref, { frame = 0x20, ...options }, error) => {
  const { guest, map } = setUp();
  if (ref > 1) guest.grant(ref, frame, options);
  expect(map(ref)).toBe(error);
  if (ref === 9) expect(guest.flags(9)).toBe(options.flags ?? 1);
});

it("finds the frame empty when the balloon took the page, and its new page later", () => {
  const { domain, guest, map } = setUp();
  guest.grant(8, 0x20);
  const grant = map(8) as GrantMapping;
  expect(grant.page).toBeDefined();
  domain.physmap.release(0x20);
  expect(grant.page).toBeUndefined();
  domain.physmap.populate(0x20);
  expect(grant.page).toBeDefined();
  domain.physmap.release(0x21);
  const overlay = domain.grantFrames[1] as LinearPage;
  domain.physmap.place(overlay.hva, 0x20);
  grant.page?.writeU32(4, 5);
  expect(overlay.readU32(4)).toBe(5);
});

it("counts each use of a reference", () => {
  const { guest, map } = setUp();
  guest.grant(8, 0x20);
  const [reader, writer] = [map(8, true) as GrantMapping, map(8) as GrantMapping];
  expect(guest.flags(8)).toBe(0x19);
  writer.unmap();
  writer.unmap();
  expect(guest.flags(8)).toBe(9);
  reader.unmap();
  expect(guest.flags(8)).toBe(1);
});
