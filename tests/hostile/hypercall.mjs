// @ts-check
/**
 * Attack on the hypercalls that KVM answers itself: guest code makes one call after the other with
 * registers from a table, in every mode and at every privilege level, while the client changes
 * attributes, slots and memory.
 */
import { onVcpu, onVm } from "./api.mjs";
import { modeOf } from "./code.mjs";
import { Values } from "./values.mjs";
import { Finding, stackOf, World } from "./world.mjs";

const CODE = 0x10000;
const TABLE = 0x20000;

/** pop rax, rdi, rsi, rdx, r10, r8; inc r15; vmmcall; again. */
const CODE_64 = [
  0x58, 0x5f, 0x5e, 0x5a, 0x41, 0x5a, 0x41, 0x58, 0x49, 0xff, 0xc7, 0x0f, 0x01, 0xd9, 0xeb, 0xf0,
];
/** popa with 32-bit registers; vmmcall; again. The prefix makes the same of it in 16-bit code. */
const CODE_32 = [0x61, 0x90, 0x0f, 0x01, 0xd9, 0xeb, 0xf9];
const CODE_16 = [0x66, 0x61, 0x0f, 0x01, 0xd9, 0xeb, 0xf9];

const CALLS = [15n, 17n, 24n, 29n, 32n, 32n, 32n, 29n, 24n, 15n];
const SUB = [0n, 0n, 3n, 4n, 4n, 8n, 9n, 1n];

const CHANGES = [
  "setXen",
  "getXen",
  "setHvm",
  "getHvm",
  "config",
  "send",
  "memory",
  "slot",
  "invalidate",
  "setClock",
  "time",
  "cpuid",
];
const changes = [...onVm, ...onVcpu].filter(([name]) => CHANGES.includes(name));

/** @param {World} world @param {boolean} long */
function fillTable(world, long) {
  const { values: v, vm } = world;
  const { view } = vm.linear;
  const at = world.ram.hva + TABLE;
  const address = () => (v.chance(70) ? BigInt(0x40000 + v.below(0x2000)) : v.wide());
  for (let i = 0; i < 64; i++) {
    const rax = v.chance(85) ? v.pick(CALLS) : v.wide();
    const sub = v.chance(85) ? v.pick(SUB) : v.wide();
    const second = v.chance(50) ? address() : BigInt(v.below(4));
    if (long) {
      const row = [rax, sub, second, address(), v.wide(), v.wide()];
      for (const [j, value] of row.entries()) view.setBigUint64(at + i * 48 + j * 8, value, true);
    } else {
      // EDI ESI EBP (ESP) EBX EDX ECX EAX; arguments are EBX ECX EDX ESI EDI.
      const row = [v.wide(), v.wide(), v.wide(), 0n, sub, address(), second, rax];
      for (const [j, value] of row.entries())
        view.setUint32(at + i * 32 + j * 4, Number(value & 0xffffffffn), true);
    }
  }
}

/** What hypercalls point to: ports, poll requests, timers, lists. @param {World} world */
function fillArguments(world) {
  const { values: v, vm } = world;
  const { view } = vm.linear;
  const at = world.ram.hva + 0x40000;
  for (let i = 0; i < 0x2000; i += 4)
    view.setUint32(at + i, v.chance(70) ? v.small(80) : v.narrow(), true);
  for (let i = 0; i < 64; i++)
    view.setBigUint64(
      at + v.below(0x3ff) * 8,
      v.chance(70) ? BigInt(0x40000 + v.below(0x2000)) : v.wide(),
      true,
    );
  vm.linear.noteWrite(world.lib.hva(at), 0x2000);
}

/** @param {World} world */
function setUp(world) {
  const { vm, vcpus } = world;
  vm.xen.hvmConfig({ flags: 0x22, msr: 0x40000200 });
  vm.xen.setAttr({ type: "LONG_MODE", longMode: true });
  vm.xen.setAttr({ type: "SHARED_INFO", gfn: 0x50n });
  for (const [i, vcpu] of vcpus.entries()) {
    vcpu.xen.setAttr({ type: "VCPU_INFO", gpa: BigInt(0x51000 + i * 64) });
    vcpu.xen.setAttr({ type: "TIMER", port: 5 + i, priority: 0xffffffff, expiresNs: 0n });
  }
  for (let port = 1; port < 60; port++) {
    const eventfd = port % 7 === 0 ? world.eventfds[port % 4] : undefined;
    const deliver = eventfd ? { eventfd } : { port, vcpu: port % 3, priority: 0xffffffff };
    vm.xen.setAttr({ type: "EVTCHN", sendPort: port, evtchnType: 2, flags: 0, deliver });
  }
}

/** @param {World} world @param {import("./world.mjs").Vcpu} vcpu */
function start(world, vcpu) {
  const { values: v, vm } = world;
  const mode = v.pick([
    "long64",
    "long64",
    "long64",
    "protected32",
    "paging32",
    "pae",
    "long32",
    "real",
    "protected16",
  ]);
  const long = mode === "long64";
  const code = long ? CODE_64 : mode === "real" || mode === "protected16" ? CODE_16 : CODE_32;
  const { hva } = world.ram;
  vm.linear.u8.set(code, hva + CODE);
  vm.linear.noteWrite(world.lib.hva(hva + CODE), code.length);
  fillTable(world, long);
  world.ignore(() => vcpu.setMpState(0));
  world.ignore(() => vcpu.setSregs(modeOf(mode, vcpu.getSregs(), v.chance(15) ? 3 : 0, v)));
  const regs = {
    ...vcpu.getRegs(),
    rip: mode === "real" ? 0n : BigInt(CODE),
    rsp: BigInt(TABLE),
    rflags: v.chance(50) ? 2n : 0x202n,
  };
  if (mode === "real") {
    const sregs = vcpu.getSregs();
    world.ignore(() => vcpu.setSregs({ ...sregs, ss: { ...sregs.ss, base: BigInt(TABLE) } }));
    regs.rsp = 0n;
  }
  vcpu.setRegs(regs);
}

/**
 * @param {import("./types.js").Library} lib
 * @param {Values} v
 * @param {import("./types.js").Outcomes} outcomes
 * @param {number} calls
 */
async function episode(lib, v, outcomes, calls) {
  const world = await World.open(lib, v, v.pick(["kernel", "kernel", "split", "none"]), 2);
  const count = (/** @type {string} */ what, n = 1) =>
    outcomes.set(what, (outcomes.get(what) ?? 0) + n);
  setUp(world);
  writePageTables(world);
  let done = 0;
  for (let n = 0; done < calls; n++) {
    if (n % 16 === 0) fillArguments(world);
    for (let i = v.below(4); i > 0; i--) {
      const [, change] = v.pick(changes);
      try {
        change(world, v.pick(world.vcpus));
      } catch (error) {
        if (!(error instanceof lib.KvmError)) throw error;
      }
    }
    if (v.chance(10)) {
      world.ignore(() => world.slot(0, 0, world.ram));
      setUpAgain(world);
      writePageTables(world);
    }
    const vcpu = v.pick(world.vcpus);
    start(world, vcpu);
    const before = vcpu.instructions;
    const exit = await world.run(vcpu, 600, 8);
    const made = Math.max(1, Math.round((vcpu.instructions - before) / 8));
    done += made;
    count(exit?.kind ?? "more", made);
  }
  world.checkGuards();
  await world.checkAlive();
  world.vm.close();
  world.timers.runDue();
  return done;
}

/** @param {World} world */
function setUpAgain(world) {
  world.ignore(() => {
    world.vm.xen.setAttr({ type: "EVTCHN", sendPort: 0, evtchnType: 0, flags: 4 });
    setUp(world);
  });
}

/** @param {World} world */
function writePageTables(world) {
  const { view } = world.vm.linear;
  const at = world.ram.hva;
  const put = (/** @type {number} */ gpa, /** @type {bigint} */ value) =>
    view.setBigUint64(at + gpa, value, true);
  put(0x80000, 0x81007n);
  for (let i = 0; i < 4; i++) {
    put(0x81000 + i * 8, BigInt(0x82007 + i * 0x1000));
    put(0x91000 + i * 8, BigInt(0x82001 + i * 0x1000));
  }
  for (let i = 0; i < 2048; i++) put(0x82000 + i * 8, BigInt(i * 0x200000) | 0x87n);
  for (let i = 0; i < 1024; i++) view.setUint32(at + 0x90000 + i * 4, (i * 0x400000) | 0x87, true);
}

const EPISODE = 20000;

/**
 * @param {import("./types.js").Library} lib
 * @param {{ seed: number, count: number }} options
 * @returns {Promise<import("./types.js").Report>}
 */
export async function attackHypercalls(lib, { seed, count }) {
  const outcomes = new Map();
  let done = 0;
  for (let n = 0; done < count; n++) {
    try {
      done += await episode(
        lib,
        new Values(`hypercall ${seed} ${n}`),
        outcomes,
        Math.min(EPISODE, count - done),
      );
    } catch (error) {
      throw new Finding(`hypercall, seed ${seed}, episode ${n}: ${stackOf(error)}`, {
        cause: error,
      });
    }
  }
  return { calls: done, outcomes };
}
