import { describe, expect, it } from "vitest";
import { Errno } from "../../base/index.js";
import { EventFd, type VcpuExitXen } from "../index.js";
import type { FakeVcpu } from "../tests/fake-engine.fixture.js";
import { HIGH, machine } from "../tests/machine.fixture.js";

/** Work of looking at a port: see hypercall.ts. */
const PORT_COST = 4;
const PRIORITY = 0xffffffff;
const HYPERCALL = { code: 4, aux: 1 } as const;
const ARGS = [7, 6, 2, 10, 8, 9];

async function setUp(flags = 0x22) {
  const m = await machine();
  const { xen } = m.vm;
  xen.hvmConfig({ flags, msr: 0x40000000 });
  xen.setAttr({ type: "LONG_MODE", longMode: true });
  xen.setAttr({ type: "SHARED_INFO", gfn: BigInt(HIGH) >> 12n });
  const vcpu = m.vcpus[0] as NonNullable<(typeof m.vcpus)[0]>;
  vcpu.xen.setAttr({ type: "VCPU_INFO", gpa: BigInt(HIGH + 0x40) });
  const cpu: FakeVcpu = m.cpu(0);
  /** Makes the hypercall and runs on to a port write; returns RAX, or the exit. */
  let discard = true;
  const call = async (number: number, ...args: (number | bigint)[]) => {
    cpu.setGpr(0, BigInt(number));
    for (const [i, value] of args.entries()) cpu.setGpr(ARGS[i] ?? 0, BigInt(value));
    cpu.script.push(HYPERCALL, { code: 2, write: true, address: 0x10, size: 1 });
    const exit = await vcpu.run();
    if (exit.kind === "io") return BigInt.asIntN(64, cpu.gpr(0));
    cpu.script.length = 0;
    // As a client does that does not want the result written.
    if (discard) cpu.rip += 16n;
    return exit;
  };
  const keepResults = (): void => {
    discard = false;
  };
  return { ...m, vcpu, cpu, call, keepResults };
}

describe("hypercalls", () => {
  it("exit with all arguments and take the result if RIP is the same", async () => {
    const { call, cpu, vcpu, keepResults } = await setUp();
    keepResults();
    const exit = (await call(34, 1, 2, 3, 4, 5, 6)) as VcpuExitXen;
    expect(exit).toMatchObject({ kind: "xen", longmode: true, cpl: 0, input: 34n });
    expect(exit.params).toEqual([1n, 2n, 3n, 4n, 5n, 6n]);
    exit.result = -1n;
    const rip = cpu.rip;
    cpu.script.push({ code: 2, write: true, address: 1, size: 1 });
    await vcpu.run();
    expect([cpu.gpr(0), cpu.rip - rip]).toEqual([0xffffffffffffffffn, 3n]);
    const again = (await call(34)) as VcpuExitXen;
    again.result = 5n;
    cpu.rip += 1n;
    cpu.script.push({ code: 2, write: true, address: 1, size: 1 });
    await vcpu.run();
    expect(cpu.gpr(0)).toBe(34n);
  });

  it("are cut to 32 bits outside of 64-bit code and left to the client above CPL 0", async () => {
    const { call, cpu, vm } = await setUp();
    vm.xen.setAttr({ type: "XEN_VERSION", xenVersion: 0x40011 });
    expect(await call(17, 0)).toBe(0x40011n);
    cpu.cpl = 3;
    expect(await call(17, 0)).toMatchObject({ kind: "xen", cpl: 3 });
    cpu.cpl = 0;
    cpu.longMode64 = false;
    cpu.setGpr(3, 0x123456789n);
    const exit = (await call(34)) as VcpuExitXen;
    expect([exit.longmode, exit.params[0]]).toEqual([false, 0x23456789n]);
  });

  it("are KVM's own, and unknown, while Xen does not intercept", async () => {
    const { call } = await setUp(0);
    expect(await call(17, 0)).toBe(-1000n);
  });
});

describe("EVTCHNOP_send", () => {
  it("sends what is in the table and leaves the rest to the client", async () => {
    const { call, vm, view, at } = await setUp();
    const eventfd = new EventFd();
    const common = { type: "EVTCHN", evtchnType: 2, flags: 0 } as const;
    vm.xen.setAttr({ ...common, sendPort: 7, deliver: { port: 15, vcpu: 0, priority: PRIORITY } });
    vm.xen.setAttr({ ...common, sendPort: 8, deliver: { port: 15, vcpu: 9, priority: PRIORITY } });
    vm.xen.setAttr({ ...common, sendPort: 9, deliver: { eventfd } });
    const send = (port: number) => {
      view().setUint32(at(0x9000), port, true);
      return call(32, 4, 0x9000);
    };
    expect(await send(7)).toBe(0n);
    expect(view().getUint16(at(HIGH) + 0x800, true)).toBe(0x8000);
    expect(await send(8)).toMatchObject({ kind: "xen" });
    expect(await send(9)).toBe(0n);
    expect(eventfd.count).toBe(1n);
    expect(await send(10)).toMatchObject({ kind: "xen" });
    expect(await call(32, 4, 0x7fff00000000n)).toBe(BigInt(-Errno.EFAULT));
  });
});

describe("SCHEDOP_poll", () => {
  async function poller(flags = 0x22) {
    const m = await setUp(flags);
    const poll = (ports: number[], timeout: bigint, count = ports.length) => {
      const at = m.at(0x9000);
      m.view().setBigUint64(at, 0x9100n, true);
      m.view().setUint32(at + 8, count, true);
      m.view().setBigUint64(at + 16, timeout, true);
      ports.forEach((port, i) => {
        m.view().setUint32(m.at(0x9100) + i * 4, port, true);
      });
      return m.call(29, 3, 0x9000);
    };
    return { ...m, poll };
  }

  it("returns at once for a pending port, masked or not", async () => {
    const { poll, vm, view, at, clock } = await poller();
    view().setUint8(at(HIGH) + 0xa00 + 1, 0xff);
    vm.xen.evtchnSend({ port: 13, vcpu: 0, priority: PRIORITY });
    const before = clock.monotonicNs();
    expect(await poll([12, 13], 0n)).toBe(0n);
    // What looking at them counts as work is time under a virtual clock.
    expect(clock.monotonicNs() - before).toBe(2 * PORT_COST);
  });

  it("takes up to 128 valid ports", async () => {
    const { poll, clock, vm } = await poller();
    vm.xen.evtchnSend({ port: 3, vcpu: 0, priority: PRIORITY });
    const many = (n: number) => Array<number>(n).fill(3);
    const before = clock.monotonicNs();
    expect(await poll(many(128), 1n)).toBe(0n);
    expect(clock.monotonicNs() - before).toBe(128 * PORT_COST);
    expect(await poll(many(129), 1n)).toBe(BigInt(-Errno.EINVAL));
    expect(await poll([4096], 1n)).toBe(BigInt(-Errno.EINVAL));
  });

  it("waits for its timeout, rounded to ticks", async () => {
    const { poll, clock } = await poller();
    const start = clock.monotonicNs();
    expect(await poll([], 20_000_000n)).toBe(0n);
    expect(clock.monotonicNs() - start).toBeGreaterThanOrEqual(16_000_000);
    expect(clock.monotonicNs() - start).toBeLessThanOrEqual(20_000_001);
  });

  it("ends on a tick of the host's timer wheel, which has 250 a second: at the next one at least", async () => {
    const { poll, clock, pass } = await poller();
    const tick = 4_000_000;
    for (const [start, timeout, end] of [
      [1, 1, 1],
      [1, 2 * tick - 1, 1],
      [1, 2 * tick, 2],
      [tick - 1, 20_000_000, 5],
      [tick, 20_000_000, 6],
    ] as const) {
      const before = clock.monotonicNs();
      const first = (Math.floor(before / tick) + 10) * tick;
      pass(first + start - before);
      expect(await poll([], BigInt(timeout))).toBe(0n);
      const ended = Math.floor((clock.monotonicNs() - first) / tick);
      const late = (clock.monotonicNs() - first) % tick;
      expect([ended, late < 100], `${start} ${timeout}`).toEqual([end, true]);
    }
  });

  it("is woken by its masked port and ended by a kick", async () => {
    const { poll, vm, view, at, timers, clock, vcpu } = await poller();
    view().setUint8(at(HIGH) + 0xa00 + 1, 0xff);
    timers.arm(clock.monotonicNs() + 500, () =>
      vm.xen.evtchnSend({ port: 13, vcpu: 0, priority: PRIORITY }),
    );
    expect(await poll([13], 0n)).toBe(0n);
    timers.arm(clock.monotonicNs() + 500, () => vcpu.kick());
    expect(await poll([14], 0n)).toEqual({ kind: "intr" });
    expect(vcpu.getMpState()).toBe(0);
  });

  it("yields without the client's promise, whatever the pointer", async () => {
    const { call } = await poller(2);
    expect(await call(29, 3, 0x7fff00000000n)).toBe(0n);
    expect(await call(29, 0, 0)).toBe(0n);
    expect(await call(29, 1, 0)).toMatchObject({ kind: "xen" });
  });
});

describe("timers", () => {
  const timer = (port: number, expiresNs = 0n) =>
    ({ type: "TIMER", port, priority: PRIORITY, expiresNs }) as const;

  it("belong to the client without a port, and fire at their time", async () => {
    const { call, vcpu, pass, view, at, clock } = await setUp();
    const pending = () => view().getUint16(at(HIGH) + 0x800, true);
    expect(await call(15, 1)).toMatchObject({ kind: "xen" });
    vcpu.xen.setAttr(timer(13));
    const deadline = BigInt(clock.monotonicNs() + 10_000);
    expect(await call(15, deadline)).toBe(0n);
    expect(vcpu.xen.getAttr("TIMER").expiresNs).toBe(deadline);
    pass(9_999);
    expect(pending()).toBe(0);
    pass(1);
    expect(pending()).toBe(1 << 13);
    expect(vcpu.xen.getAttr("TIMER").expiresNs).toBe(0n);
    expect(await call(15, 0)).toBe(0n);
  });

  it("make absurd times of set_timer_op 100 ms, and of nothing else", async () => {
    const { call, vcpu, clock, view, at } = await setUp();
    vcpu.xen.setAttr(timer(13));
    const now = BigInt(clock.monotonicNs());
    await call(15, (1n << 63n) | 5n);
    expect(vcpu.xen.getAttr("TIMER").expiresNs).toBe(now + 100_000_000n);
    await call(15, now + (1n << 50n));
    expect(vcpu.xen.getAttr("TIMER").expiresNs).toBe(now + 100_000_000n);
    view().setBigUint64(at(0x9000), now + (1n << 51n), true);
    expect(await call(24, 8, 0, 0x9000)).toBe(0n);
    expect(vcpu.xen.getAttr("TIMER").expiresNs).toBe(now + (1n << 51n));
    expect(await call(24, 9, 0)).toBe(0n);
    expect(vcpu.xen.getAttr("TIMER").expiresNs).toBe(0n);
    expect(await call(24, 8, 1, 0x9000)).toBe(BigInt(-Errno.EINVAL));
    expect(await call(24, 8, 0, 0x7fff00000000n)).toBe(BigInt(-Errno.EFAULT));
  });

  it("fire inside the call when they are in the past", async () => {
    const { vcpu, view, at, pass } = await setUp();
    pass(1000);
    vcpu.xen.setAttr(timer(13, 5n));
    expect(view().getUint16(at(HIGH) + 0x800, true)).toBe(1 << 13);
    expect(vcpu.xen.getAttr("TIMER")).toEqual(timer(13));
  });
});

describe("the hypercall page", () => {
  it("has 128 entries and latches the mode from EFER.LMA", async () => {
    const { vcpu, cpu, vm, view, at } = await setUp();
    const write = (data: bigint) => vcpu.setMsrs([{ index: 0x40000000, data }]);
    cpu.efer = 0n;
    expect(write(0x10000n)).toBe(1);
    expect(vm.xen.getAttr("LONG_MODE").longMode).toBe(false);
    const entry = at(0x10000) + 127 * 32;
    expect([...vm.linear.u8.slice(entry, entry + 10)]).toEqual([
      0xb8, 127, 0, 0, 0, 0x0f, 0x01, 0xd9, 0xc3, 0xcc,
    ]);
    expect(view().getUint32(at(HIGH) + 0x900, true)).toBe(2);
    expect([write(0x10001n), write(0x7fff0000n)]).toEqual([0, 0]);
    cpu.efer = 0x500n;
    expect(write(0x11000n)).toBe(1);
    expect(vm.xen.getAttr("LONG_MODE").longMode).toBe(true);
  });
});
