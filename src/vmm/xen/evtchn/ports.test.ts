import { describe, expect, it } from "vitest";
import { backendEvtchnPort, Errno, evtchnPort, xenVcpuId } from "../../../base/index.js";
import { EventPorts } from "./ports.js";

const { EINVAL, ENOENT, ESRCH, EEXIST, ENOSPC } = Errno;

function setUp(max = 4096) {
  const calls: string[] = [];
  const note =
    (name: string) =>
    (...args: (string | number)[]): void => {
      calls.push([name, ...args].join(" "));
    };
  const ports = new EventPorts(1, {
    maxPorts: () => max,
    vcpuExists: (vcpu) => vcpu < 2,
    raise: note("raise"),
    clearPending: note("clear"),
    raiseIfPending: note("repend"),
    unmask: (port, vcpu) => {
      note("unmask")(port, vcpu);
      return 0;
    },
    shortcut: note("shortcut"),
    endShortcut: note("end"),
    timerPort: note("timer"),
  });
  return { ports, take: () => calls.splice(0) };
}

describe("EventPorts", () => {
  it("gives numbers that a guest had in another domain last of all", () => {
    const { ports } = setUp(5);
    ports.avoid([1, 3]);
    expect([1, 2, 3, 4, 5].map(() => ports.allocUnbound(0))).toEqual([2, 4, 1, 3, -ENOSPC]);
    expect(ports.kept?.stale).toEqual([1, 3]);
    expect(ports.numbers).toEqual([2, 4, 1, 3]);
  });

  it("hands out the lowest free port, never 0, until none is left", () => {
    const { ports } = setUp(4);
    expect([1, 2, 3, 4].map(() => ports.allocUnbound(0))).toEqual([1, 2, 3, -ENOSPC]);
    expect(ports.close(evtchnPort(2))).toBe(0);
    expect(ports.bindIpi(xenVcpuId(0))).toBe(2);
    expect(ports.close(evtchnPort(0))).toBe(-EINVAL);
    expect(ports.close(evtchnPort(4))).toBe(-EINVAL);
  });

  it("IPI: a shortcut to itself", () => {
    const { ports, take } = setUp();
    expect(ports.bindIpi(xenVcpuId(2))).toBe(-ENOENT);
    expect(ports.bindIpi(xenVcpuId(1))).toBe(1);
    expect(take()).toEqual(["shortcut 1 ipi 1 1"]);
    expect(ports.send(evtchnPort(1))).toBe(0);
    expect(ports.bindVcpu(evtchnPort(1), xenVcpuId(0))).toBe(-EINVAL);
    expect(ports.status(evtchnPort(1))).toEqual({ status: 5, vcpu: 1, u: [0, 0] });
    expect(ports.close(evtchnPort(1))).toBe(0);
    expect(take()).toEqual(["raise 1 1", "end 1", "clear 1"]);
  });

  it("VIRQ: once per vCPU or domain, the timer port goes to the kernel half", () => {
    const { ports, take } = setUp();
    expect(ports.bindVirq(24, xenVcpuId(0))).toBe(-EINVAL);
    expect(ports.bindVirq(2, xenVcpuId(1))).toBe(-EINVAL);
    expect(ports.bindVirq(0, xenVcpuId(2))).toBe(-ENOENT);
    expect(ports.bindVirq(0, xenVcpuId(1))).toBe(1);
    expect(ports.bindVirq(0, xenVcpuId(1))).toBe(-EEXIST);
    expect(ports.bindVirq(0, xenVcpuId(0))).toBe(2);
    expect(take()).toEqual(["timer 1 1", "timer 0 2"]);
    expect(ports.send(evtchnPort(1))).toBe(-EINVAL);
    expect(ports.bindVcpu(evtchnPort(1), xenVcpuId(0))).toBe(-EINVAL);
    ports.raiseVirq(0, xenVcpuId(1));
    expect(ports.close(evtchnPort(1))).toBe(0);
    ports.raiseVirq(0, xenVcpuId(1));
    expect(take()).toEqual(["raise 1 1", "timer 1 0", "clear 1"]);
    expect(ports.bindVirq(0, xenVcpuId(1))).toBe(1);
    expect(ports.bindVirq(3, xenVcpuId(0))).toBe(3);
    expect(ports.bindVcpu(evtchnPort(3), xenVcpuId(1))).toBe(0);
    expect(ports.status(evtchnPort(3))).toEqual({ status: 4, vcpu: 1, u: [3, 0] });
  });

  it("loopback: both sides, and the kernel half follows the vCPU", () => {
    const { ports, take } = setUp();
    expect(ports.allocUnbound(1)).toBe(1);
    expect(ports.send(evtchnPort(1))).toBe(0);
    expect(ports.bindInterdomain(1, 9)).toBe(-EINVAL);
    expect(ports.bindInterdomain(2, 1)).toBe(-ESRCH);
    expect(ports.bindInterdomain(1, 1)).toBe(2);
    expect(take()).toEqual([
      "shortcut 2 interdomain 1 0",
      "shortcut 1 interdomain 2 0",
      "raise 2 0",
    ]);
    expect(ports.bindInterdomain(1, 1)).toBe(-EINVAL);
    expect(ports.status(evtchnPort(1))).toEqual({ status: 2, vcpu: 0, u: [1, 2] });
    expect(ports.bindVcpu(evtchnPort(1), xenVcpuId(1))).toBe(0);
    expect(take()).toEqual(["shortcut 2 interdomain 1 1", "repend 1 1"]);
    expect(ports.send(evtchnPort(2))).toBe(0);
    expect(take()).toEqual(["raise 1 1"]);
    expect(ports.close(evtchnPort(2))).toBe(0);
    expect(take()).toEqual(["end 2", "end 1", "clear 2"]);
    expect(ports.status(evtchnPort(1))).toEqual({ status: 1, vcpu: 0, u: [1, 0] });
  });

  it("backends connect to ports left for them, and offer their own", () => {
    const { ports, take } = setUp();
    let notified = 0;
    const guest = ports.allocUnbound(0);
    const other = ports.allocUnbound(1);
    expect(ports.connectBackend(evtchnPort(other), () => undefined)).toBeUndefined();
    const handle = ports.connectBackend(evtchnPort(guest), () => notified++) as number;
    expect(ports.connectBackend(evtchnPort(guest), () => undefined)).toBeUndefined();
    expect(ports.send(evtchnPort(guest))).toBe(0);
    expect(notified).toBe(1);
    ports.notifyGuest(backendEvtchnPort(handle));
    expect(take()).toEqual([`raise ${guest} 0`]);
    expect(ports.status(evtchnPort(guest))).toMatchObject({ status: 2, u: [0, handle] });
    ports.closeBackend(backendEvtchnPort(handle));
    expect(ports.status(evtchnPort(guest))).toMatchObject({ status: 1, u: [0, 0] });
    ports.notifyGuest(backendEvtchnPort(handle));

    const offered = ports.offerBackend(() => notified++);
    expect(ports.bindInterdomain(0, offered + 1)).toBe(-EINVAL);
    const bound = ports.bindInterdomain(0, offered);
    expect(take()).toEqual([`raise ${bound} 0`]);
    expect(ports.bindInterdomain(0, offered)).toBe(-EINVAL);
    ports.reset();
    expect(ports.status(evtchnPort(bound))).toMatchObject({ status: 0 });
    expect(ports.bindInterdomain(0, offered)).toBe(1);
  });

  it("bind_vcpu checks the vCPU before the port, unmask and send the port", () => {
    const { ports } = setUp();
    expect(ports.bindVcpu(evtchnPort(77), xenVcpuId(9))).toBe(-ENOENT);
    expect(ports.bindVcpu(evtchnPort(77), xenVcpuId(0))).toBe(-EINVAL);
    expect(ports.unmask(evtchnPort(77))).toBe(-EINVAL);
    expect(ports.send(evtchnPort(77))).toBe(-EINVAL);
    expect(ports.status(evtchnPort(0))).toBeUndefined();
    expect(ports.status(evtchnPort(4096))).toBeUndefined();
  });

  it("has no port left for anyone, and then nothing else has changed", () => {
    const { ports, take } = setUp(3);
    expect([ports.allocUnbound(1), ports.allocUnbound(0)]).toEqual([1, 2]);
    const offered = ports.offerBackend(() => undefined);
    const full = [
      ports.bindInterdomain(0, offered),
      ports.bindInterdomain(1, 1),
      ports.bindVirq(0, xenVcpuId(0)),
      ports.bindIpi(xenVcpuId(0)),
    ];
    expect(full).toEqual(Array(4).fill(-ENOSPC));
    expect(take()).toEqual([]);
    expect(ports.status(evtchnPort(1))).toEqual({ status: 1, vcpu: 0, u: [1, 0] });
    ports.notifyGuest(offered);
    ports.raiseVirq(0, xenVcpuId(0));
    expect(take()).toEqual([]);
    ports.close(evtchnPort(2));
    take();
    expect(ports.bindInterdomain(0, offered)).toBe(2);
    expect(take()).toEqual(["raise 2 0"]);
  });

  it("a closed port that may exist is closed: status 0, no vCPU", () => {
    const { ports } = setUp();
    expect(ports.status(evtchnPort(4095))).toEqual({ status: 0, vcpu: 0, u: [0, 0] });
  });

  it("binds the first of a domain's ports to vCPU 0; global virqs are one for all vCPUs", () => {
    const { ports, take } = setUp();
    expect(ports.bindVirq(3, xenVcpuId(0))).toBe(1);
    expect(ports.bindVirq(4, xenVcpuId(0))).toBe(2);
    expect(ports.bindVirq(3, xenVcpuId(0))).toBe(-EEXIST);
    // Only VIRQ_TIMER has a timer.
    expect(take()).toEqual([]);
    expect(ports.bindVcpu(evtchnPort(1), xenVcpuId(1))).toBe(0);
    expect(take()).toEqual(["repend 1 1"]);
    ports.raiseVirq(3, xenVcpuId(0));
    ports.raiseVirq(4, xenVcpuId(0));
    ports.raiseVirq(5, xenVcpuId(0));
    expect(take()).toEqual(["raise 1 1", "raise 2 0"]);
    expect(ports.close(evtchnPort(1))).toBe(0);
    expect(take()).toEqual(["clear 1"]);
    ports.raiseVirq(4, xenVcpuId(0));
    expect(take()).toEqual(["raise 2 0"]);
  });

  it("wants a port that was left for this domain: loopback to an IPI, a bound or another's port is none", () => {
    const { ports, take } = setUp();
    ports.allocUnbound(0);
    ports.bindIpi(xenVcpuId(0));
    take();
    expect([ports.bindInterdomain(1, 1), ports.bindInterdomain(1, 2)]).toEqual([-EINVAL, -EINVAL]);
    expect(take()).toEqual([]);
    expect(ports.send(evtchnPort(1))).toBe(0);
  });

  it("backends have ports of their own, and are heard only while they are there", () => {
    const { ports, take } = setUp();
    const heard: string[] = [];
    const [a, b] = ["a", "b"].map((name) => ports.offerBackend(() => heard.push(name)));
    expect(a).not.toBe(b);
    const [atA, atB] = [ports.bindInterdomain(0, a ?? 0), ports.bindInterdomain(0, b ?? 0)];
    expect([atA, atB]).toEqual([1, 2]);
    ports.send(evtchnPort(2));
    ports.send(evtchnPort(1));
    expect(heard).toEqual(["b", "a"]);
    take();
    expect(ports.bindVcpu(evtchnPort(1), xenVcpuId(1))).toBe(0);
    expect(take()).toEqual(["repend 1 1"]);
    ports.notifyGuest(backendEvtchnPort(a ?? 0));
    expect(take()).toEqual(["raise 1 1"]);
    ports.closeBackend(backendEvtchnPort(a ?? 0));
    ports.closeBackend(backendEvtchnPort(a ?? 0));
    ports.notifyGuest(backendEvtchnPort(a ?? 0));
    expect(take()).toEqual([]);
    expect(ports.send(evtchnPort(1))).toBe(0);
    expect(heard).toEqual(["b", "a"]);
    expect(ports.close(evtchnPort(1))).toBe(0);
    expect(ports.close(evtchnPort(2))).toBe(0);
    ports.notifyGuest(backendEvtchnPort(b ?? 0));
    expect(take()).toEqual(["clear 1", "clear 2"]);
  });

  it("are listed by number, with what they are bound to", () => {
    const { ports } = setUp();
    for (let i = 0; i < 3; i++) ports.allocUnbound(7);
    ports.close(evtchnPort(1));
    expect(ports.bindPirq(55)).toBe(1);
    expect(ports.bindVirq(4, xenVcpuId(0))).toBe(4);
    expect(ports.bindVcpu(evtchnPort(4), xenVcpuId(1))).toBe(0);
    expect(ports.list()).toEqual([
      { port: 1, vcpu: 0, state: "pirq", to: 55 },
      { port: 2, vcpu: 0, state: "unbound", to: 7 },
      { port: 3, vcpu: 0, state: "unbound", to: 7 },
      { port: 4, vcpu: 1, state: "virq", to: 4 },
    ]);
  });

  it("of physical interrupts have no one to send to, and are free again when closed", () => {
    const { ports, take } = setUp();
    expect([ports.bindPirq(56), ports.bindPirq(55), ports.bindPirq(55)]).toEqual([
      ...[-EINVAL, 1, -EEXIST],
    ]);
    expect(ports.bindPirq(0)).toBe(2);
    expect(ports.status(evtchnPort(1))).toEqual({ status: 3, vcpu: 0, u: [55, 0] });
    expect(ports.send(evtchnPort(1))).toBe(-EINVAL);
    expect(take()).toEqual([]);
    expect([ports.close(evtchnPort(1)), ports.bindPirq(55)]).toEqual([0, 1]);
    expect(take()).toEqual(["clear 1"]);
  });
});
