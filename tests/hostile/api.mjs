// @ts-check
/** Attack on the typed API: every method with values from all over, in any order. */
import { randomRegs } from "./code.mjs";
import { inEpisodes } from "./episodes.mjs";
import { World } from "./world.mjs";

const EPISODE = 4000;

/** @type {HvmAttr["type"][]} */
const HVM = [
  "LONG_MODE",
  "SHARED_INFO",
  "SHARED_INFO_HVA",
  "UPCALL_VECTOR",
  "EVTCHN",
  "XEN_VERSION",
  "RUNSTATE_UPDATE_FLAG",
];
/** @type {VcpuAttr["type"][]} */
const VCPU = [
  "VCPU_INFO",
  "VCPU_INFO_HVA",
  "VCPU_TIME_INFO",
  "RUNSTATE_ADDR",
  "RUNSTATE_CURRENT",
  "RUNSTATE_DATA",
  "RUNSTATE_ADJUST",
  "VCPU_ID",
  "TIMER",
  "UPCALL_VECTOR",
];

/**
 * @typedef {import("./values.mjs").Values} Values
 * @typedef {import("./world.mjs").Vcpu} Vcpu
 * @typedef {import("./world.mjs").Sregs} Sregs
 * @typedef {import("../../src/kvm/index.js").KvmRegs} Regs
 * @typedef {import("../../src/kvm/index.js").KvmXenHvmAttr} HvmAttr
 * @typedef {import("../../src/kvm/index.js").KvmXenVcpuAttr} VcpuAttr
 * @typedef {import("../../src/kvm/index.js").KvmIrqRoutingEntry} Route
 */

/** A target of an event channel. @param {Values} v */
const evtchn = (v) => ({
  port: v.small(1100),
  vcpu: v.small(3),
  priority: v.chance(90) ? 0xffffffff : v.narrow(),
});

/** @param {World} w @returns {HvmAttr} */
function hvmAttr(w) {
  const v = w.values;
  const type = v.pick(HVM);
  const hva = () =>
    v.chance(60)
      ? BigInt(v.pick(w.areas).hva + v.below(16) * 0x1000 + (v.chance(10) ? v.below(4096) : 0))
      : v.wide();
  switch (type) {
    case "LONG_MODE":
      return { type, longMode: v.chance(50) };
    case "SHARED_INFO":
      return { type, gfn: v.chance(70) ? v.place() >> 12n : v.wide() };
    case "SHARED_INFO_HVA":
      return { type, hva: hva() };
    case "EVTCHN":
      return {
        type,
        sendPort: v.small(1100),
        evtchnType: v.small(6),
        flags: v.small(6),
        ...(v.chance(20)
          ? { deliver: { eventfd: v.pick(w.eventfds) } }
          : v.chance(95)
            ? { deliver: evtchn(v) }
            : {}),
      };
    case "UPCALL_VECTOR":
      return { type, vector: v.u8() };
    case "XEN_VERSION":
      return { type, xenVersion: v.narrow() };
    default:
      return { type, runstateUpdateFlag: v.chance(50) };
  }
}

/** @param {Values} v */
function runstate(v) {
  const time = () => v.wide() & (v.chance(50) ? 0xfffn : -1n);
  const [timeRunning, timeRunnable, timeBlocked, timeOffline] = [time(), time(), time(), time()];
  const sum = BigInt.asUintN(64, timeRunning + timeRunnable + timeBlocked + timeOffline);
  return {
    state: v.chance(80) ? BigInt(v.below(5)) : v.wide(),
    stateEntryTime: v.chance(80) ? sum : v.wide(),
    timeRunning,
    timeRunnable,
    timeBlocked,
    timeOffline,
  };
}

/** @param {World} w @returns {VcpuAttr} */
function vcpuAttr(w) {
  const v = w.values;
  const type = v.pick(VCPU);
  switch (type) {
    case "VCPU_INFO_HVA":
      return { type, hva: v.chance(60) ? BigInt(v.pick(w.areas).hva + v.below(0x8000)) : v.wide() };
    case "RUNSTATE_CURRENT":
      return { type, state: v.chance(80) ? BigInt(v.below(5)) : v.wide() };
    case "RUNSTATE_DATA":
    case "RUNSTATE_ADJUST":
      return { type, runstate: runstate(v) };
    case "VCPU_ID":
      return { type, vcpuId: v.narrow() };
    case "TIMER":
      return {
        type,
        port: v.small(1100),
        priority: v.chance(90) ? 0xffffffff : v.narrow(),
        expiresNs: v.chance(50)
          ? BigInt(Math.floor(w.clock.monotonicNs())) + BigInt(v.below(5000))
          : v.wide(),
      };
    case "UPCALL_VECTOR":
      return { type, vector: v.u8() };
    default:
      return { type, gpa: v.wide() };
  }
}

/** @param {Values} v */
function cpuidEntry(v) {
  const entry = {
    function: v.narrow(),
    index: v.small(4),
    flags: v.below(2),
    eax: v.narrow(),
    ebx: v.narrow(),
    ecx: v.narrow(),
    edx: v.narrow(),
  };
  if (v.chance(30))
    Object.assign(entry, {
      function: 0x40000000 + v.below(3) * 0x100,
      eax: 0x40000004,
      ebx: 0x566e6558,
      ecx: 0x65584d4d,
      edx: 0x4d4d566e,
    });
  else if (v.chance(50))
    entry.function = v.pick([0, 1, 7, 0xb, 0xd, 0x80000000, 0x80000001, 0x80000008, 0x40000003]);
  // With physical addresses below 32 bits KVM refuses the local APIC its place, for good.
  if (entry.function === 0x80000008) entry.eax = (entry.eax | 32) >>> 0;
  return entry;
}

/** @param {Values} v @returns {Route} */
function route(v) {
  const gsi = v.small(64);
  const flags = v.chance(90) ? 0 : v.narrow();
  switch (v.below(3)) {
    case 0:
      return { gsi, flags, type: "IRQCHIP", irqchip: v.small(3), pin: v.small(24) };
    case 1:
      return {
        gsi,
        flags,
        type: "MSI",
        addressLo: v.chance(70) ? 0xfee00000 + (v.u8() << 12) : v.narrow(),
        addressHi: v.chance(80) ? 0 : v.narrow(),
        data: v.chance(70) ? v.u32() & 0xffff : v.narrow(),
      };
    default:
      return { gsi, flags, type: "XEN_EVTCHN", ...evtchn(v) };
  }
}

/** @param {Values} v @param {Sregs["cs"]} old @returns {Sregs["cs"]} */
function segment(v, old) {
  if (v.chance(50)) return old;
  const flag = () => v.chance(50);
  return {
    base: v.wide(),
    limit: v.narrow(),
    selector: v.u32() & 0xffff,
    type: v.below(16),
    present: flag(),
    dpl: v.below(4),
    db: flag(),
    s: flag(),
    l: flag(),
    g: flag(),
    avl: flag(),
    unusable: flag(),
  };
}

const CR0 = [0x10n, 0x11n, 0x80000011n, 0x80010033n, 0x60000010n];
const CR4 = [0n, 0x20n, 0x620n, 0x668n, 0x10n];
const EFER = [0n, 0x500n, 0xd01n, 0x100n, 0x800n];

/** @param {Values} v @param {Sregs} old @returns {Sregs} */
function sregs(v, old) {
  const next = { ...old };
  for (const name of /** @type {const} */ (["cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt"]))
    next[name] = segment(v, old[name]);
  next.cr0 = v.chance(80) ? v.pick(CR0) : v.wide();
  next.cr4 = v.chance(80) ? v.pick(CR4) : v.wide();
  next.efer = v.chance(80) ? v.pick(EFER) : v.wide();
  next.cr3 = v.chance(80) ? v.place() & ~0xfffn : v.wide();
  next.cr2 = v.wide();
  next.cr8 = v.chance(80) ? BigInt(v.below(16)) : v.wide();
  next.gdt = { base: v.wide(), limit: v.u32() & 0xffff };
  next.idt = { base: v.wide(), limit: v.u32() & 0xffff };
  if (v.chance(20))
    next.apicBase = v.chance(70) ? 0xfee00000n + BigInt(v.below(16)) * 0x100n : v.wide();
  next.interruptBitmap = v.chance(90) ? [0n, 0n, 0n, 0n] : [v.wide(), v.wide(), v.wide(), v.wide()];
  return next;
}

/** @param {Values} v @param {Regs} old @returns {Regs} */
function regs(v, old) {
  const next = randomRegs(v, old);
  if (v.chance(80)) next.rip = v.place();
  if (v.chance(80))
    next.rflags = 2n | (BigInt(v.u32()) & 0x3fd5d5n & ~(v.chance(80) ? 0x30100n : 0n));
  return next;
}

const MSRS = [
  0x10, 0x1b, 0x3b, 0x6e0, 0x174, 0x175, 0x176, 0x1a0, 0x200, 0x20f, 0x250, 0x277, 0x2ff, 0x400,
  0x401, 0x802, 0x808, 0x80b, 0x830, 0x838, 0x83f, 0x40000000, 0x40000200, 0x4b564d00, 0x4b564d01,
  0x4b564d02, 0x4b564d03, 0x4b564d04, 0x4b564d05, 0x11, 0x12, 0xc0000080, 0xc0000081, 0xc0000082,
  0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, 0xc0010015, 0xc0010140,
];

const msr = (/** @type {Values} */ v) => ({
  index: v.chance(85) ? v.pick(MSRS) : v.narrow(),
  data: v.chance(40) ? v.place() | BigInt(v.below(2)) : v.wide(),
});

/**
 * @template T
 * @param {Values} v
 * @param {number} most
 * @param {(v: Values) => T} make
 */
const list = (v, most, make) =>
  Array.from({ length: v.chance(95) ? v.below(most) : v.below(most * 40) }, () => make(v));

const flagOf = (/** @type {Values} */ v) => v.chance(50);

/** Calls on the VM: each takes the world. @type {Record<string, (w: World) => unknown>} */
const vmCalls = {
  slot: (w) => {
    const v = w.values;
    const area = v.pick(w.areas);
    const inside = v.below(area.size >> 12) << 12;
    const memorySize = v.chance(80)
      ? Math.min(area.size - inside, (1 + v.below(16)) << 12)
      : v.chance(50)
        ? 0
        : Number(v.wide());
    const slot = v.small(8);
    w.slots.add(slot);
    w.vm.setUserMemoryRegion({
      slot,
      flags: v.chance(90) ? v.below(4) : v.narrow(),
      guestPhysAddr: v.page(),
      memorySize,
      userspaceAddr: v.chance(85) ? area.hva + inside : Number(v.wide()),
    });
  },
  dirty: (w) => w.vm.getDirtyLog(w.values.small(8)),
  invalidate: (w) => {
    const area = w.values.pick(w.areas);
    w.vm.invalidate(w.lib.hva(area.hva + (w.values.below(area.size >> 12) << 12)), 0x1000);
  },
  createVcpu: (w) => {
    if (w.vcpus.length < 6) w.vcpus.push(w.vm.createVcpu(w.lib.apicId(w.values.small(12))));
  },
  irqchip: (w) => w.vm.createIrqchip(),
  pit: (w) => w.vm.createPit2(),
  enableCap: (w) => w.vm.enableCap(w.values.small(240), [w.values.narrow(), w.values.narrow()]),
  bootCpu: (w) => w.vm.setBootCpuId(w.lib.apicId(w.values.narrow())),
  routing: (w) => w.vm.setGsiRouting(list(w.values, 20, route)),
  irqLine: (w) => w.vm.irqLine(w.values.small(64), flagOf(w.values)),
  msi: (w) =>
    w.vm.signalMsi({
      addressLo: w.values.chance(70) ? 0xfee00000 + (w.values.u8() << 12) : w.values.narrow(),
      addressHi: w.values.chance(80) ? 0 : w.values.narrow(),
      data: w.values.narrow(),
      flags: w.values.chance(90) ? 0 : 1,
    }),
  irqfd: (w) =>
    w.vm.irqfd(
      w.values.pick(w.eventfds),
      w.values.small(64),
      w.values.chance(20) ? w.values.pick(w.eventfds) : undefined,
    ),
  deassign: (w) => w.vm.deassignIrqfd(w.values.pick(w.eventfds), w.values.small(64)),
  signal: (w) => w.values.pick(w.eventfds).signal(w.values.chance(80) ? 1n : w.values.wide()),
  drain: (w) => w.values.pick(w.eventfds).read(),
  ioapic: (w) =>
    w.vm.setIoapic({
      ...w.vm.getIoapic(),
      redirtbl: Array.from({ length: 24 }, () => w.values.wide()),
    }),
  getClock: (w) => w.vm.getClock(),
  setClock: (w) =>
    w.vm.setClock({
      clock: w.values.wide(),
      flags: w.values.chance(80) ? w.values.pick([0, 4]) : w.values.narrow(),
      realtime: w.values.wide(),
      hostTsc: w.values.wide(),
    }),
  cap: (w) => w.vm.checkExtension(w.values.narrow()),
  config: (w) => {
    const v = w.values;
    const blob = () => (v.chance(20) ? v.wide() : v.chance(20) ? BigInt(v.pick(w.areas).hva) : 0n);
    w.vm.xen.hvmConfig({
      flags: v.chance(80) ? v.pick([0, 2, 0x22, 0xa2, 0x80]) : v.narrow(),
      msr: v.chance(80) ? 0x40000200 : v.narrow(),
      blobAddr32: blob(),
      blobAddr64: blob(),
      blobSize32: v.below(3),
      blobSize64: v.below(3),
    });
  },
  setHvm: (w) => w.vm.xen.setAttr(hvmAttr(w)),
  getHvm: (w) => w.vm.xen.getAttr(w.values.pick(HVM)),
  send: (w) => w.vm.xen.evtchnSend(evtchn(w.values)),
  memory: (w) => {
    const area = w.values.pick(w.areas);
    const at = area.hva + w.values.below(area.size - 256);
    w.vm.linear.u8.set(w.values.bytes(1 + w.values.below(255)), at);
    w.vm.linear.noteWrite(w.lib.hva(at), 256);
  },
  time: (w) => {
    w.clock.virtual.advance(w.values.below(10000));
    w.timers.runDue();
  },
};

/** Calls on a vCPU. @type {Record<string, (w: World, c: Vcpu) => unknown>} */
const vcpuCalls = {
  setXen: (w, c) => c.xen.setAttr(vcpuAttr(w)),
  getXen: (w, c) => c.xen.getAttr(w.values.pick(VCPU)),
  getRegs: (_w, c) => c.getRegs(),
  setRegs: (w, c) => c.setRegs(regs(w.values, c.getRegs())),
  setSregs: (w, c) => c.setSregs(sregs(w.values, c.getSregs())),
  getMsrs: (w, c) => c.getMsrs(list(w.values, 10, (v) => msr(v).index)),
  setMsrs: (w, c) => c.setMsrs(list(w.values, 10, msr)),
  cpuid: (w, c) => c.setCpuid2(list(w.values, 20, cpuidEntry)),
  getCpuid: (_w, c) => c.getCpuid2(),
  getMp: (_w, c) => c.getMpState(),
  setMp: (w, c) => c.setMpState(w.values.small(5)),
  getLapic: (_w, c) => c.getLapic(),
  setLapic: (w, c) =>
    c.setLapic(w.values.chance(50) ? w.values.bytes(1024) : mutate(w.values, c.getLapic())),
  getEvents: (_w, c) => c.getVcpuEvents(),
  setEvents: (w, c) => c.setVcpuEvents(events(w.values)),
  setFpu: (w, c) => c.setFpu(mutate(w.values, c.getFpu())),
  setXsave: (w, c) => c.setXsave(mutate(w.values, c.getXsave())),
  xcr0: (w, c) => c.setXcr0(w.values.wide()),
  debug: (w, c) =>
    c.setDebugregs({
      db: [w.values.wide(), w.values.wide(), w.values.wide(), w.values.wide()],
      dr6: w.values.wide(),
      dr7: BigInt(w.values.narrow()),
    }),
  interrupt: (w, c) => c.interrupt(w.values.small(256)),
  nmi: (_w, c) => c.nmi(),
  translate: (w, c) => c.translate(w.lib.gva(w.values.wide())),
  kick: (_w, c) => c.kick(),
  flags: (w, c) => {
    c.requestInterruptWindow = w.values.chance(20);
    void c.readyForInterruptInjection;
    void c.interruptFlag;
  },
};

const flag = (/** @type {Values} */ v) => v.chance(20);

/** @param {Values} v */
function events(v) {
  return {
    exception: { injected: flag(v), nr: v.small(32), hasErrorCode: flag(v), errorCode: v.narrow() },
    interrupt: { injected: flag(v), nr: v.narrow(), soft: flag(v), shadow: v.small(4) },
    nmi: { injected: flag(v), pending: v.small(3), masked: flag(v) },
    sipiVector: v.narrow(),
    flags: v.chance(80) ? v.below(8) : v.narrow(),
  };
}

/** @param {Values} v @param {Uint8Array} bytes */
function mutate(v, bytes) {
  for (let i = 0; i < 8; i++) bytes[v.below(bytes.length)] = v.u8();
  return bytes;
}

export const onVm = Object.entries(vmCalls);
export const onVcpu = Object.entries(vcpuCalls);

/** @type {import("./episodes.mjs").Episode} */
export async function episode(lib, values, outcomes, calls, trace) {
  const world = await World.open(
    lib,
    values,
    values.pick(["none", "split", "kernel", "kernel"]),
    1 + values.below(3),
  );
  const count = (/** @type {string} */ what) => outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
  for (let n = 0; n < calls; n++) {
    const c = values.pick(world.vcpus);
    if (values.below(60) === 0) {
      trace.push("run");
      c.immediateExit = values.chance(10);
      count((await world.run(c))?.kind ?? "exits");
      c.immediateExit = false;
      continue;
    }
    const [name, call] = values.chance(50) ? values.pick(onVm) : values.pick(onVcpu);
    trace.push(name);
    if (trace.length > 40) trace.shift();
    try {
      call(world, c);
      count("ok");
    } catch (error) {
      if (!(error instanceof lib.KvmError)) throw error;
      count(error.message.split(":", 1).join());
    }
  }
  world.checkGuards();
  trace.push("alive");
  await world.checkAlive();
  world.vm.close();
  world.timers.runDue();
}

/** The attack: see {@link inEpisodes}. */
export const attackApi = inEpisodes("api", EPISODE, episode);
