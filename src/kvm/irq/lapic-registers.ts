/** Which registers of a local APIC there are to read, and how one of them is understood. */
import { ApicBits, ApicReg } from "../../abi/x86/index.js";
import type { LapicTimerMode } from "../api/kept.js";

/** Bits that exist in each LVT. */
const LVT_COMMON = ApicBits.LVT_MASKED | ApicBits.SEND_PENDING | 0xff;
const LINT_EXTRA =
  0x700 | ApicBits.LVT_POLARITY | ApicBits.LVT_REMOTE_IRR | ApicBits.LVT_LEVEL_TRIGGER;
/** Bits that exist, by LVT; those modes of the timer that there are come beside these. */
export const LVT_MASKS = new Map<number, number>([
  [ApicReg.LVTT, LVT_COMMON],
  [ApicReg.LVTTHMR, LVT_COMMON | 0x700],
  [ApicReg.LVTPC, LVT_COMMON | 0x700],
  [ApicReg.LVT0, LVT_COMMON | LINT_EXTRA],
  [ApicReg.LVT1, LVT_COMMON | LINT_EXTRA],
  [ApicReg.LVTERR, LVT_COMMON],
]);

/** The mode that an LVTT asks for. */
export function timerMode(lvtt: number): LapicTimerMode {
  switch (lvtt & ApicBits.LVT_TIMER_MODE_MASK) {
    case 0:
      return "one-shot";
    case ApicBits.LVT_TIMER_PERIODIC:
      return "periodic";
    case ApicBits.LVT_TIMER_TSCDEADLINE:
      return "tsc-deadline";
    default:
      return "reserved";
  }
}

const READABLE = new Set<number>([
  ApicReg.ID,
  ApicReg.LVR,
  ApicReg.TASKPRI,
  ApicReg.PROCPRI,
  ApicReg.LDR,
  ApicReg.SPIV,
  ApicReg.ESR,
  ApicReg.ICR,
  ApicReg.LVTT,
  ApicReg.LVTTHMR,
  ApicReg.LVTPC,
  ApicReg.LVT0,
  ApicReg.LVT1,
  ApicReg.LVTERR,
  ApicReg.TMICT,
  ApicReg.TMCCT,
  ApicReg.TDCR,
]);

/** Whether a register can be read in a mode. */
export function readable(reg: number, x2apic: boolean): boolean {
  if (reg >= ApicReg.ISR && reg < ApicReg.ESR) return true;
  if (READABLE.has(reg)) return true;
  return !x2apic && (reg === ApicReg.ARBPRI || reg === ApicReg.DFR || reg === ApicReg.ICR2);
}
