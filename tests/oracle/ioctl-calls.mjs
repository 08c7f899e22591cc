// @ts-check
import { Prng } from "../native/prng.mjs";
import { INTERRUPTS, le, regs, setUp, sregs } from "./ioctl-machine.mjs";

/**
 * Random calls of the whole interface, with few runs between them: Xen's attributes and events, interrupt routing,
 * eventfds, memory slots and their dirty pages, MSRs, the state of chips and processors, on one or two vCPUs. Each is a file for
 * ioctls.c. What depends on time is not asked for: counters, clocks, run states.
 *
 * @typedef {import("./ioctl-machine.mjs").Machine} Machine
 * @typedef {(r: Prng, vcpu: string) => string | string[]} Call
 */

/** A port that every program says first. */
const PROGRAM = "e680e4900fa2e681f4e6feebfb";

/** Guest-physical pages that calls speak of: in a slot, in the one that comes and goes, nowhere. */
const PAGES = [0xc, 0xd, 0xe, 0x40, 0x41, 0x90, 0xffff];
const ADDRESSES = [0xc000, 0xcffc, 0xcffd, 0xd010, 0xdfe0, 0xe7f8, 0x40000, 0x40ff0, 0x90000];

/** @param {Prng} r */
const address = (r) => r.pick([...ADDRESSES, "0xffffffffffffffff"]);
/** @param {Prng} r */
const port = (r) => r.pick([0, 1, 5, 31, 32, 63, 1023, 1024, 4095, 4096, "0xffffffff"]);
/** @param {Prng} r */
const priority = (r) => (r.chance(85) ? "0xffffffff" : r.pick([0, 1]));
/** @param {Prng} r */
const vcpuId = (r) => r.pick([0, 0, 1, 1, 2, "0xffffffff"]);

/** An attribute's argument: type, padding, the union. @param {number} type @param {string} value @param {number} bytes */
const attribute = (type, value, bytes) => `2:${type} z6 ${value} z${64 - bytes}`;

/** @type {Record<string, [weight: number, call: Call]>} */
const CALLS = {
  run: [6, (_r, v) => [`run ${v} 250`, `page ${v} 0 48`]],
  finish: [1, (_r, v) => [`setpage ${v} 1 01`, `run ${v} 250`, `setpage ${v} 1 00`]],
  xenConfig: [
    2,
    (r) =>
      `m KVM_XEN_HVM_CONFIG 4:${r.pick([0, 1, 2, 2, 0x20, 0x22, 0x22, 0x62, 0x400])} 4:${r.pick(["0x40000000", "0x40000000", "0x40000200", 0, 1])} z48`,
  ],
  longMode: [2, (r) => `m KVM_XEN_HVM_SET_ATTR ${attribute(0, `1:${r.pick([0, 1, 2])}`, 1)}`],
  sharedInfo: [
    3,
    (r) =>
      `m KVM_XEN_HVM_SET_ATTR ${attribute(1, `8:${r.pick([...PAGES, "0xffffffffffffffff", "0xfffffffffffff"])}`, 8)}`,
  ],
  sharedInfoHva: [
    1,
    (r) => `m KVM_XEN_HVM_SET_ATTR ${attribute(6, `8:${r.pick([0, "&l", "&o", 0x20001])}`, 8)}`,
  ],
  upcall: [
    2,
    (r) => `m KVM_XEN_HVM_SET_ATTR ${attribute(2, `1:${r.pick([0, 0xf, 0x10, 0xf3])}`, 1)}`,
  ],
  version: [
    1,
    (r) => `m KVM_XEN_HVM_SET_ATTR ${attribute(4, `4:${r.pick([0, 0x40011, "0xffffffff"])}`, 4)}`,
  ],
  runstateFlag: [1, (r) => `m KVM_XEN_HVM_SET_ATTR ${attribute(5, `1:${r.pick([0, 1, 2])}`, 1)}`],
  hvmGet: [
    3,
    (r) => `m KVM_XEN_HVM_GET_ATTR ${attribute(r.pick([0, 1, 2, 3, 4, 5, 7, 99]), "z0", 0)}`,
  ],
  evtchn: [
    5,
    (r) => {
      const target = r.chance(60)
        ? `4:${port(r)} 4:${vcpuId(r)} 4:${priority(r)}`
        : `4:0 4:${r.pick(["%e", "%e", "%f", 99])} 4:0`;
      return `m KVM_XEN_HVM_SET_ATTR 2:3 z6 4:${port(r)} 4:${r.pick([2, 2, 5, 1, 0])} 4:${r.pick([0, 0, 0, 1, 2, 3, 4, 8])} ${target} z40`;
    },
  ],
  send: [
    5,
    (r) => [
      `m KVM_XEN_HVM_EVTCHN_SEND 4:${port(r)} 4:${vcpuId(r)} 4:${priority(r)}`,
      `get l 0x${r.pick([0xc800, 0xc880, 0xd010, 0xc000]).toString(16)} 32`,
    ],
  ],
  vcpuInfo: [
    4,
    (r, v) => `${v} KVM_XEN_VCPU_SET_ATTR ${attribute(r.pick([0, 0, 1, 2]), `8:${address(r)}`, 8)}`,
  ],
  vcpuInfoHva: [
    1,
    (r, v) => `${v} KVM_XEN_VCPU_SET_ATTR ${attribute(9, `8:${r.pick([0, "&l", "&o", 3])}`, 8)}`,
  ],
  vcpuXenId: [
    1,
    (r, v) => `${v} KVM_XEN_VCPU_SET_ATTR ${attribute(6, `4:${r.pick([0, 1, 7, 128])}`, 4)}`,
  ],
  vcpuTimer: [
    2,
    (r, v) =>
      `${v} KVM_XEN_VCPU_SET_ATTR ${attribute(7, `4:${port(r)} 4:${priority(r)} 8:${r.pick([0, 0, 1])}`, 16)}`,
  ],
  vcpuVector: [
    1,
    (r, v) => `${v} KVM_XEN_VCPU_SET_ATTR ${attribute(8, `1:${r.pick([0, 0xf, 0x10, 0xff])}`, 1)}`,
  ],
  vcpuGet: [
    4,
    (r, v) =>
      `${v} KVM_XEN_VCPU_GET_ATTR ${attribute(r.pick([0, 1, 2, 6, 7, 8, 10, 98]), "z0", 0)}`,
  ],
  slot: [
    3,
    (r) => {
      const size = r.pick([0, 0x1000, 0x2000, 0x2000, 0x800]);
      return `m KVM_SET_USER_MEMORY_REGION 4:${r.pick([1, 1, 1, 2])} 4:${r.pick([0, 1, 1, 2, 3, 4])} 8:${r.pick([0x40000, 0x40000, 0x41000, 0x8000])} 8:${size} 8:${r.pick(["&o", "&o", "&l"])}`;
    },
  ],
  dirty: [
    2,
    (r) => [
      "put o 0x3000 0000000000000000",
      `m KVM_GET_DIRTY_LOG 4:${r.pick([0, 1, 1, 2])} 4:0 8:${r.pick(["&d", "&d", 0x20000])}`,
      "get d 0 8",
    ],
  ],
  clearDirty: [
    1,
    (r) => `m KVM_CLEAR_DIRTY_LOG 4:1 4:${r.pick([1, 2, 64])} 8:${r.pick([0, 0, 64])} 8:&d`,
  ],
  routing: [
    4,
    (r) => {
      const count = r.range(1, 3);
      const entries = Array.from({ length: count }, () => {
        const head = `4:${r.pick([0, 4, 5, 6, 24, 4095, 4096])}`;
        switch (r.below(4)) {
          case 0:
            return `${head} 4:1 4:0 4:0 4:${r.pick([0, 1, 2, 3])} 4:${r.pick([0, 7, 8, 23, 24])} z24`;
          case 1:
            return `${head} 4:2 4:${r.pick([0, 1])} 4:0 4:${r.pick(["0xfee00000", "0xfee01000", 0])} 4:0 4:0x${r.pick(INTERRUPTS).toString(16)} z20`;
          case 2:
            return `${head} 4:${r.pick([0, 3, 4, 6])} z40`;
          default:
            return `${head} 4:5 4:0 4:0 4:${port(r)} 4:${vcpuId(r)} 4:${priority(r)} z20`;
        }
      });
      return `m KVM_SET_GSI_ROUTING 4:${count} 4:${r.chance(95) ? 0 : 1} ${entries.join(" ")}`;
    },
  ],
  irqfd: [
    3,
    (r) => [
      `m KVM_IRQFD 4:${r.pick(["%e", "%e", "%f", 99])} 4:${r.pick([0, 4, 5, 24, 4096])} 4:${r.pick([0, 0, 1, 2, 4])} 4:${r.pick(["%f", 0])} z16`,
    ],
  ],
  irqLine: [
    3,
    (r) =>
      `m ${r.pick(["KVM_IRQ_LINE", "KVM_IRQ_LINE_STATUS"])} 4:${r.pick([0, 4, 5, 6, 8, 24, 4095])} 4:${r.below(2)}`,
  ],
  msi: [
    2,
    (r) =>
      `m KVM_SIGNAL_MSI 4:${r.pick(["0xfee00000", "0xfee01000", "0xfeeff000"])} 4:0 4:0x${r.pick([...INTERRUPTS, 0x400, 0x8031]).toString(16)} 4:${r.pick([0, 0, 0, 1])} z16`,
  ],
  irqchip: [2, (r) => `m KVM_GET_IRQCHIP 4:${r.pick([0, 1, 2, 3])} z516`],
  setPic: [
    1,
    (r) =>
      `m KVM_SET_IRQCHIP 4:${r.pick([0, 1])} 4:0 ${Array.from({ length: 16 }, () => `1:${r.pick([0, 0, 0, 1, 8, 0x20])}`).join(" ")} z496`,
  ],
  eoi: [1, (_r, v) => `${v} KVM_GET_LAPIC z1024`],
  lint: [
    2,
    (r, v) => {
      const image = new Array(1024).fill("00");
      const put = (/** @type {number} */ at, /** @type {number} */ value) => {
        for (let i = 0; i < 4; i++) image[at + i] = le((value >>> (8 * i)) & 0xff, 1);
      };
      put(0x20, r.pick([0, v === "v" ? 0 : 0x1000000]));
      put(0x30, r.pick([0x50014, 0]));
      put(0x80, r.pick([0, 0x20, 0xff]));
      put(0xd0, r.pick([0, 0x1000000]));
      put(0xe0, r.pick([0xffffffff, 0x0fffffff]));
      put(0xf0, r.pick([0x1ff, 0xff]));
      for (const lvt of [0x320, 0x330, 0x340, 0x360, 0x370]) put(lvt, r.pick([0x10000, 0x10700]));
      put(0x350, r.pick([0x700, 0x10700]));
      return `${v} KVM_SET_LAPIC x${image.join("")}`;
    },
  ],
  mp: [
    2,
    (r, v) =>
      r.chance(50)
        ? `${v} KVM_GET_MP_STATE z4`
        : `${v} KVM_SET_MP_STATE 4:${r.pick([0, 0, 1, 2, 3, 4, 5, 9, 10])}`,
  ],
  events: [2, (_r, v) => `${v} KVM_GET_VCPU_EVENTS z64`],
  nmi: [1, (_r, v) => `${v} KVM_NMI =0`],
  smi: [1, (_r, v) => `${v} KVM_GET_SREGS2 z320`],
  interrupt: [2, (r, v) => `${v} KVM_INTERRUPT 4:${r.pick([0x31, 0x41, 255, 256])}`],
  msrs: [
    5,
    (r, v) => {
      const index = r.pick([
        ...[
          0x10a, 0x1b, 0x174, 0x175, 0x176, 0x1a0, 0x1d9, 0x200, 0x2ff, 0x250, 0x277, 0x2, 0x6e0,
          0x79, 0x8b,
        ],
        ...[
          0x9e, 0xcd, 0xce, 0x179, 0x17a, 0x400, 0x401, 0xe7, 0x3a, 0x3b, 0x48, 0x49, 0x140, 0x345,
          0x38f,
        ],
        ...[
          0xc0000080, 0xc0000081, 0xc0000082, 0xc0000084, 0xc0000100, 0xc0000102, 0xc0000103,
          0xc0010015,
        ],
        ...[
          0xc0010010, 0xc001001f, 0xc0010020, 0xc0010055, 0xc0010058, 0xc0010140, 0xc0011029,
          0x4b564d02,
        ],
        ...[0x4b564d03, 0x4b564d04, 0x4b564d06, 0x40000000, 0x40000001, 0x12345678, 0xda0],
      ]);
      if (r.chance(50)) return `${v} KVM_GET_MSRS 4:1 4:0 4:${index} 4:0 z8`;
      const value = r.pick([
        0,
        1,
        0x900,
        0x500,
        0xfee00900,
        0x6,
        "0x7040600070406",
        "0xffffffffffffffff",
        "0x8000000000000000",
      ]);
      return `${v} KVM_SET_MSRS 4:1 4:0 4:${index} 4:0 8:${value}`;
    },
  ],
  regs: [2, (r, v) => (r.chance(50) ? `${v} KVM_GET_REGS z144` : `${v} KVM_GET_SREGS z312`)],
  debugRegs: [
    1,
    (r, v) =>
      r.chance(50)
        ? `${v} KVM_GET_DEBUGREGS z128`
        : `${v} KVM_SET_DEBUGREGS 8:${r.pick([0, 0x1000, "0xffffffffffffffff"])} z24 8:${r.pick([0, 0x4000, "0xffff0ff0", "0x100000000"])} 8:${r.pick([0x400, 0, 0x401, "0x100000400"])} 8:${r.pick([0, 0, 1])} z72`,
  ],
  xcrs: [
    1,
    (r, v) =>
      r.chance(50)
        ? `${v} KVM_GET_XCRS z392`
        : `${v} KVM_SET_XCRS 4:${r.pick([0, 1, 1, 17])} 4:${r.pick([0, 0, 1])} 4:${r.pick([0, 0, 1])} 4:0 8:${r.pick([0, 1, 3, 7])} z368`,
  ],
  fpu: [
    1,
    (r, v) =>
      r.chance(50)
        ? `${v} KVM_GET_FPU z416`
        : `${v} KVM_SET_FPU z128 2:0x37f 2:0 1:0 1:0 2:0 8:0 8:0 z256 4:${r.pick([0x1f80, 0, 0x10000])} 4:0`,
  ],
  translate: [
    1,
    (r, v) =>
      `${v} KVM_TRANSLATE 8:${r.pick([0, 0x1000, 0x1234, 0x200000, 0x40000000, "0xfee00080", "0x800000000000"])} z16`,
  ],
  tsc: [1, (r, v) => `${v} KVM_SET_TSC_KHZ =${r.pick([0, 1])}`],
  kvmclock: [1, (_r, v) => `${v} KVM_KVMCLOCK_CTRL =0`],
  vapic: [
    1,
    (r, v) => `${v} KVM_SET_VAPIC_ADDR 8:${r.pick([0, 0xc000, 0xcfff, 0x90000, 0x40000])}`,
  ],
  tprReporting: [1, (r, v) => `${v} KVM_TPR_ACCESS_REPORTING 4:${r.below(2)} 4:0 z32`],
  cap: [
    2,
    (r) =>
      `m KVM_ENABLE_CAP 4:${r.pick([116, 121, 129, 133, 138, 143, 147, 164, 168, 188, 194, 195, 201, 207, 211, 213, 218, 236, 237])} 4:${r.pick([0, 0, 0, 1])} 8:${r.pick([0, 1, 2, 3])} 8:0 z80`,
  ],
  vcpuCap: [
    1,
    (r, v) => `${v} KVM_ENABLE_CAP 4:${r.pick([160, 167, 190, 191])} 4:0 8:${r.pick([0, 1])} z88`,
  ],
  check: [1, (r) => `m KVM_CHECK_EXTENSION =${r.below(245)}`],
  ioeventfd: [
    1,
    (r) =>
      `m KVM_IOEVENTFD 8:${r.pick([0, 0x80])} 8:${r.pick([0x80, 0x81, 0x50000])} 4:${r.pick([0, 1, 2, 3])} 4:${r.pick(["%e", 99])} 4:${r.pick([0, 2, 2, 3, 6, 16])} z36`,
  ],
  coalesced: [
    1,
    (r) =>
      `m ${r.pick(["KVM_REGISTER_COALESCED_MMIO", "KVM_UNREGISTER_COALESCED_MMIO"])} 8:${r.pick([0x80, 0x50000])} 4:${r.pick([1, 0x1000])} 4:${r.below(2)}`,
  ],
  mce: [
    1,
    (r, v) =>
      r.chance(40)
        ? `${v} KVM_X86_SETUP_MCE 8:${r.pick([0, 1, 0x20, 0x21, "0x1000020", "0xffffffff"])}`
        : `${v} KVM_X86_SET_MCE 8:${r.pick(["0x8000000000000000", "0xbe00000000000000", "0xa000000000000000", 0])} 8:0 8:0 8:0 1:${r.pick([0, 1, 32])} z31`,
  ],
  device: [1, (r, v) => `${v} KVM_HAS_DEVICE_ATTR 4:0 4:${r.below(2)} 8:${r.below(2)} 8:0`],
  bootCpu: [1, (r) => `m KVM_SET_BOOT_CPU_ID =${r.below(3)}`],
  newVcpu: [1, (r) => `x = m KVM_CREATE_VCPU =${r.pick([0, 1, 4096])}`],
  cpuid: [1, (r, v) => `${v} KVM_GET_CPUID2 4:${r.pick([2, 40, 80])} 4:0 z${40 * 80}`],
  sigmask: [1, (r, v) => `${v} KVM_SET_SIGNAL_MASK 4:${r.pick([8, 4])} z${r.pick([8, 4])}`],
  oneReg: [1, (r, v) => `${v} KVM_GET_REG_LIST 8:${r.below(3)} z24`],
  close: [1, () => ["close e", "eventfd e"]],
  put: [
    2,
    (r) =>
      `put l 0x${r.pick([0xc000, 0xc800, 0xc880, 0xd010]).toString(16)} ${r.pick(["00".repeat(64), `${"ff".repeat(16)}`, "0000000000000000"])}`,
  ],
};

/**
 * The text of a file.
 * @param {string} seed
 */
export function ioctlCalls(seed) {
  const r = new Prng(seed);
  /** @type {Machine} */
  const machine = {
    irqchip: r.pick(["kernel", "kernel", "split", "none"]),
    bits: r.chance(50) ? 64 : 32,
    user: false,
    payloads: r.chance(20),
    tripleFaults: false,
    ends: INTERRUPTS,
  };
  if (machine.irqchip === "none") machine.ends = [];
  const lines = setUp(machine, PROGRAM);
  lines.push("eventfd e", "eventfd f", "memory o 0x4000", "memory d 0x2000");
  const vcpus = ["v"];
  if (r.chance(50)) {
    lines.push("w = m KVM_CREATE_VCPU =1");
    lines.push(`w KVM_SET_SREGS x${sregs(machine)}`, `w KVM_SET_REGS ${regs(machine, 0x1000, 2)}`);
    vcpus.push("w");
  }
  const weights = Object.fromEntries(
    Object.entries(CALLS).map(([name, [weight]]) => [name, weight]),
  );
  for (let i = r.range(30, 60); i > 0; i--) {
    const [, call] = CALLS[r.weighted(weights)] ?? [];
    if (call !== undefined) lines.push(...[call(r, r.pick(vcpus))].flat());
  }
  const head = `# random calls (${seed}); irqchip: ${machine.irqchip}; ${machine.bits} bits; ${vcpus.length} vCPUs`;
  return [head, ...lines, ""].join("\n");
}
