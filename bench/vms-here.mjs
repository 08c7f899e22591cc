// @ts-check
/**
 * Holds many VMs, each with an interrupt controller, 64 KiB of memory and a vCPU that has run, and prints what they
 * add to this process's resident memory, in KiB; after 20 VMs that do not count: for them, the engine
 * is compiled, twice.
 *
 *   node --expose-gc bench/vms-here.mjs COUNT
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Engine } from "../dist/engine/bridge/index.js";
import { HeapTimers, VirtualClock } from "../dist/hosts/sim/index.js";
import { apicId, Kvm } from "../dist/kvm/index.js";

const MEMORY = 0x10000;
/** mov dx, 0x3f8; out dx, al; hlt */
const CODE = [0xba, 0xf8, 0x03, 0xee, 0xf4];

const clock = new VirtualClock();
const engine = await Engine.compile(
  readFileSync(fileURLToPath(new URL("../dist/engine/core.wasm", import.meta.url))),
);
const kvm = await Kvm.open({ engine, clock, timers: new HeapTimers(clock) });

async function makeVm() {
  const vm = kvm.createVm();
  vm.createIrqchip();
  const memory = vm.linear.allocate(MEMORY);
  if (memory === undefined) throw new Error("no memory");
  vm.setUserMemoryRegion({
    slot: 0,
    flags: 0,
    guestPhysAddr: 0,
    memorySize: MEMORY,
    userspaceAddr: memory,
  });
  vm.linear.u8.set(CODE, memory);
  const vcpu = vm.createVcpu(apicId(0));
  const sregs = vcpu.getSregs();
  vcpu.setSregs({ ...sregs, cs: { ...sregs.cs, base: 0n, selector: 0 } });
  vcpu.setRegs({ ...vcpu.getRegs(), rip: 0n });
  const exit = await vcpu.run();
  if (exit.kind !== "io") throw new Error(exit.kind);
  return vm;
}

const resident = () => {
  globalThis.gc?.();
  return process.memoryUsage().rss / 1024;
};

const WARM = 20;
const vms = [];
for (let i = 0; i < WARM; i++) vms.push(await makeVm());
const before = resident();
for (let i = 0; i < Number(process.argv[2]); i++) vms.push(await makeVm());
console.log(Math.round(resident() - before));
