// @ts-check
import { readFileSync } from "node:fs";
import { apicId } from "../dist/base/index.js";
import { Engine } from "../dist/engine/bridge/index.js";
import { NodeClock } from "../dist/hosts/node/clock.js";
import { NodeTimers } from "../dist/hosts/node/timers.js";
import { Kvm } from "../dist/kvm/index.js";

/** Where things lie in the guest, which sees its first GiB and the local APIC at their addresses. */
const At = {
  GDT: 0x1000,
  IDT: 0x2000,
  TABLES: 0x10000,
  CODE: 0x20000,
  HANDLER: 0x21000,
  STACK: 0x30000,
  SHARED_INFO: 0x40000,
  VCPU_INFO: 0x41000,
  /** `struct evtchn_send`; the upcalls that were taken; the rounds of the loop. */
  SEND: 0x42000,
  UPCALLS: 0x42008,
  ROUNDS: 0x42010,
  RAM: 0x200000,
};

/** The port of all sends, which is in the second word of the pending bits. */
export const PORT = 70;
export const VECTOR = 0xf3;
const PRIORITY_2LEVEL = 0xffffffff;
const EVTCHNSTAT_IPI = 5;
const XEN_MSR = 0x40000000;
/** KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL and _EVTCHN_SEND. */
const XEN_FLAGS = 0x22;
const X2APIC = 0x400n;

const NEXT_ROUND = "48ff042510200400"; // inc qword ptr [ROUNDS]

/** The loops a guest can run, as machine code. */
export const Loop = {
  /** mov edi, EVTCHNOP_send; mov esi, SEND; mov eax, 32; vmmcall; next; jmp */
  SEND: `bf04000000 be00200400 b820000000 0f01d9 ${NEXT_ROUND} ebe4`,
  /** mov eax, a number that KVM leaves to the client; vmmcall; next; jmp */
  HYPERCALL: `b87f000000 0f01d9 ${NEXT_ROUND} ebee`,
  /** mov edx, 0x510; out dx, al; next; jmp */
  PORT: `ba10050000 ee ${NEXT_ROUND} ebf0`,
  /** mov eax, 0x40000000; cpuid; next; jmp */
  CPUID: `b800000040 0fa2 ${NEXT_ROUND} ebef`,
};

/**
 * The upcall handler does what Linux's does for 2-level event channels: saves the registers that it
 * uses, clears evtchn_upcall_pending, takes the selector by XCHG, looks through the words of unmasked
 * pending bits, and clears each by LOCK BTR.
 */
const HANDLER = `
  50 51 52 56 57
  c604250010040000 31c0 4887042508100400
  4885c0 743f 480fbcc8 480fb3c8
  488b14cd000a0400 48f7d2 482314cd00080400 74de
  480fbcf2 4889cf 48c1e706 4801f7 f0480fb33c2500080400
  48ff042508200400 ebc9 90`;

/** How the handler ends the interrupt of the local APIC. */
const EOI = {
  hvm: "",
  xapic: "b8b000e0fe c70000000000", // mov eax, 0xfee000b0; mov dword ptr [rax], 0
  x2apic: "b90b080000 31c0 31d2 0f30", // mov ecx, 0x80b; xor eax, eax; xor edx, edx; wrmsr
};
const HANDLER_END = "5f 5e 5a 59 58 48cf"; // pop all; iretq

/** How an upcall reaches the guest. @typedef {keyof typeof EOI} Upcall */

const unhex = (/** @type {string} */ text) => Buffer.from(text.replace(/\s+/g, ""), "hex");

/** A VM with one vCPU that runs a loop in 64-bit mode. */
export class EventGuest {
  /**
   * @param {import("../dist/kvm/index.js").Vm} vm
   * @param {import("../dist/kvm/index.js").Vcpu} vcpu
   * @param {number} ram where the guest's memory lies in the VM's
   */
  constructor(vm, vcpu, ram) {
    this.vm = vm;
    this.vcpu = vcpu;
    this.ram = ram;
  }

  /**
   * @param {Engine} engine
   * @param {string} loop one of {@link Loop}
   * @param {Upcall} upcall
   */
  static async create(engine, loop, upcall) {
    const clock = new NodeClock();
    const kvm = await Kvm.open({ engine, clock, timers: new NodeTimers(clock) });
    const vm = kvm.createVm();
    vm.createIrqchip();
    const ram = vm.linear.allocate(At.RAM);
    if (ram === undefined) throw new Error("no memory for a guest");
    const slot = { slot: 0, flags: 0, guestPhysAddr: 0, memorySize: At.RAM, userspaceAddr: ram };
    vm.setUserMemoryRegion(slot);
    vm.xen.hvmConfig({ flags: XEN_FLAGS, msr: XEN_MSR });
    vm.xen.setAttr({ type: "LONG_MODE", longMode: true });
    vm.xen.setAttr({ type: "SHARED_INFO", gfn: BigInt(At.SHARED_INFO >> 12) });
    const vcpu = vm.createVcpu(apicId(0));
    vcpu.setCpuid2(kvm.getSupportedCpuid());
    vcpu.xen.setAttr({ type: "VCPU_INFO", gpa: BigInt(At.VCPU_INFO) });
    const guest = new EventGuest(vm, vcpu, ram);
    const deliver = { port: PORT, vcpu: apicId(0), priority: PRIORITY_2LEVEL };
    const target = { sendPort: PORT, evtchnType: EVTCHNSTAT_IPI, flags: 0, deliver };
    vm.xen.setAttr({ type: "EVTCHN", ...target });
    if (upcall === "hvm") vm.xen.setAttr({ type: "UPCALL_VECTOR", vector: VECTOR });
    else vcpu.xen.setAttr({ type: "UPCALL_VECTOR", vector: VECTOR });
    guest.#load(loop, upcall);
    return guest;
  }

  /** @param {string} loop @param {Upcall} upcall */
  #load(loop, upcall) {
    const { vcpu } = this;
    this.#writeTables();
    this.#put(At.CODE, unhex(loop));
    this.#put(At.HANDLER, unhex(HANDLER + EOI[upcall] + HANDLER_END));
    this.view.setUint32(this.ram + At.SEND, PORT, true);
    const sregs = vcpu.getSregs();
    const flat = { base: 0n, limit: 0xffffffff, present: true, dpl: 0, s: true, g: true };
    const code = { ...flat, selector: 8, type: 11, l: true, db: false, avl: false };
    const data = { ...flat, selector: 16, type: 3, l: false, db: true, avl: false };
    sregs.cs = { ...code, unusable: false };
    for (const name of /** @type {const} */ (["ds", "es", "ss", "fs", "gs"])) {
      sregs[name] = { ...data, unusable: false };
    }
    sregs.gdt = { base: BigInt(At.GDT), limit: 23 };
    sregs.idt = { base: BigInt(At.IDT), limit: 0xfff };
    Object.assign(sregs, { cr0: 0x80050033n, cr3: BigInt(At.TABLES), cr4: 0x220n, efer: 0x500n });
    if (upcall === "x2apic") sregs.apicBase |= X2APIC;
    vcpu.setSregs(sregs);
    const lapic = vcpu.getLapic();
    new DataView(lapic.buffer, lapic.byteOffset).setUint32(0xf0, 0x1ff, true);
    vcpu.setLapic(lapic);
    const start = { rip: BigInt(At.CODE), rsp: BigInt(At.STACK), rflags: 0x202n };
    vcpu.setRegs({ ...vcpu.getRegs(), ...start });
  }

  /** GDT, page tables for the first and the fourth GiB, and the handler's gate. */
  #writeTables() {
    const quad = (/** @type {number} */ at, /** @type {bigint} */ value) =>
      this.view.setBigUint64(this.ram + at, value, true);
    quad(At.GDT + 8, 0x00af9b000000ffffn);
    quad(At.GDT + 16, 0x00cf93000000ffffn);
    const page = (/** @type {number} */ n) => At.TABLES + n * 0x1000;
    quad(page(0), BigInt(page(1)) | 3n);
    quad(page(1), BigInt(page(2)) | 3n);
    quad(page(1) + 24, BigInt(page(3)) | 3n);
    for (let i = 0; i < 512; i++) {
      quad(page(2) + i * 8, (BigInt(i) << 21n) | 0x83n);
      quad(page(3) + i * 8, (3n << 30n) | (BigInt(i) << 21n) | 0x83n);
    }
    const handler = BigInt(At.HANDLER);
    const low = (handler & 0xffffn) | (8n << 16n) | (0x8en << 40n) | ((handler >> 16n) << 48n);
    quad(At.IDT + VECTOR * 16, low);
  }

  /** @param {number} at @param {Uint8Array} bytes */
  #put(at, bytes) {
    this.vm.linear.u8.set(bytes, this.ram + at);
    this.vm.linear.noteWrite(/** @type {never} */ (this.ram + at), bytes.length);
  }

  get view() {
    return this.vm.linear.view;
  }
  /** Rounds of the loop that were made. */
  get rounds() {
    return Number(this.view.getBigUint64(this.ram + At.ROUNDS, true));
  }
  /** Events that the handler found. */
  get upcalls() {
    return Number(this.view.getBigUint64(this.ram + At.UPCALLS, true));
  }
  /** Where the word of the port's pending bit lies. */
  get pendingWord() {
    return this.ram + At.SHARED_INFO + 0x800 + (PORT >> 5) * 4;
  }
  get vcpuInfo() {
    return this.ram + At.VCPU_INFO;
  }

  /**
   * Runs the guest for a while, answering its exits.
   * @param {number} ms
   * @param {boolean} direct take exits without a promise where they come so
   */
  async run(ms, direct = false) {
    let isOver = false;
    const timer = setTimeout(() => {
      isOver = true;
      this.vcpu.kick();
    }, ms);
    while (!isOver) {
      const next = direct ? this.vcpu.runNow() : this.vcpu.run();
      const exit = next instanceof Promise ? await next : next;
      if (exit.kind === "xen") exit.result = 0n;
      else if (exit.kind !== "io" && exit.kind !== "intr") {
        clearTimeout(timer);
        throw new Error(`the guest left by ${exit.kind}`);
      }
    }
  }
}

/** From a word of pending bits to the same word of mask bits, in the 64-bit layout. */
export const MASK_FROM_PENDING = 0x200;

/** The engine that all guests share. */
export const loadEngine = () =>
  Engine.compile(readFileSync(new URL("../dist/engine/core.wasm", import.meta.url)));
