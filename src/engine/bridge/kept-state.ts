/** The state of a vCPU that no register shows, as numbers: for a machine that is saved and goes on exactly as it was. */
import type { EngineKept } from "./port.js";
import { Cpu } from "./state.gen.js";

/** Bits of INJECT that mean something (core/cpu/events.ts). */
const INJECT_BITS = 0x800007ff;
/** Bits of DR6 that a trap sets. */
const TRAP_BITS = 0xe00f;
/** Entries of REPLAY. @nolimit more accesses than one instruction can make */
const MAX_REPLAY = 64;
const CODE_BYTES = 16;

/** Where the state block of a vCPU is. */
interface Block {
  readonly view: DataView;
  readonly at: number;
}

export function readKept({ view, at }: Block): EngineKept {
  const u32 = (field: number): number => view.getUint32(at + field, true);
  const u64 = (field: number): bigint => view.getBigUint64(at + field, true);
  const code = at + Cpu.REPLAY_CODE;
  return {
    instructions: u64(Cpu.ICOUNT),
    random: u64(Cpu.RNG),
    pauses: u32(Cpu.PAUSE_COUNT),
    traps: u32(Cpu.DEBUG_PENDING),
    injection: u32(Cpu.INJECT),
    injectionError: u32(Cpu.INJECT_ERR),
    shadow: u32(Cpu.SHADOW),
    replay: Array.from({ length: u32(Cpu.REPLAY_COUNT) }, (_, i) => u64(Cpu.REPLAY + i * 8)),
    replayCode: new Uint8Array(view.buffer.slice(code, code + CODE_BYTES)),
    pdptes: Array.from({ length: 4 }, (_, i) => u64(Cpu.PDPTE + i * 8)),
    fpuSelectors: [u32(Cpu.FCS), u32(Cpu.FDS)],
  };
}

/** Puts it back, behind the registers. Whatever the numbers are, the vCPU stays one. */
export function writeKept({ view, at }: Block, kept: EngineKept): void {
  const u32 = (field: number, value: number): void => view.setUint32(at + field, value, true);
  const u64 = (field: number, value: bigint): void => view.setBigUint64(at + field, value, true);
  u64(Cpu.ICOUNT, kept.instructions);
  u64(Cpu.RNG, kept.random);
  u32(Cpu.PAUSE_COUNT, kept.pauses);
  u32(Cpu.DEBUG_PENDING, kept.traps & TRAP_BITS);
  u32(Cpu.INJECT, kept.injection & INJECT_BITS);
  u32(Cpu.INJECT_ERR, kept.injectionError);
  u32(Cpu.SHADOW, Math.min(kept.shadow, 2));
  const replay = kept.replay.slice(0, MAX_REPLAY);
  u32(Cpu.REPLAY_COUNT, replay.length);
  for (const [i, value] of replay.entries()) u64(Cpu.REPLAY + i * 8, value);
  new Uint8Array(view.buffer).set(kept.replayCode.subarray(0, CODE_BYTES), at + Cpu.REPLAY_CODE);
  for (const [i, value] of kept.pdptes.slice(0, 4).entries()) u64(Cpu.PDPTE + i * 8, value);
  u32(Cpu.FCS, kept.fpuSelectors[0] ?? 0);
  u32(Cpu.FDS, kept.fpuSelectors[1] ?? 0);
}
