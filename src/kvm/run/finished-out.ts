import { Rflags } from "../../abi/x86/index.js";
import type { VcpuState } from "../vcpu-state.js";
import { Quirk } from "../vm-settings.js";
import { isString } from "./in-flight.js";

/** `aux` of an exit for a port: OUTS or INS. */
const STRING = 1;

/** The port of {@link Quirk.OUT_7E_INC_RIP}. */
const BIOS_PORT = 0x7e;

/**
 * Whether the OUT that has left the engine is done, for the guest's registers, before the client hears
 * of it: OUTS is, each element of a repetition by itself, as KVM's emulator writes its registers back.
 */
export function isFinishedOut({ engine, env }: VcpuState): boolean {
  const { aux, address } = engine.exit;
  if (aux === STRING) return true;
  return address === BIOS_PORT && env.settings.hasQuirk(Quirk.OUT_7E_INC_RIP);
}

/** After that: a repetition that RIP is still at shows it in RF, even behind its last element. */
export function markRepetition(vcpu: VcpuState): void {
  if (vcpu.linearRip() === vcpu.pending.rip) vcpu.engine.rflags |= Rflags.RF;
}

/**
 * After a write to memory that the client answers for: KVM looks whether a repetition is over when the
 * instruction comes again, so that RIP (`rip` before) stays at it, with RF, behind its last element too.
 */
export function stayAtRepetition({ engine }: VcpuState, rip: bigint): void {
  if (!isString(engine.replayCode(), engine.longMode64)) return;
  engine.rip = rip;
  engine.rflags |= Rflags.RF;
}
