// @ts-check
/**
 * Differences from Linux that a scenario shows. What Linux 6.12 answered is in differences.out
 * (record.mjs asks); tests/reference/shown.test.ts plays them and compares.
 * @typedef {object} Shown
 * @property {string} what the row of differences.mjs
 * @property {string[]} steps
 * @property {Record<string, string>} here answers that are other than Linux's, by step: the last one of
 *   that text
 * @property {true} [as7] Linux 7.2 answers otherwise than 6.12, and --linux 7.2 as that
 */

/** Long mode is there, as newer kernels demand before they enter it. */
const CPUID = "v0 cpuid 1:0:0:0:200201:178bfbff 80000001:0:0:0:0:20100800";
const VM = ["vm", "irqchip", "slot 0 0 0x200000", "vcpu 0"];

/** @type {Shown[]} */
export const SHOWN = [
  {
    what: "An instruction that reads from a device and then writes to one",
    steps: [
      ...VM,
      "config 0x22 0x40000000",
      "hvm set LONG_MODE 01",
      "v0 set RUNSTATE_ADDR 0090000000000000",
      CPUID,
      "v0 mode64",
      "poke 0x1000 a4f4",
      "v0 regs rip=0x1000 rsi=0x10000000 rdi=0x10001000",
      "v0 run",
      "poke 0x9000 ffffffff",
      "v0 run",
      "peek 0x9000 4",
    ],
    here: { "peek 0x9000 4": "00000000" },
  },
  {
    what: "REP MOVS that reads from a device",
    steps: [
      ...VM,
      CPUID,
      "v0 mode64",
      "poke 0x1000 f3a4e610f4",
      "v0 regs rip=0x1000 rsi=0x10000000 rdi=0x3000 rcx=1",
      "v0 run",
      "poke 0x1000 e612",
      "v0 run",
      "v0 regs rip rcx",
    ],
    here: {
      "v0 run": "0 IO out port=0x10 size=1 count=1 data=00",
      "v0 regs rip rcx": "rip:1002 rcx:0 = 0",
    },
  },
  {
    what: "Blocking of NMIs after KVM_EXIT_SHUTDOWN",
    steps: [
      ...VM,
      CPUID,
      "v0 mode64",
      "poke 0x3020 00200800008e00000000000000000000",
      "poke 0x2000 0f0b",
      "v0 idt 0x3000 0x2f",
      "poke 0x1000 90ebfd",
      "v0 regs rip=0x1000 rsp=0x8000",
      "v0 nmi",
      "v0 run",
      "v0 events",
    ],
    here: { "v0 events": "0 exception=0/0 interrupt=0/0 shadow=0 nmi=0/0/0" },
  },
  {
    what: "KVM_RUN after KVM_EXIT_SHUTDOWN, when paging was off",
    steps: [
      ...VM,
      "slot 1 0xfffff000 0x1000",
      "poke 0xfffffff0 e642",
      "v0 mode16",
      "v0 idt 0 0",
      "poke 0x1000 0f0b",
      "v0 regs rip=0x1000 rsp=0x8000",
      "v0 run",
      "v0 run",
    ],
    here: { "v0 run": "0 IO out port=0x42 size=1 count=1 data=00" },
  },
  {
    what: "Delivery of an event whose table or stack is in no slot",
    steps: [
      ...VM,
      "v0 mode16",
      "v0 idt 0x300000 0x3ff",
      "poke 0x1000 cc90e610",
      "v0 regs rip=0x1000 rsp=0x8000",
      "v0 run",
    ],
    here: { "v0 run": "0 MMIO read gpa=0x30000c len=4" },
    as7: true,
  },
  {
    what: "pvclock areas after a vCPU's first KVM_RUN",
    steps: [
      ...VM,
      "config 0x22 0x40000000",
      "v0 set VCPU_TIME_INFO 0090000000000000",
      CPUID,
      "v0 mode64",
      "poke 0x1000 e610ebfc",
      "v0 regs rip=0x1000",
      "v0 run",
      `poke 0x9000 ${"00".repeat(32)}`,
      "sleep 400",
      "v0 run",
      "v0 run",
      "pvclock 0x9000",
    ],
    here: { "pvclock 0x9000": "even empty" },
    as7: true,
  },
  {
    what: "A page of a slot that logs writes, read or executed by the guest",
    steps: [
      "vm",
      "irqchip",
      "slot 0 0 0x200000",
      "slot 1 0xc0000000 0x8000 1",
      "slot 2 0xc0010000 0x8000 1",
      "vcpu 0",
      CPUID,
      "v0 mode64",
      "poke 0xc0003000 01",
      "poke 0xc0011000 8b078b0ee710",
      "v0 regs rip=0xc0011000 rdi=0xc0003000 rsi=0xc0004000",
      "v0 run",
      "dirty 1",
      "dirty 2",
    ],
    here: { "dirty 1": "0", "dirty 2": "0" },
  },
  {
    what: "VMCALL of a guest whose CPUID names Intel, in code that it may not write",
    steps: [
      ...VM,
      "config 0x22 0x40000000",
      `${CPUID} 0:0:1:756e6547:6c65746e:49656e69`,
      "v0 mode64",
      "poke 0x82008 a100000000000000",
      "poke 0x1000 0f01c1e610f4",
      "v0 regs rip=0x201000 rax=0x11 rdx=0 rsp=0x8000",
      "v0 run",
      "peek 0x1000 3",
    ],
    here: {
      "v0 run": "0 XEN type=1 longmode=1 cpl=0 input=0x11 params=0,0,0,0,0,0",
    },
  },
  {
    what: "Operands in device memory, taken by KVM's emulator its own way",
    steps: [
      "vm",
      "slot 0 0 0x200000",
      ...Array.from({ length: 5 }, (_, i) => [
        `vcpu ${i}`,
        CPUID.replace("v0", `v${i}`),
        `v${i} mode64`,
        // SLDT m, JMP m16:32, MOV m,DS with REX.W, REP INSB, SGDT m
        `poke 0x${i + 1}000 ${["0f0003", "ff2b", "488c1b", "f36c", "0f0103"][i]}f4`,
        `v${i} regs rip=0x${i + 1}000 rbx=0x10000000 rdi=0x10000000 rcx=2`,
      ]).flat(),
      "v0 run",
      "v1 run",
      "v2 run",
      "v3 run",
      "v3 run",
      "v4 run 100",
    ],
    here: {
      "v0 run": "0 MMIO write gpa=0x10000000 len=2 data=0000",
      "v1 run": "0 MMIO read gpa=0x10000000 len=4",
      "v2 run": "0 MMIO write gpa=0x10000000 len=2 data=1000",
      "v3 run": "0 MMIO write gpa=0x10000000 len=1 data=00",
      "v4 run 100": "0 MMIO write gpa=0x10000000 len=2 data=1700",
    },
  },
];

/** @param {Shown} shown */
export const shownScenario = (shown) => `${shown.steps.join("\n")}\n`;
