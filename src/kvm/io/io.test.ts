import { describe, expect, it } from "vitest";
import { Errno } from "../../base/index.js";
import { EventFd } from "../api/event-fd.js";
import { errnoOf, machine } from "../tests/machine.fixture.js";
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

describe("Linux's I/O buses, one for memory and one for ports", () => {
  /** How many zones a bus takes, asked of Linux 6.12 (tests with KVM_CREATE_IRQCHIP before, or not). */
  it.each([
    ["none", 1000, 1000],
    ["kernel", 999, 997],
  ] as const)("hold 1,000 devices besides ioeventfds; irqchip %s", async (irqchip, memory, ports) => {
    const { vm } = await machine({ irqchip });
    const event = { datamatch: 0n, len: 4, eventfd: new EventFd() };
    // Ioeventfds do not count.
    for (let i = 0; i < 1100; i++) vm.ioeventfd({ ...event, addr: BigInt(8 * i), flags: 0 });
    for (const [pio, count] of [
      [0, memory],
      [1, ports],
    ] as const) {
      const zone = (i: number) =>
        vm.registerCoalescedMmio({ addr: 0x100000 + 16 * i, size: 4, pio });
      for (let i = 0; i < count; i++) zone(i);
      expect(errnoOf(() => zone(count))).toBe(Errno.ENOSPC);
      const more = { ...event, addr: 0x200000n, flags: pio === 1 ? 2 : 0 };
      expect(errnoOf(() => vm.ioeventfd(more))).toBe(Errno.ENOSPC);
      vm.unregisterCoalescedMmio({ addr: 0x100000, size: 4, pio });
      vm.ioeventfd(more);
    }
  });

  it("keep 65,536 ioeventfds", () => {
    const fds = new Ioeventfds();
    const event = { datamatch: 0n, len: 4, eventfd: new EventFd(), flags: 0 };
    // One entry for every value is looked for among all: the addresses differ, so that it is quick.
    for (let i = 0; i < 65536; i++) fds.set({ ...event, addr: BigInt(8 * i) });
    expect(errnoOf(() => fds.set({ ...event, addr: 8n * 65536n }))).toBe(Errno.ENOMEM);
  });
});
