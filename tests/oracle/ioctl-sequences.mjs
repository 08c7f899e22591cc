// @ts-check
import { Prng } from "../native/prng.mjs";
import {
  CODE,
  INTERRUPTS,
  le,
  regs,
  setUp,
  sregs,
  storeApic,
  WITH_ERROR_CODE,
} from "./ioctl-machine.mjs";

/**
 * Random sequences of KVM's ioctls around events: interrupts, windows, NMIs, exceptions, the local APIC and a debugger,
 * between runs of a random guest program. Each is a file for ioctls.c.
 *
 * Every answer must be the same on every run, so that there are no timers and every program comes to an exit by itself.
 * What the processor that QEMU emulates does otherwise is left out: ICEBP, STI with IF set, single steps over STI and MOV SS;
 * breakpoints of a debugger, for which it takes neither debug registers nor the intercept of INT3; an interrupt shadow that the
 * client gives, which it forgets at VMRUN, and one that INT3 takes along; error codes of exceptions that have none. A fault's handler that goes on behind two
 * bytes finds no LOCK there, as it executes LOCK OUT. It never raises #AC.
 * MOV to CR8 comes with IF set only: QEMU 7.2 aborts when it meets a window that waits for IF.
 *
 * @typedef {import("./ioctl-machine.mjs").Machine} Machine
 */

/** Milliseconds that a run waits for a halted guest. */
const WAIT = 150;

const EXCEPTIONS = [0, 1, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19];

const TF = 0x100;
const IF = 0x200;

/** An instruction of two bytes or a multiple, as handlers of faults skip two. @param {string} hex */
const even = (hex) => (hex.length % 4 === 0 ? hex : `${hex}90`);

/**
 * @param {Machine} machine @param {Prng} r
 * @param {boolean} steps
 * @returns {string}
 */
function piece(machine, r, steps) {
  const { bits, user, irqchip } = machine;
  const value = (/** @type {number} */ number) => `b8${le(number, 4)}`;
  const wide = bits === 64 ? "48" : "";
  switch (
    r.weighted({
      nop: 4,
      out: 8,
      in: 1,
      sti: steps ? 0 : 5,
      cli: 3,
      hlt: user ? 0 : 3,
      flags: steps ? 5 : 2,
      ud: 3,
      int3: 2,
      int: 2,
      div: 1,
      gp: 1,
      ss: steps ? 0 : 2,
      pf: bits === 64 ? 1 : 0,
      tpr: irqchip === "none" ? 0 : 3,
      cr8: bits === 64 && !user && !steps ? 4 : 0,
      dr: user ? 0 : 1,
      cpuid: 2,
      push: 1,
    })
  ) {
    case "out":
      return `e6${le(r.range(0x80, 0x8f), 1)}`;
    case "in":
      return `e4${le(r.range(0x90, 0x9f), 1)}`;
    case "sti":
      // A shadow that the next instruction ends: QEMU makes one with IF set, too.
      return even(
        `fafb${r.pick(["90", "e680", "f4", "fa", "0f0b"].filter((hex) => !user || hex !== "f4"))}`,
      );
    case "cli":
      return "fa90";
    case "hlt":
      return "f490";
    case "flags": {
      // PUSH imm32, POPF: IF, TF.
      const iopl = user ? 0x3000 : 0;
      const flags = 2 | iopl | r.pick(steps ? [0, IF, TF, IF | TF] : [0, IF, IF]);
      return even(`68${le(flags, 4)}9d`);
    }
    case "ud":
      return "0f0b";
    case "int3":
      return "cc90";
    case "int":
      return `cd${le(r.pick([...INTERRUPTS, 3]), 1)}`;
    case "div":
      return "31c9f7f1";
    case "gp":
      return `${even(value(0xfff8))}8ed8`;
    case "ss":
      return `${even(value(user ? 0x23 : 0x10))}8ed0${r.pick(["9090", "e680", "0f0b"])}`;
    case "pf":
      return `${even(`b9${le(0x40000000, 4)}`)}8b01`;
    case "tpr":
      return even(
        value(r.pick([0, 0x10, 0x30, 0x3f, 0x45, 0xa0, 0xff])) + storeApic(machine, 0x80),
      );
    case "cr8": {
      if (r.chance(30)) return "440f20c0e685";
      const write = even(`${value(r.pick([0, 1, 3, 4, 6, 10, 15]))}440f22c0`);
      // CLI, STI, NOP, NOP, PUSHF, TEST of IF, POP RAX, JZ past it.
      return `fafb90909cf7042400020000589074${le(write.length / 2, 1)}${write}`;
    }
    case "dr":
      // DR0 at an instruction, not armed, or DR6 as it is.
      return r.chance(50)
        ? even(
            `${value(CODE + 2 * r.below(40))}0f23c0${value(r.pick([0x404, 0x400, 0x2400]))}0f23f8`,
          )
        : even("0f21f2e686");
    case "cpuid":
      return `${even(value(0))}0fa2`;
    case "push":
      return even(`${wide}50${wide}58`);
    default:
      return "9090";
  }
}

/**
 * A program, and where its instructions begin.
 * @param {Machine} machine @param {Prng} r
 * @param {boolean} steps
 */
function programOf(machine, r, steps) {
  /** @type {number[]} */
  const starts = [];
  let program = "";
  for (let i = r.range(12, 30); i > 0; i--) {
    starts.push(CODE + program.length / 2);
    program += piece(machine, r, steps);
  }
  // It stays at the end, and the client hears of it.
  return { starts, program: `${program}${machine.user ? "e6feebfc" : "f4e6feebfb"}` };
}

/** @param {Prng} r @param {number} percent */
const bit = (r, percent) => (r.chance(percent) ? "01" : "00");

/** struct kvm_vcpu_events. @param {Machine} machine @param {Prng} r */
function events(machine, r) {
  const flags =
    (r.chance(70) ? 1 : 0) |
    (r.chance(10) ? 2 : 0) |
    (r.chance(70) ? 4 : 0) |
    (r.chance(15) ? 8 : 0) |
    (r.chance(machine.payloads ? 60 : 3) ? 16 : 0) |
    (r.chance(machine.tripleFaults ? 30 : 3) ? 32 : 0);
  const nr = r.pick(EXCEPTIONS);
  const hasCode = WITH_ERROR_CODE.includes(nr);
  const exception = r.chance(45)
    ? bit(r, 60) +
      le(nr, 1) +
      (hasCode ? "01" : "00") +
      bit(r, 40) +
      le(hasCode && r.chance(50) ? 4 : 0, 4)
    : `00${le(r.chance(50) ? nr : 0, 1)}000000000000`;
  const interrupt = `${bit(r, 30)}${le(r.pick(INTERRUPTS), 1)}${bit(r, 6)}00`;
  const nmi = `${bit(r, 20)}${le(r.pick([0, 0, 1, 2, 3]), 1)}${bit(r, 30)}00`;
  // This library has no system management mode.
  const smi = `0000${bit(r, 4)}00`;
  const tripleFault = bit(r, 5);
  const payload = r.chance(50) ? le(r.pick([0, 1, 0x4000, 0x2000, 0x1234]), 8) : le(0, 8);
  return `x${exception}${interrupt}${nmi}${le(0, 4)}${le(flags, 4)}${smi}${tripleFault}${le(0, 26)}${bit(r, 50)}${payload}`;
}

/** The image of a local APIC. @param {Prng} r */
function lapic(r) {
  const image = new Array(1024).fill("00");
  const put = (/** @type {number} */ at, /** @type {number} */ value) => {
    for (let i = 0; i < 4; i++) image[at + i] = le((value >>> (8 * i)) & 0xff, 1);
  };
  const vectors = (/** @type {number} */ base) => {
    for (let i = r.pick([0, 0, 1, 1, 2]); i > 0; i--) {
      const vector = r.pick(INTERRUPTS);
      const at = base + (vector >> 5) * 0x10 + ((vector & 31) >> 3);
      image[at] = le(Number.parseInt(image[at], 16) | (1 << (vector & 7)), 1);
    }
  };
  put(0x30, 0x50014);
  put(0x80, r.pick([0, 0, 0x20, 0x31, 0x4f, 0xa0, 0xff]));
  put(0xa0, r.pick([0, 0, 0x40]));
  put(0xe0, 0xffffffff);
  put(0xf0, r.pick([0x1ff, 0x1ff, 0x1ff, 0xff]));
  vectors(0x100);
  vectors(0x200);
  for (const lvt of [0x320, 0x330, 0x340, 0x360, 0x370]) put(lvt, 0x10000);
  put(0x350, r.pick([0x700, 0x700, 0x10700, 0x10000, 0x400]));
  return `x${image.join("")}`;
}

/**
 * struct kvm_guest_debug.
 * @param {Prng} r @param {readonly number[]} starts
 * @param {boolean} steps
 */
function guestDebug(r, starts, steps) {
  const controls = [0, 1, 0x20001, 0x100001, 0x100001, 0x40001, 0x80001];
  const control = r.pick(steps ? [...controls, 3, 3, 0x20003, 0x100003] : controls);
  const dr7 = r.pick([0x400, 0x404, 0x408, 0x10404]);
  const words = [r.pick(starts), 0x2000, 0, 0, 0, 0, 0, dr7];
  return `x${le(control, 4)}${le(0, 4)}${words.map((word) => le(word, 8)).join("")}`;
}

/**
 * @param {Machine} machine @param {Prng} r @param {readonly number[]} starts
 * @param {boolean} steps
 * @returns {string[]}
 */
function call(machine, r, starts, steps) {
  const { irqchip } = machine;
  const chip = irqchip === "none" ? 0 : 1;
  switch (
    r.weighted({
      run: 26,
      interrupt: irqchip === "kernel" ? 1 : 9,
      window: 6,
      finish: 2,
      nmi: 6,
      getEvents: 4,
      setEvents: 8,
      setLapic: 3 * chip,
      getLapic: 2 * chip,
      cr8: irqchip === "none" ? 3 : 1,
      msi: 6 * chip,
      regs: 3,
      debug: 2,
      mp: 2,
      sregs: 2,
      debugRegs: 1,
    })
  ) {
    case "run":
      return [`run v ${WAIT}`, "page v 0 48"];
    case "interrupt":
      return [`v KVM_INTERRUPT 4:0x${r.pick(INTERRUPTS).toString(16)}`];
    case "window":
      return [`setpage v 0 ${bit(r, 65)}`];
    case "finish":
      return ["setpage v 1 01", `run v ${WAIT}`, "page v 0 48", "setpage v 1 00"];
    case "nmi":
      return ["v KVM_NMI =0"];
    case "setEvents":
      return [
        `v KVM_SET_VCPU_EVENTS ${events(machine, r)}`,
        ...(r.chance(30) ? ["v KVM_GET_VCPU_EVENTS z64"] : []),
      ];
    case "setLapic":
      return [`v KVM_SET_LAPIC ${lapic(r)}`];
    case "getLapic":
      return ["v KVM_GET_LAPIC z1024"];
    case "cr8":
      return [`setpage v 16 ${le(r.pick([0, 2, 4, 6, 15]), 8)}`];
    case "msi":
      return [
        `m KVM_SIGNAL_MSI 4:0xfee00000 4:0 4:0x${(r.chance(85) ? r.pick(INTERRUPTS) : 0x400).toString(16)} 4:0 z16`,
      ];
    case "regs": {
      const flags = 2 | r.pick(steps ? [0, IF, IF | TF, TF] : [0, IF, IF]);
      return [
        r.chance(50)
          ? "v KVM_GET_REGS z144"
          : `v KVM_SET_REGS ${regs(machine, r.pick(starts), flags)}`,
      ];
    }
    case "debug":
      return [`v KVM_SET_GUEST_DEBUG ${guestDebug(r, starts, steps)}`];
    case "mp":
      return [r.chance(60) ? "v KVM_GET_MP_STATE z4" : `v KVM_SET_MP_STATE 4:${r.pick([0, 0, 3])}`];
    case "sregs":
      // QEMU's processor keeps what SS had when it enters a handler with none.
      if (r.chance(50)) return machine.user ? [] : ["v KVM_GET_SREGS z312"];
      return [
        `v KVM_SET_SREGS x${sregs(machine, { cr8: r.pick([0, 0, 3, 10]), waiting: r.chance(40) ? r.pick(INTERRUPTS) : undefined })}`,
      ];
    case "debugRegs":
      return ["v KVM_GET_DEBUGREGS z128"];
    default:
      return ["v KVM_GET_VCPU_EVENTS z64"];
  }
}

/**
 * The text of a file.
 * @param {string} seed
 */
export function ioctlSequence(seed) {
  const r = new Prng(seed);
  const bits = r.chance(50) ? 64 : 32;
  /** @type {Machine} */
  const machine = {
    irqchip: r.pick(["none", "split", "kernel"]),
    bits,
    user: r.chance(30),
    payloads: r.chance(35),
    tripleFaults: r.chance(30),
    ends: INTERRUPTS.filter(() => r.chance(60)),
  };
  if (machine.irqchip === "none") machine.ends = [];
  // A program with single steps, its own or a debugger's, has no shadows.
  const steps = r.chance(40);
  const { program, starts } = programOf(machine, r, steps);
  const lines = setUp(machine, program);
  for (let i = r.range(25, 50); i > 0; i--) lines.push(...call(machine, r, starts, steps));
  lines.push("v KVM_GET_VCPU_EVENTS z64", "v KVM_GET_REGS z144");
  const kind = `${machine.bits} bits, ${machine.user ? "user" : "kernel"}`;
  const head = `# random events (${seed}); irqchip: ${machine.irqchip}; ${kind}${machine.payloads ? ", payloads" : ""}`;
  return [head, ...lines, ""].join("\n");
}
