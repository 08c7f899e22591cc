import { describe, expect, it } from "vitest";
import { apicId, Errno, evtchnPort, xenVcpuId } from "../../base/index.js";
import type { KvmXenEvtchn, KvmXenHvmAttr } from "../../kvm/api/index.js";
import { KvmError } from "../../kvm/api/index.js";
import { EventDelivery } from "./event-delivery.js";
import type { XenVcpu, XenVm } from "./kvm-objects.js";
import type { SharedInfo } from "./shared-info.js";

/** vCPUs 0 and 1 have the APIC ids 0 and 4, by which KVM names them. */
function setUp(refuse = false) {
  const calls: unknown[] = [];
  const warnings: string[] = [];
  const details: string[] = [];
  const check = (what: unknown): void => {
    calls.push(what);
    if (settings.refuse) throw new KvmError(Errno.ENXIO, "refused");
  };
  const settings = { refuse, active: true, broken: false };
  const pending = new Set<number>();
  const masked = new Set<number>();
  const vm = {
    xen: {
      evtchnSend: (event: KvmXenEvtchn) =>
        check(`send ${event.port} ${event.vcpu} ${event.priority}`),
      setAttr: (attr: KvmXenHvmAttr) => check(attr),
    },
  } as unknown as XenVm;
  const vcpu = (id: number): XenVcpu =>
    ({ id: apicId(id), xen: { setAttr: (attr: unknown) => check(attr) } }) as unknown as XenVcpu;
  const sharedInfo = {
    get active() {
      return settings.active;
    },
    ports: 4096,
    isPending: (port: number) => pending.has(port),
    isMasked: (port: number) => masked.has(port),
    clearPending: (port: number) => pending.delete(port),
    clearMask: (port: number) => masked.delete(port),
  } as unknown as SharedInfo;
  const log = {
    warn: (line: string) => warnings.push(line),
    debug: (line: string) => details.push(line),
  };
  const vcpus = new Map([0, 4].map((id, i) => [xenVcpuId(i), vcpu(id)]));
  const delivery = new EventDelivery(vm, vcpus, sharedInfo, log);
  const take = (): unknown[] => calls.splice(0);
  return { delivery, settings, pending, masked, warnings, details, take };
}

const PRIORITY = 0xffffffff;

describe("events", () => {
  it("go to KVM by APIC id, with the priority of the 2-level ABI", () => {
    const { delivery, take } = setUp();
    delivery.raise(evtchnPort(7), xenVcpuId(1));
    delivery.raise(evtchnPort(8), xenVcpuId(0));
    delivery.raise(evtchnPort(9), xenVcpuId(2));
    expect(take()).toEqual([`send 7 4 ${PRIORITY}`, `send 8 0 ${PRIORITY}`]);
    expect([
      delivery.maxPorts(),
      delivery.vcpuExists(xenVcpuId(1)),
      delivery.vcpuExists(xenVcpuId(2)),
    ]).toEqual([4096, true, false]);
  });

  it("that come before there is a shared_info wait for it, once a port, unless the port is closed", () => {
    const { delivery, settings, take } = setUp();
    settings.active = false;
    for (const port of [7, 8, 7, 9]) delivery.raise(evtchnPort(port), xenVcpuId(1));
    delivery.clearPending(evtchnPort(8));
    expect(take()).toEqual([]);
    settings.active = true;
    delivery.raiseEarly();
    delivery.raiseEarly();
    expect(take()).toEqual([`send 7 4 ${PRIORITY}`, `send 9 4 ${PRIORITY}`]);
    settings.active = false;
    delivery.raise(evtchnPort(7), xenVcpuId(0));
    delivery.reset();
    settings.active = true;
    delivery.raiseEarly();
    expect(take()).toEqual([]);
  });

  it("that KVM refuses are told of once", () => {
    const { delivery, settings, warnings } = setUp();
    delivery.raise(evtchnPort(7), xenVcpuId(0));
    expect(warnings).toEqual([]);
    settings.refuse = true;
    delivery.raise(evtchnPort(7), xenVcpuId(0));
    delivery.raise(evtchnPort(8), xenVcpuId(0));
    expect(warnings).toEqual([
      expect.stringContaining(`event channel 7: KVM refused the event (${-Errno.ENXIO})`),
    ]);
  });
});

describe("pending and masked ports", () => {
  it("are told again when they are pending and not masked: KVM tells only of ports that were not pending", () => {
    const { delivery, pending, masked, take } = setUp();
    delivery.raiseIfPending(evtchnPort(5), xenVcpuId(0));
    pending.add(5);
    masked.add(5);
    delivery.raiseIfPending(evtchnPort(5), xenVcpuId(0));
    expect([take(), pending.has(5)]).toEqual([[], true]);
    masked.delete(5);
    delivery.raiseIfPending(evtchnPort(5), xenVcpuId(1));
    expect([take(), pending.has(5)]).toEqual([[`send 5 4 ${PRIORITY}`], false]);
    pending.add(5);
    delivery.clearPending(evtchnPort(5));
    expect(pending.has(5)).toBe(false);
  });

  it("unmasking tells a port that was masked and pending, and no other", () => {
    const { delivery, settings, pending, masked, take } = setUp();
    pending.add(5);
    expect(delivery.unmask(evtchnPort(5), xenVcpuId(0))).toBe(0);
    expect(take()).toEqual([]);
    masked.add(5);
    expect(delivery.unmask(evtchnPort(5), xenVcpuId(0))).toBe(0);
    expect([take(), masked.has(5)]).toEqual([[`send 5 0 ${PRIORITY}`], false]);
    settings.active = false;
    expect(delivery.unmask(evtchnPort(5), xenVcpuId(0))).toBe(-Errno.EOPNOTSUPP);
  });
});

describe("shortcuts in KVM", () => {
  const attr = (
    sendPort: number,
    evtchnType: number,
    flags: number,
    port: number,
    vcpu: number,
  ) => ({
    type: "EVTCHN",
    sendPort,
    evtchnType,
    flags,
    deliver: { port, vcpu, priority: PRIORITY },
  });

  it("are assigned (flags 0), then updated (flag 2), and taken back (flag 1) once", () => {
    const { delivery, take, warnings, details } = setUp();
    delivery.shortcut(evtchnPort(3), "ipi", evtchnPort(3), xenVcpuId(1));
    delivery.shortcut(evtchnPort(4), "interdomain", evtchnPort(5), xenVcpuId(0));
    delivery.shortcut(evtchnPort(4), "interdomain", evtchnPort(5), xenVcpuId(1));
    delivery.shortcut(evtchnPort(6), "ipi", evtchnPort(6), xenVcpuId(9));
    expect(take()).toEqual([attr(3, 5, 0, 3, 4), attr(4, 2, 0, 5, 0), attr(4, 2, 2, 5, 4)]);
    delivery.endShortcut(evtchnPort(4));
    delivery.endShortcut(evtchnPort(4));
    delivery.endShortcut(evtchnPort(6));
    expect(take()).toEqual([{ type: "EVTCHN", sendPort: 4, evtchnType: 5, flags: 1 }]);
    delivery.shortcut(evtchnPort(4), "interdomain", evtchnPort(5), xenVcpuId(0));
    expect(take()).toEqual([attr(4, 2, 0, 5, 0)]);
    expect([warnings, details]).toEqual([[], []]);
  });

  it("that KVM refuses are none, and there is nothing to take back", () => {
    const { delivery, settings, take, details, warnings } = setUp(true);
    delivery.shortcut(evtchnPort(3), "ipi", evtchnPort(3), xenVcpuId(1));
    expect(details).toEqual([expect.stringContaining("event channel 3")]);
    take();
    delivery.endShortcut(evtchnPort(3));
    expect(take()).toEqual([]);
    settings.refuse = false;
    delivery.shortcut(evtchnPort(3), "ipi", evtchnPort(3), xenVcpuId(1));
    settings.refuse = true;
    delivery.endShortcut(evtchnPort(3));
    expect(warnings).toEqual([expect.stringContaining("event channel 3: KVM keeps it")]);
  });

  it("a timer's port is an attribute of its vCPU, without a time", () => {
    const { delivery, settings, take, warnings } = setUp();
    delivery.timerPort(xenVcpuId(1), evtchnPort(9));
    delivery.timerPort(xenVcpuId(7), evtchnPort(9));
    expect(take()).toEqual([{ type: "TIMER", port: 9, priority: PRIORITY, expiresNs: 0n }]);
    expect(warnings).toEqual([]);
    settings.refuse = true;
    delivery.timerPort(xenVcpuId(1), evtchnPort(9));
    expect(warnings).toEqual([expect.stringContaining("timer port 9")]);
  });
});
