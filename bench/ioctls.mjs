// @ts-check
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as abi from "../dist/abi/kvm/index.js";
import { Engine } from "../dist/engine/bridge/index.js";
import { HeapTimers, VirtualClock } from "../dist/hosts/sim/index.js";
import { LocalProcess } from "../dist/ioctl/index.js";
import { Kvm } from "../dist/kvm/index.js";

/** Measurements of one kind of call, of which the fastest counts, and calls in each. */
const ROUNDS = 20;
const CALLS = 1000;

/** @param {(words: Uint32Array) => void} fill @param {number} size */
function argument(fill, size) {
  const bytes = new Uint8Array(Math.ceil(size / 4) * 4);
  fill(new Uint32Array(bytes.buffer));
  return bytes;
}

/** MSRs that a client of Linux would save: SYSENTER's, STAR and its kin, TSC, APIC base. */
const MSRS = [
  0x174, 0x175, 0x176, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0x10, 0x1b, 0x277,
];

const msrs = () =>
  argument(
    (words) => {
      words[0] = MSRS.length;
      for (const [i, index] of MSRS.entries()) words[2 + i * 4] = index;
    },
    8 + MSRS.length * 16,
  );

/** A table with room for entries. @param {number} count @param {number} head @param {number} entry */
const list = (count, head, entry) =>
  argument(
    (words) => {
      words[0] = count;
    },
    head + count * entry,
  );

/** A VM with a local APIC and a vCPU that has a CPUID table: the rows to measure. */
async function open() {
  const clock = new VirtualClock();
  const engine = await Engine.compile(
    readFileSync(fileURLToPath(new URL("../dist/engine/core.wasm", import.meta.url))),
  );
  const kvm = await Kvm.open({ engine, clock, timers: new HeapTimers(clock) });
  const client = new LocalProcess();
  const system = client.open(kvm);
  /** @param {number} fd @param {number} request @param {bigint | Uint8Array} [arg] */
  const call = (fd, request, arg = 0n) => {
    const result = client.ioctl(fd, request, arg);
    if (typeof result !== "number" || result < 0)
      throw new Error(`0x${request.toString(16)}: ${result}`);
    return result;
  };
  const vm = call(system, abi.KVM_CREATE_VM);
  call(vm, abi.KVM_CREATE_IRQCHIP);
  call(vm, abi.KVM_CREATE_PIT2, new Uint8Array(64));
  const vcpu = call(vm, abi.KVM_CREATE_VCPU);
  const cpuid = list(100, 8, 40);
  call(system, abi.KVM_GET_SUPPORTED_CPUID, cpuid);
  call(vcpu, abi.KVM_SET_CPUID2, cpuid);
  /** @type {[name: string, fd: number, size?: number | Uint8Array][]} */
  const rows = [
    ["KVM_CHECK_EXTENSION", system],
    ["KVM_GET_SUPPORTED_CPUID", system, cpuid],
    ["KVM_GET_MSR_INDEX_LIST", system, list(500, 4, 4)],
    ["KVM_GET_CLOCK", vm, 48],
    ["KVM_GET_IRQCHIP", vm, 520],
    ["KVM_GET_PIT2", vm, 112],
    ["KVM_IRQ_LINE", vm, 8],
    ["KVM_SIGNAL_MSI", vm, argument((words) => words.set([0xfee00000, 0, 0x30]), 32)],
    ["KVM_XEN_HVM_GET_ATTR", vm, argument((words) => words.set([2]), 72)],
    ["KVM_XEN_VCPU_GET_ATTR", vcpu, argument((words) => words.set([6]), 72)],
    ["KVM_GET_REGS", vcpu, 144],
    ["KVM_SET_REGS", vcpu, 144],
    ["KVM_GET_SREGS", vcpu, 312],
    ["KVM_SET_SREGS", vcpu, 312],
    ["KVM_GET_SREGS2", vcpu, 320],
    ["KVM_SET_SREGS2", vcpu, 320],
    ["KVM_GET_FPU", vcpu, 416],
    ["KVM_SET_FPU", vcpu, 416],
    ["KVM_GET_XSAVE", vcpu, 4096],
    ["KVM_SET_XSAVE", vcpu, 4096],
    ["KVM_GET_XCRS", vcpu, 392],
    ["KVM_SET_XCRS", vcpu, 392],
    ["KVM_GET_DEBUGREGS", vcpu, 128],
    ["KVM_SET_DEBUGREGS", vcpu, 128],
    ["KVM_GET_VCPU_EVENTS", vcpu, 64],
    ["KVM_SET_VCPU_EVENTS", vcpu, 64],
    ["KVM_GET_MP_STATE", vcpu, 4],
    ["KVM_SET_MP_STATE", vcpu, 4],
    ["KVM_GET_LAPIC", vcpu, 1024],
    ["KVM_SET_LAPIC", vcpu, 1024],
    ["KVM_GET_MSRS", vcpu, msrs()],
    ["KVM_SET_MSRS", vcpu, msrs()],
    ["KVM_GET_CPUID2", vcpu, list(100, 8, 40)],
    ["KVM_SET_CPUID2", vcpu, cpuid],
    ["KVM_TRANSLATE", vcpu, 24],
  ];
  return { call, rows };
}

/** @type {Record<string, number>} */
const numbers = Object.fromEntries(
  Object.entries(abi).flatMap(([name, value]) =>
    typeof value === "number" ? [[name, value]] : [],
  ),
);

/**
 * What the common ioctls cost without a way to another process: microseconds per call, in this one. A
 * KVM_SET_ puts back what the KVM_GET_ of its kind gave.
 */
export async function ioctls() {
  const { call, rows } = await open();
  console.log("\nioctls in process, microseconds per call");
  /** @type {Map<string, Uint8Array>} */
  const given = new Map();
  for (const [name, fd, size] of rows) {
    const request = numbers[name];
    if (request === undefined) throw new Error(name);
    const kind = name.replace("_SET_", "_GET_");
    const fresh = typeof size === "number" ? new Uint8Array(size) : size;
    const arg = name === kind ? fresh : (given.get(kind) ?? fresh);
    if (arg !== undefined) given.set(name, arg);
    const once = () => call(fd, request, arg ?? 0n);
    let ms = Number.POSITIVE_INFINITY;
    for (let round = 0; round < ROUNDS; round++) {
      const start = performance.now();
      for (let i = 0; i < CALLS; i++) once();
      ms = Math.min(ms, performance.now() - start);
    }
    const us = (ms * 1000) / CALLS;
    console.log(`  ${name.padEnd(26)}${us.toFixed(2).padStart(8)}`);
  }
}
