/** A domain before its guest has done anything, and at its limits: pages, vCPUs, virqs, work. */

import { describe, expect, it } from "vitest";
import type { Hva } from "../../base/index.js";
import { evtchnPort, xenVcpuId } from "../../base/index.js";
import type { Backend } from "./backends/backend.js";
import type { DomainVcpu } from "./domain.js";
import { makeDomain } from "./kvm.fixture.js";

type Test = ReturnType<typeof makeDomain>;
const vcpuOf = ({ domain }: Test, id: number): DomainVcpu => {
  const vcpu = domain.vcpus.get(id);
  if (vcpu === undefined) throw new Error("no such vCPU");
  return vcpu;
};

describe("a new domain", () => {
  it("has pages of its own, all different and outside of RAM: shared_info, 64 of grants, two rings", () => {
    const { domain } = makeDomain();
    const { pages, grantFrames, consolePage } = domain;
    expect([pages.length, new Set(pages).size, grantFrames.length]).toEqual([67, 67, 64]);
    expect(pages.every((at) => Number.isInteger(at / 4096))).toBe(true);
    expect(pages).toContain(consolePage.hva);
    for (const { hva } of grantFrames) expect(pages).toContain(hva);
    const ram = domain.memory.locate(0, 4096) as Hva;
    expect(pages.some((at) => at >= ram && at < ram + (16 << 20))).toBe(false);
  });

  it("lets domain 0 into its rings by the two grants that are reserved", () => {
    const { domain } = makeDomain();
    const page = domain.grantFrames[0];
    // public/grant_table.h: GTF_permit_access is 1, then the domain and the frame.
    const entries = [0, 1, 2].map((ref) => [page?.readU32(ref * 8), page?.readU32(ref * 8 + 4)]);
    expect(entries).toEqual([
      [1, 0xfeff8],
      [1, 0xfeff9],
      [0, 0],
    ]);
  });

  it("has vCPUs that are not up and not down yet, no work and no one who watches", () => {
    const { domain } = makeDomain();
    for (const vcpu of domain.vcpus.values())
      expect(vcpu).toMatchObject({ infoGpa: undefined, initialised: false, down: false });
    expect([domain.takeWork(), domain.trace, domain.devices]).toEqual([0, undefined, []]);
  });

  it("sums work up until someone takes it", () => {
    const { domain } = makeDomain();
    domain.charge(5);
    domain.charge(7);
    expect([domain.takeWork(), domain.takeWork()]).toEqual([12, 0]);
  });

  it("says where console text comes from", () => {
    const { domain, lines } = makeDomain();
    domain.debugText.write(Uint8Array.of(0x68, 0x69, 0x0a));
    expect(lines).toEqual(["console_io: hi"]);
  });

  it("knows its devices, in the order in which they came", () => {
    const [first, second, third] = ["a", "b", "c"].map((name) => ({
      name,
      connect: () => undefined,
    })) as unknown as [Backend, Backend, Backend];
    const { domain } = makeDomain([first]);
    domain.addDevice(second);
    let restored = 0;
    domain.adoptDevice(third, () => restored++);
    expect([domain.devices, restored]).toEqual([[first, second, third], 1]);
    domain.forgetDevice(second);
    expect(domain.devices).toEqual([first, third]);
  });

  it("tells of nodes that are watched, below its own directory, each once", () => {
    const { domain } = makeDomain();
    let heard = 0;
    domain.watchNode("data", () => heard++);
    domain.watchNode("other", () => undefined);
    domain.writeNode("data/x", "1");
    domain.writeNode("name", "x");
    expect(heard).toBe(1);
    const own = domain.store.watches().filter(({ token }) => token.startsWith("node "));
    expect(own.map(({ path, token }) => [path, token])).toEqual([
      ["/local/domain/1/data", "node data"],
      ["/local/domain/1/other", "node other"],
    ]);
    expect(() => domain.watchNode("data", () => undefined)).toThrow("watched twice");
  });
});

describe("time", () => {
  it("raises a vCPU's own VIRQ_TIMER", () => {
    const test = makeDomain();
    const { domain, time, take } = test;
    domain.mapSharedInfo(0x20, true);
    const [first, second] = [
      domain.ports.bindVirq(0, xenVcpuId(0)),
      domain.ports.bindVirq(0, xenVcpuId(1)),
    ];
    vcpuOf(test, 1).timers.setPeriodic(500n);
    take();
    time.now += 500;
    time.runDue();
    expect([first, second, take()]).toEqual([3, 4, ["send 4 to 4"]]);
  });

  it("ends a domain whose watchdog nobody winds: SHUTDOWN_watchdog is 4", () => {
    const { domain, time, shutdowns } = makeDomain();
    domain.watchdogs.start(1);
    time.now += 1e9;
    time.runDue();
    expect(shutdowns).toEqual([4]);
  });
});

describe("a vCPU beyond the 32 that shared_info has room for", () => {
  const ids = Array.from({ length: 34 }, (_, i) => i);
  const told = ({ vcpus }: Test, id: number): unknown =>
    vcpus[id]?.attributes.values.get("VCPU_INFO_HVA");

  it("has no vcpu_info there, and so no upcall that waits", () => {
    const test = makeDomain([], ids);
    const { domain } = test;
    expect(domain.mapSharedInfo(0x20, true)).toBe(0);
    domain.config.vm.linear.u8.fill(
      1,
      domain.sharedInfo.vcpuInfo(0),
      domain.sharedInfo.vcpuInfo(0) + 4096,
    );
    const waits = [31, 32, 33].map((id) => domain.upcallPending(vcpuOf(test, id)));
    expect([waits, told(test, 31) !== undefined, told(test, 32)]).toEqual([
      ...[[true, false, false], true],
      undefined,
    ]);
  });

  it("takes nothing over when it registers one", () => {
    const test = makeDomain([], ids);
    const { domain } = test;
    domain.mapSharedInfo(0x20, true);
    domain.config.vm.linear.u8.fill(
      0x77,
      domain.sharedInfo.vcpuInfo(0),
      domain.sharedInfo.vcpuInfo(0) + 4096,
    );
    for (const id of [31, 32]) domain.registerVcpuInfo(vcpuOf(test, id), 0x3000 + id * 64);
    const masks = [31, 32].map((id) => domain.memory.readU8(0x3000 + id * 64 + 1));
    expect(masks).toEqual([0x77, 0]);
  });
});

describe("shared_info", () => {
  it("is nowhere when there is no room for it, and no vCPU is told then", () => {
    const { domain, vcpus } = makeDomain();
    domain.physmap.batch(() => {
      for (let i = 0; i < 198; i++) domain.physmap.clear(i);
    });
    expect([domain.mapSharedInfo(0x3000, true), domain.sharedInfo.active]).toEqual([-12, false]);
    expect(vcpus[0]?.attributes.values.get("VCPU_INFO_HVA")).toBeUndefined();
  });

  it("that comes has the events that waited; one that goes, none", () => {
    const { domain, take } = makeDomain();
    const port = domain.ports.allocUnbound(0);
    domain.delivery.raise(evtchnPort(port), xenVcpuId(0));
    take();
    domain.mapSharedInfo(undefined, true);
    expect([take(), domain.delivery.kept.early]).toEqual([[], [{ port, vcpu: 0 }]]);
    domain.mapSharedInfo(0x20, true);
    expect([take(), domain.delivery.kept.early]).toEqual([[`send ${port} to 0`], []]);
  });
});

describe("a guest that was suspended", () => {
  it("finds no new port with the number of an old one, while there are others", () => {
    const { domain } = makeDomain();
    for (let i = 0; i < 5; i++) domain.ports.allocUnbound(0);
    domain.physmap.release(7);
    domain.params.set(0, 5n);
    domain.restore();
    expect(domain.ports.numbers).toEqual([1, 2]);
    expect([1, 2, 3].map(() => domain.ports.allocUnbound(0))).toEqual([8, 9, 10]);
    // What the balloon has stays with it; after a soft reset another kernel has all.
    expect([domain.physmap.isBacked(7), domain.params.has(0)]).toEqual([false, false]);
    domain.softReset();
    expect(domain.physmap.isBacked(7)).toBe(true);
  });

  it("has no events that waited for another kernel, and runstates as they begin", () => {
    const { domain, hvm } = makeDomain();
    domain.delivery.raise(evtchnPort(domain.ports.allocUnbound(0)), xenVcpuId(0));
    domain.softReset();
    expect(domain.delivery.kept.early).toEqual([]);
    expect(hvm.values.get("RUNSTATE_UPDATE_FLAG")).toEqual({
      type: "RUNSTATE_UPDATE_FLAG",
      runstateUpdateFlag: false,
    });
  });
});

describe("event delivery in an exact snapshot", () => {
  it("has what waits for shared_info, and shortcuts that KVM knows", () => {
    const { domain } = makeDomain();
    const ipi = domain.ports.bindIpi(xenVcpuId(1));
    const port = domain.ports.allocUnbound(0);
    domain.delivery.raise(evtchnPort(port), xenVcpuId(1));
    const { kept } = domain.delivery;
    expect(kept).toEqual({ shortcuts: [ipi], early: [{ port, vcpu: 1 }], complained: false });
    const next = makeDomain();
    next.domain.delivery.raise(evtchnPort(9), xenVcpuId(0));
    next.domain.delivery.keep({ ...kept, complained: true });
    expect(next.domain.delivery.kept).toEqual({ ...kept, shortcuts: [], complained: true });
    next.domain.delivery.clearPending(evtchnPort(port));
    expect(next.domain.delivery.kept.early).toEqual([]);
  });
});

describe("a line of text that is not complete, in an exact snapshot", () => {
  it("is what there is of it, up to its length", () => {
    const { domain, lines } = makeDomain();
    domain.debugText.write(Uint8Array.of(0x61, 0x62));
    expect(domain.debugText.line).toBe("ab");
    domain.debugText.line = "x".repeat(2000);
    expect(domain.debugText.line).toBe("x".repeat(1024));
    domain.debugText.line = "hel";
    domain.debugText.write(Uint8Array.of(0x6c, 0x6f, 0x0a));
    expect(lines).toEqual(["console_io: hello"]);
  });
});
