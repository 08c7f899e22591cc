/** A vCPU's model-specific registers, and what they read and change of the vCPU. */
import { Cr0 } from "../../abi/x86/index.js";
import { SegmentIndex } from "../../engine/bridge/port.js";
import type { VcpuState } from "../vcpu-state.js";
import { readHvMsr, writeHvMsr } from "./hyperv.js";
import { MsrFile } from "./msr.js";
import { PvMsrs } from "./pv-msrs.js";
import { canEnter } from "./regs.js";

/**
 * Above this there is no guest-physical memory.
 * @nolimit the width of an address
 */
const MAX_GPA = 1n << 52n;

/** Makes the MSRs of a vCPU. */
export function msrsOf(vcpu: VcpuState): MsrFile {
  const { env, engine, time } = vcpu;
  return new MsrFile({
    linux: env.linux,
    cpuid: vcpu.cpuid,
    settings: env.settings,
    pv: pvMsrsOf(vcpu),
    get hasRun() {
      return vcpu.hasRun;
    },
    engineRead: (index) => engine.readMsr(index),
    engineWrite: (index, value) => engine.writeMsr(index, value),
    setEfer: (value) => {
      engine.efer = value;
      engine.syncSregs();
      const cs = engine.segment(SegmentIndex.CS);
      vcpu.badState = !canEnter({ efer: value, cr0: engine.cr0, cs });
    },
    get paging() {
      return (engine.cr0 & Cr0.PG) !== 0n;
    },
    readTsc: () => time.readTsc(),
    synchronizeTsc: (value) => {
      time.moveTsc(env.tsc.write(value));
      time.noteTsc();
    },
    adjustTsc: (delta, tellsClock) => {
      time.moveTsc(engine.tscOffset + delta);
      if (tellsClock) time.clockUpdate = true;
    },
    apicBase: () => vcpu.apicBase,
    setApicBase: (value, fromHost) => vcpu.setApicBase(value, fromHost),
    apicRead: (index) => vcpu.lapic?.readMsr(index),
    apicWrite: (index, value) => vcpu.lapic?.writeMsr(index, value) ?? false,
    tscDeadline: () => vcpu.lapic?.tscDeadline ?? 0n,
    setTscDeadline: (value) => vcpu.lapic?.setTscDeadline(value),
    hyperv: {
      read: (index, fromHost) => readHvMsr(vcpu, index, fromHost),
      write: (index, value, fromHost) => writeHvMsr(vcpu, index, value, fromHost),
    },
    xenWrite: (index, value, fromHost) => env.xen.writeMsr(vcpu, index, value, fromHost),
  });
}

function pvMsrsOf(vcpu: VcpuState): PvMsrs {
  const { env, time } = vcpu;
  return new PvMsrs({
    hasFeature: (feature) => vcpu.cpuid.hasPvFeature(feature),
    lapicInKernel: vcpu.lapic !== undefined,
    hasMemory: (address) =>
      address < MAX_GPA && env.slots.find(Number(address >> 12n)) !== undefined,
    get wallClock() {
      return env.settings.wallClock;
    },
    set wallClock(value) {
      env.settings.wallClock = value;
    },
    areaWritten: (index, value) => {
      if (time.areas.written(index, value, () => vcpu.runDelayNs())) time.clockUpdate = true;
    },
  });
}
