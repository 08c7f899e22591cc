import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { Engine } from "../engine/bridge/index.js";
import { HeapTimers, VirtualClock } from "../hosts/sim/index.js";
import {
  apicId,
  gpa,
  Kvm,
  KvmError,
  type KvmXenHvmAttrName,
  type KvmXenVcpuAttrName,
  type Vcpu,
  type Vm,
} from "../kvm/index.js";
import {
  attributeText,
  hvmAttributes,
  parseHvmAttr,
  parseVcpuAttr,
  vcpuAttributes,
} from "./index.js";

const CORE = new URL("../../dist/engine/core.wasm", import.meta.url);
const RAM = 0x100000;

describe("attributes", () => {
  let vm: Vm;
  let vcpu: Vcpu;
  let ram: number;
  beforeAll(async () => {
    const clock = new VirtualClock();
    const engine = await Engine.compile(readFileSync(CORE), { decode: "each" });
    const kvm = await Kvm.open({ engine, clock, timers: new HeapTimers(clock) });
    vm = kvm.createVm();
    vm.createIrqchip();
    const userspaceAddr = vm.linear.allocate(RAM);
    ram = Number(userspaceAddr);
    vm.setUserMemoryRegion({
      ...{ slot: 0, flags: 0, guestPhysAddr: gpa(0), memorySize: RAM },
      userspaceAddr: userspaceAddr as never,
    });
    vm.xen.hvmConfig({ flags: 0x22, msr: 0x40000000 });
    vcpu = vm.createVcpu(apicId(0));
  });

  /** What the library's GET_ATTR answers. */
  function answer(get: () => unknown): unknown {
    try {
      return get();
    } catch (error) {
      if (error instanceof KvmError) return error.errno;
      throw error;
    }
  }
  const errnos: Record<string, number> = { ENOENT: 2, EINVAL: 22 };

  function compare(): void {
    const view = vm.xenView();
    for (const one of hvmAttributes(view)) {
      const got = answer(() => vm.xen.getAttr(one.type as KvmXenHvmAttrName));
      expect("refused" in one ? errnos[one.refused] : one).toEqual(got);
    }
    const [shown] = view.vcpus;
    if (shown === undefined) throw new Error("no vCPU");
    for (const one of vcpuAttributes(shown)) {
      const got = answer(() => vcpu.xen.getAttr(one.type as KvmXenVcpuAttrName));
      expect("refused" in one ? errnos[one.refused] : one).toEqual(got);
    }
  }

  it("are what GET_ATTR answers, at first and when all are set", () => {
    compare();
    const hvm: [string, string][] = [
      ["LONG_MODE", "1"],
      ["SHARED_INFO", "0x40"],
      ["UPCALL_VECTOR", "0xf3"],
      ["XEN_VERSION", "0x40011"],
      ["RUNSTATE_UPDATE_FLAG", "1"],
    ];
    for (const [type, text] of hvm) vm.xen.setAttr(parseHvmAttr(type, text));
    const own: [string, string][] = [
      ["VCPU_INFO", "0x41000"],
      ["VCPU_TIME_INFO", "0x42000"],
      ["RUNSTATE_ADDR", "0x43000"],
      ["VCPU_ID", "3"],
      ["TIMER", "7 100000000000"],
      ["UPCALL_VECTOR", "80"],
    ];
    for (const [type, text] of own) vcpu.xen.setAttr(parseVcpuAttr(type, text));
    compare();
    const texts = new Map(hvmAttributes(vm.xenView()).map((one) => [one.type, attributeText(one)]));
    expect(texts.get("XEN_VERSION")).toBe("0x40011");
    const { vcpus } = vm.xenView();
    const ownTexts = new Map(
      vcpus.flatMap(vcpuAttributes).map((one) => [one.type, attributeText(one)]),
    );
    expect(ownTexts.get("TIMER")).toBe("7 100000000000");
  });

  it("may be given as addresses of the host", () => {
    vm.xen.setAttr(parseHvmAttr("SHARED_INFO_HVA", `0x${(ram + 0x50000).toString(16)}`));
    vcpu.xen.setAttr(parseVcpuAttr("VCPU_INFO_HVA", String(ram + 0x51000)));
    compare();
    expect(vm.xenView().sharedInfo).toMatchObject({ gpa: undefined, hva: ram + 0x50000 });
  });

  it.each([
    ["LONG_MODE", "2", "write 0 or 1"],
    ["UPCALL_VECTOR", "0x100000000", "has more than 32 bits"],
    ["SHARED_INFO", "", "a number is missing"],
    ["SHARED_INFO", "1 2", "a number too many"],
    ["SHARED_INFO", "<b>1</b>", "is no number of 64 bits"],
    ["EVTCHN", "1", "cannot be set here"],
  ])("refuse %s %j", (type, text, why) => {
    expect(() => parseHvmAttr(type, text)).toThrow(why);
  });

  it("take six numbers for a runstate", () => {
    expect(() => parseVcpuAttr("RUNSTATE_DATA", "0 1 2")).toThrow("six numbers");
    expect(parseVcpuAttr("RUNSTATE_DATA", "0 1 2 3 4 -1")).toMatchObject({
      runstate: { state: 0n, stateEntryTime: 1n, timeBlocked: 4n, timeOffline: 2n ** 64n - 1n },
    });
  });
});
