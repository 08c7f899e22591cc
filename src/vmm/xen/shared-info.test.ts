/** The shared_info page: where the guest has it, what KVM hears of it, and its bits. */
import { describe, expect, it } from "vitest";
import { evtchnPort, gpa, type Hva, hva, PAGE_SIZE } from "../../base/index.js";
import { KvmError } from "../../kvm/api/index.js";
import { LinearMemory } from "../../memory/index.js";
import type { XenVm } from "./kvm-objects.js";
import { GuestPhysmap } from "./overlay.js";
import { SharedInfo } from "./shared-info.js";

const NO_SPACE = -28;
const EINVAL = -22;
/** Offsets of evtchn_pending and evtchn_mask in the 64-bit and the 32-bit layout. */
const LAYOUTS = [
  [true, 0x800, 0xa00, 4096],
  [false, 0x800, 0x880, 1024],
] as const;

/** A guest of 16 pages; KVM refuses what it is told while `refuses` is set. */
function setUp(longMode = true) {
  const linear = new LinearMemory(new WebAssembly.Memory({ initial: 2 }), 0);
  const ram = linear.allocate(16 * PAGE_SIZE) as Hva;
  const page = linear.allocate(PAGE_SIZE) as Hva;
  const told: object[] = [];
  const kvm = { longMode, refuses: false };
  const xen = {
    getAttr: () => ({ type: "LONG_MODE", longMode: kvm.longMode }),
    setAttr(attr: { type: string; longMode?: boolean; hva?: bigint }) {
      if (kvm.refuses) throw new KvmError(-EINVAL, "a test");
      told.push(attr);
      kvm.longMode = attr.longMode ?? kvm.longMode;
      // The wallclock.
      if (attr.hva) linear.u8.fill(0x77, page + 0xc00, page + 0xc0c);
    },
  };
  const slots = { linear, setUserMemoryRegion: () => undefined };
  const physmap = new GuestPhysmap(slots, [{ gpa: gpa(0), size: 16 * PAGE_SIZE, hva: ram }]);
  const info = new SharedInfo({ linear, xen } as unknown as XenVm, physmap, page);
  return { info, kvm, told, physmap, page, linear };
}

describe("the mode", () => {
  it("is KVM's, which is told of another one only", () => {
    const { info, told } = setUp();
    expect([info.longMode, info.ports, info.latchLongMode(true), told]).toEqual([
      true,
      4096,
      0,
      [],
    ]);
    expect([info.latchLongMode(false), info.longMode, info.ports]).toEqual([0, false, 1024]);
    expect(told).toEqual([{ type: "LONG_MODE", longMode: false }]);
  });

  it("stays when KVM refuses another one", () => {
    const { info, kvm } = setUp();
    kvm.refuses = true;
    expect([info.latchLongMode(true), info.latchLongMode(false), info.longMode]).toEqual([
      ...[0, EINVAL, true],
    ]);
  });
});

describe("the page", () => {
  it("is nowhere at first, then where the guest wants it, and nowhere again", () => {
    const { info, told, physmap, page } = setUp();
    expect([info.active, info.hva, physmap.frameOf(page)]).toEqual([false, page, undefined]);
    expect([info.map(5, NO_SPACE), info.active, physmap.frameOf(page)]).toEqual([0, true, 5]);
    expect([info.map(7, NO_SPACE), info.active, physmap.frameOf(page)]).toEqual([0, true, 7]);
    expect([info.map(undefined, NO_SPACE), info.active]).toEqual([0, false]);
    expect(physmap.frameOf(page)).toBeUndefined();
    const hvas = [page, page, 0].map(BigInt);
    expect(told).toEqual(hvas.map((at) => ({ type: "SHARED_INFO_HVA", hva: at })));
  });

  it("is not there when KVM refuses it, or when there is no room", () => {
    const { info, kvm, told, physmap, linear } = setUp();
    kvm.refuses = true;
    expect([info.map(5, NO_SPACE), info.active]).toEqual([EINVAL, false]);
    kvm.refuses = false;
    info.map(undefined, NO_SPACE);
    for (let i = 0; i < 200; i++) physmap.place(linear.allocate(PAGE_SIZE) as Hva, 100 + 2 * i);
    told.length = 0;
    expect([info.map(6, NO_SPACE), info.active, told]).toEqual([NO_SPACE, false, []]);
  });

  it("is told of again with what was in it, and KVM's clock is not kept", () => {
    const { info, told, page, linear } = setUp();
    linear.u8.fill(0x11, page, page + PAGE_SIZE);
    info.restore(true);
    expect([info.active, told]).toEqual([true, [{ type: "SHARED_INFO_HVA", hva: BigInt(page) }]]);
    const bytes = () => new Set(linear.u8.subarray(page, page + PAGE_SIZE));
    expect(bytes()).toEqual(new Set([0x11]));
    info.restore(false);
    expect([info.active, told[1]]).toEqual([false, { type: "SHARED_INFO_HVA", hva: 0n }]);
    info.map(3, NO_SPACE);
    info.reset();
    expect([info.active, bytes()]).toEqual([false, new Set([0])]);
  });

  it("begins with the vcpu_infos, of 64 bytes each", () => {
    const { info, page } = setUp();
    expect([0, 1, 31].map((id) => info.vcpuInfo(id))).toEqual([
      ...[hva(page), hva(page + 64), hva(page + 31 * 64)],
    ]);
  });
});

describe.each(LAYOUTS)("with 64 bits: %s", (longMode, pendingAt, maskAt, ports) => {
  const PORTS = [0, 1, 7, 8, 33, ports - 1];

  it("the bits of ports are read and cleared, and no others", () => {
    const { info, page, linear } = setUp(longMode);
    expect(info.ports).toBe(ports);
    const bytes = linear.u8.subarray(page, page + PAGE_SIZE);
    for (const port of PORTS) {
      const [at, bit] = [port >> 3, 1 << (port & 7)];
      for (const [base, is] of [
        [pendingAt, () => [info.isPending(evtchnPort(port)), info.isMasked(evtchnPort(port))]],
        [maskAt, () => [info.isMasked(evtchnPort(port)), info.isPending(evtchnPort(port))]],
      ] as const) {
        bytes.fill(0);
        expect(is()).toEqual([false, false]);
        bytes[base + at] = bit;
        expect([port, ...is()]).toEqual([port, true, false]);
        bytes.fill(0xff);
        bytes[base + at] = 0xff & ~bit;
        expect([port, ...is()]).toEqual([port, false, true]);
      }
      bytes.fill(0xff);
      info.clearPending(evtchnPort(port));
      expect([bytes[pendingAt + at], bytes.filter((byte) => byte !== 0xff).length]).toEqual([
        ...[0xff & ~bit, 1],
      ]);
      bytes.fill(0xff);
      expect([info.clearMask(evtchnPort(port)), info.clearMask(evtchnPort(port))]).toEqual([
        true,
        false,
      ]);
      expect([bytes[maskAt + at], bytes.filter((byte) => byte !== 0xff).length]).toEqual([
        ...[0xff & ~bit, 1],
      ]);
    }
  });
});
