/** event_channel_op by public/event_channel.h, for what a domain does with itself. */
import { describe, expect, it } from "vitest";
import { Errno } from "../../../base/index.js";
import { makeDomain } from "../kvm.fixture.js";
import { AT, addToPhysmap, type Field, put, SELF } from "./arguments.fixture.js";

const { EINVAL, ENOENT, ENOSYS, ESRCH, EEXIST } = Errno;

function setUp() {
  const test = makeDomain();
  addToPhysmap(test, 0, 0, 0x10);
  test.take();
  const { call, domain } = test;
  const op = (cmd: number, fields: Field[]): number => call(32, [cmd, put(domain, fields)]);
  const u32 = (offset: number): number => domain.memory.readU32(AT + offset) as number;
  /** A new port, or a negative errno. */
  const alloc = (dom: number, remote: number): number =>
    op(6, [
      [2, dom],
      [2, remote],
      [4, 0],
    ]) || u32(4);
  const bind = (remote: number, port: number): number =>
    op(0, [
      [2, remote],
      [4, port],
      [4, 0],
    ]) || u32(8);
  /** Status, vCPU and the two words of the union; or a negative errno. */
  const status = (port: number, dom = SELF): number[] | number => {
    const fields: Field[] = [
      [2, dom],
      [4, port],
    ];
    return op(5, fields) || [u32(8), u32(12), u32(16), u32(20)];
  };
  const close = (port: number): number => op(3, [[4, port]]);
  const send = (port: number): number => op(4, [[4, port]]);
  return { ...test, op, u32, alloc, bind, status, close, send };
}

/** Our own number. */
const DOMID = 1;

describe("ports between a domain and itself", () => {
  it("are made unbound, bound, and pend at the other end", () => {
    const { alloc, bind, status, send, take, domain } = setUp();
    const there = alloc(SELF, SELF);
    expect((status(there) as number[]).slice(0, 3)).toEqual([1, 0, DOMID]);
    const here = bind(SELF, there);
    expect(here).toBeGreaterThan(there);
    // EVTCHNSTAT_interdomain, with the domain and its port.
    expect(status(here)).toEqual([2, 0, DOMID, there]);
    expect(status(there)).toEqual([2, 0, DOMID, here]);
    take();
    expect(send(here)).toBe(0);
    expect(take()).toEqual([`send ${there} to 0`]);
    expect(domain.domid).toBe(DOMID);
  });

  it("say the same domain by its number and as DOMID_SELF", () => {
    const { alloc, bind } = setUp();
    const ports = [alloc(DOMID, DOMID), alloc(SELF, DOMID), alloc(DOMID, SELF)];
    for (const port of ports) expect(bind(DOMID, port)).toBeGreaterThan(0);
  });

  it("become unbound again when the other end closes", () => {
    const { alloc, bind, status, close } = setUp();
    const there = alloc(SELF, SELF);
    const here = bind(SELF, there);
    expect(close(here)).toBe(0);
    expect((status(here) as number[])[0]).toBe(0);
    expect((status(there) as number[])[0]).toBe(1);
    expect(bind(SELF, there)).toBe(here);
  });

  it("are of one domain only: others cannot be told what to do", () => {
    const { alloc, status, op } = setUp();
    expect([alloc(0, SELF), alloc(9, SELF), status(1, 9), status(1, 0)]).toEqual(
      Array(4).fill(-ESRCH),
    );
    expect([op(10, [[2, 9]]), op(10, [[2, 0]])]).toEqual([-ESRCH, -ESRCH]);
  });

  it("are bound to what waits for us only", () => {
    const { alloc, bind } = setUp();
    const forZero = alloc(SELF, 0);
    expect(bind(SELF, forZero)).toBe(-EINVAL);
    expect(bind(SELF, 4095)).toBe(-EINVAL);
    expect(bind(SELF, 1 << 20)).toBe(-EINVAL);
    expect(bind(9, 1)).toBe(-ESRCH);
  });
});

describe("EVTCHNOP_reset", () => {
  it("closes all ports of the domain", () => {
    const { alloc, status, op, call, domain } = setUp();
    const port = alloc(SELF, 0);
    const ipi = call(32, [7, put(domain, [[4, 1]])]);
    expect([port > 0, ipi]).toEqual([true, 0]);
    expect(op(10, [[2, SELF]])).toBe(0);
    expect((status(port) as number[])[0]).toBe(0);
    expect((status(port + 1) as number[])[0]).toBe(0);
    expect(alloc(SELF, 0)).toBeLessThanOrEqual(port);
  });
});

describe("what is bound to a vCPU", () => {
  it("a virtual interrupt, once for each vCPU", () => {
    const { op, u32, status, close } = setUp();
    const virq = (number: number, vcpu: number): number =>
      op(1, [
        [4, number],
        [4, vcpu],
        [4, 0],
      ]) || u32(8);
    const port = virq(0, 1);
    expect(port).toBeGreaterThan(0);
    // EVTCHNSTAT_virq
    expect((status(port) as number[]).slice(0, 3)).toEqual([4, 1, 0]);
    expect(virq(0, 1)).toBe(-EEXIST);
    expect(virq(0, 0)).toBeGreaterThan(port);
    expect(virq(0, 2)).toBe(-ENOENT);
    expect(virq(24, 0)).toBe(-EINVAL);
    expect(close(port)).toBe(0);
    expect(virq(0, 1)).toBe(port);
  });

  it("an interrupt between processors", () => {
    const { op, u32, status } = setUp();
    const ipi = (vcpu: number): number =>
      op(7, [
        [4, vcpu],
        [4, 0],
      ]) || u32(4);
    const port = ipi(1);
    // EVTCHNSTAT_ipi
    expect((status(port) as number[]).slice(0, 2)).toEqual([5, 1]);
    expect(ipi(2)).toBe(-ENOENT);
  });

  it("other ports may move, and per-vCPU ones stay", () => {
    const { op, u32, alloc, status, send, take, bind } = setUp();
    const move = (port: number, vcpu: number): number =>
      op(8, [
        [4, port],
        [4, vcpu],
      ]);
    const there = alloc(SELF, SELF);
    const here = bind(SELF, there);
    expect(move(there, 1)).toBe(0);
    expect((status(there) as number[])[1]).toBe(1);
    take();
    expect(send(here)).toBe(0);
    expect(take()).toEqual([`send ${there} to 4`]);
    expect(move(there, 2)).toBe(-ENOENT);
    expect(move(4095, 0)).toBe(-EINVAL);
    expect(op(7, [[4, 1]])).toBe(0);
    expect(move(u32(4), 0)).toBe(-EINVAL);
  });
});

it("what there is not: FIFO events and unknown commands", () => {
  const { op } = setUp();
  for (const cmd of [11, 99]) expect(op(cmd, [[4, 1]])).toBe(-ENOSYS);
});
