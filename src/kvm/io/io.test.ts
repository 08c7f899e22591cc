import { describe, expect, it } from "vitest";
import { Errno } from "../../base/index.js";
import { EventFd } from "../event-fd.js";
import { errnoOf } from "../tests/machine.fixture.js";
import { CoalescedRing } from "./coalesced.js";
import { Ioeventfds } from "./ioeventfd.js";

describe("coalesced writes", () => {
  it("fill the ring but for one entry, and survive a client that writes nonsense into it", () => {
    const ring = new CoalescedRing();
    ring.register({ addr: 0x1000, size: 8, pio: 0 });
    expect(ring.write(0, 0x1006, 4, 1n)).toBe(false);
    expect(ring.write(1, 0x1000, 4, 1n)).toBe(false);
    let taken = 0;
    while (ring.write(0, 0x1004, 4, 0x11223344n)) taken++;
    expect(taken).toBe(169);
    const view = new DataView(ring.page.buffer);
    expect([view.getUint32(0, true), view.getUint32(4, true)]).toEqual([0, 169]);
    expect([...ring.page.subarray(8, 32)]).toEqual([
      ...[4, 0x10, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0],
      ...[0x44, 0x33, 0x22, 0x11, 0, 0, 0, 0],
    ]);
    view.setUint32(4, 0xffffffff, true);
    expect(ring.write(0, 0x1004, 4, 0n)).toBe(false);
    ring.unregister({ addr: 0x1002, size: 2, pio: 0 });
    expect(ring.active).toBe(false);
    expect(errnoOf(() => ring.register({ addr: 0, size: 1, pio: 2 }))).toBe(Errno.EINVAL);
  });
});

describe("ioeventfds", () => {
  it("match address, length and data", () => {
    const fds = new Ioeventfds();
    const [wildcard, five] = [new EventFd(), new EventFd()];
    fds.set({ datamatch: 0n, addr: 0x10n, len: 0, eventfd: wildcard, flags: 2 });
    fds.set({ datamatch: 5n, addr: 0x20n, len: 2, eventfd: five, flags: 3 });
    expect(fds.write(1, 0x10, 4, 99n)).toBe(true);
    expect(fds.write(0, 0x10, 4, 99n)).toBe(false);
    expect(fds.write(1, 0x20, 2, 5n)).toBe(true);
    expect(fds.write(1, 0x20, 2, 6n)).toBe(false);
    expect(fds.write(1, 0x20, 1, 5n)).toBe(false);
    expect([wildcard.count, five.count]).toEqual([1n, 1n]);
    const again = { datamatch: 5n, addr: 0x20n, len: 2, eventfd: wildcard, flags: 3 };
    expect(errnoOf(() => fds.set(again))).toBe(Errno.EEXIST);
    expect(errnoOf(() => fds.set({ ...again, flags: 7 }))).toBe(Errno.ENOENT);
    fds.set({ ...again, eventfd: five, flags: 7 });
    expect(fds.write(1, 0x20, 2, 5n)).toBe(false);
  });
});
