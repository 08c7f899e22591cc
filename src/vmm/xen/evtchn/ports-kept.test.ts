/** Event channel ports in an exact snapshot: another table goes on as if nothing had been, and nobody is told. */

import { describe, expect, it } from "vitest";
import { backendEvtchnPort, evtchnPort, xenVcpuId } from "../../../base/index.js";
import { EventPorts } from "./ports.js";

function setUp() {
  const calls: string[] = [];
  const note =
    (name: string) =>
    (...args: (string | number)[]): void =>
      void calls.push([name, ...args].join(" "));
  const ports = new EventPorts(1, {
    maxPorts: () => 64,
    vcpuExists: (vcpu) => vcpu < 4,
    raise: note("raise"),
    clearPending: note("clear"),
    raiseIfPending: note("repend"),
    unmask: () => 0,
    shortcut: note("shortcut"),
    endShortcut: note("end"),
    timerPort: note("timer"),
  });
  return { ports, take: () => calls.splice(0) };
}

/** Of every kind one: unbound, to a backend, an IPI, a loopback pair, two virqs and a pirq. */
function full() {
  const all = setUp();
  const { ports } = all;
  ports.avoid([20, 21]);
  ports.allocUnbound(7);
  ports.connectBackend(evtchnPort(ports.allocUnbound(0)), () => undefined);
  ports.bindIpi(xenVcpuId(3));
  ports.bindInterdomain(1, ports.allocUnbound(1));
  ports.bindVcpu(evtchnPort(4), xenVcpuId(2));
  // VIRQ_TIMER is 0, one for each vCPU; VIRQ_DOM_EXC is 3, one for the domain.
  ports.bindVirq(0, xenVcpuId(2));
  ports.bindVirq(3, xenVcpuId(0));
  ports.bindPirq(9);
  all.take();
  return all;
}

/** What a table of other contents is after it has taken these. */
function again(ports: EventPorts) {
  const next = setUp();
  next.ports.avoid([1, 2, 3]);
  for (let i = 0; i < 12; i++) next.ports.allocUnbound(5);
  next.ports.bindVirq(1, xenVcpuId(0));
  next.ports.offerBackend(() => undefined);
  next.take();
  next.ports.keep(JSON.parse(JSON.stringify(ports.kept)));
  return next;
}

describe("ports in an exact snapshot", () => {
  it("are all there, but for a backend's, which it makes again with the number that it had", () => {
    const { ports } = full();
    const { ports: next, take } = again(ports);
    expect(take()).toEqual([]);
    const before = ports.list();
    expect(before.map(({ state }) => state)).toEqual([
      ...["unbound", "backend", "ipi", "loopback", "loopback", "virq", "virq", "pirq"],
    ]);
    expect(next.list()).toEqual(
      before.map((one) => (one.port === 2 ? { ...one, state: "unbound", to: 0 } : one)),
    );
    let heard = 0;
    expect(next.connectBackend(evtchnPort(2), () => heard++)).toBe(before[1]?.to);
    expect([next.list(), next.kept]).toEqual([before, ports.kept]);
    expect([next.send(evtchnPort(2)), heard]).toEqual([0, 1]);
  });

  it("promise a number once", () => {
    const { ports } = full();
    const { ports: next } = again(ports);
    const number = next.connectBackend(evtchnPort(2), () => undefined) as number;
    next.closeBackend(backendEvtchnPort(number));
    expect(next.connectBackend(evtchnPort(2), () => undefined)).toBe(number + 1);
    expect(next.offerBackend(() => undefined)).toBe(number + 2);
    expect(next.offerBackend(() => undefined)).toBe(number + 3);
  });

  it("are bound as they were: each virq once, and raised where it is told", () => {
    const { ports, take: takeOld } = full();
    const { ports: next, take } = again(ports);
    for (const [each, calls] of [
      [ports, takeOld],
      [next, take],
    ] as const) {
      expect([
        each.bindVirq(0, xenVcpuId(2)),
        each.bindVirq(3, xenVcpuId(0)),
        each.bindPirq(9),
      ]).toEqual([-17, -17, -17]);
      each.raiseVirq(0, xenVcpuId(2));
      each.raiseVirq(3, xenVcpuId(1));
      each.raiseVirq(0, xenVcpuId(1));
      each.raiseVirq(1, xenVcpuId(0));
      expect(calls()).toEqual(["raise 6 2", "raise 7 0"]);
      // The next numbers are the same, and those to be avoided come last.
      expect([each.bindVirq(1, xenVcpuId(0)), each.allocUnbound(0)]).toEqual([9, 10]);
      for (let port = 11; port < 20; port++) each.allocUnbound(0);
      expect(each.allocUnbound(0)).toBe(22);
    }
  });

  it("have their shortcuts again: an IPI to itself, a loopback to its peer's vCPU, others none", () => {
    const { ports } = full();
    const { ports: next, take } = again(ports);
    for (const { port } of next.list()) next.shortcutAgain(evtchnPort(port));
    next.shortcutAgain(evtchnPort(63));
    expect(take()).toEqual([
      "shortcut 3 ipi 3 3",
      "shortcut 4 interdomain 5 0",
      "shortcut 5 interdomain 4 2",
    ]);
  });

  it("cannot be kept while a backend's other end is closed", () => {
    const { ports } = full();
    expect(ports.kept).toBeDefined();
    const offered = ports.offerBackend(() => undefined);
    expect(ports.kept).toBeUndefined();
    ports.closeBackend(offered);
    expect(ports.kept).toBeDefined();
    ports.close(evtchnPort(2));
    expect(ports.kept).toBeUndefined();
  });
});

describe("what there is not", () => {
  it("is no reason for anything to happen", () => {
    const { ports, take } = full();
    ports.notifyGuest(backendEvtchnPort(99));
    ports.closeBackend(backendEvtchnPort(99));
    ports.raiseVirq(5, xenVcpuId(0));
    const offered = ports.offerBackend(() => undefined);
    ports.notifyGuest(offered);
    ports.closeBackend(offered);
    expect([
      ports.connectBackend(evtchnPort(50), () => undefined),
      ports.connectBackend(evtchnPort(3), () => undefined),
    ]).toEqual([undefined, undefined]);
    expect([take(), ports.list().length]).toEqual([[], 8]);
  });

  it("is no port for a bind that finds none free: the other end is as it was", () => {
    const { ports, take } = setUp();
    const [left, offered] = [ports.allocUnbound(1), ports.offerBackend(() => undefined)];
    while (ports.allocUnbound(0) > 0);
    expect([ports.bindInterdomain(1, left), ports.bindInterdomain(0, offered)]).toEqual([-28, -28]);
    expect([
      ports.bindVirq(3, xenVcpuId(0)),
      ports.bindIpi(xenVcpuId(0)),
      ports.bindPirq(1),
    ]).toEqual([-28, -28, -28]);
    expect(take()).toEqual([]);
    ports.close(evtchnPort(63));
    take();
    expect([
      ports.bindVirq(3, xenVcpuId(0)),
      ports.close(evtchnPort(63)),
      ports.bindInterdomain(0, offered),
    ]).toEqual([...[63, 0, 63]]);
  });
});
