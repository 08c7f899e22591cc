import { Exception } from "../../abi/x86/index.js";
import type { VcpuExitDebug } from "../exits.js";
import type { VcpuState } from "../vcpu-state.js";

/** DR6: bits that are always one; single step; access to a debug register. */
const DR6_FIXED = 0xffff0ff0n;
const DR6_BS = 0x4000n;
const DR6_BD = 0x2000n;

/** DR7: general detect. */
const DR7_GD = 0x2000n;

/** INT3; the two bytes of MOV to and from a debug register (the second with bit 1 either way). */
const INT3 = 0xcc;
const MOV_DR = [0x0f, 0x21] as const;

const BREAKPOINTS = [0, 1, 2, 3] as const;

/** What a breakpoint waits for (DR7): the engine looks for the other kinds. */
const EXECUTE = 0;

const isEnabled = (dr7: bigint, index: number): boolean => ((dr7 >> BigInt(index * 2)) & 3n) !== 0n;

const kindOf = (dr7: bigint, index: number): number => Number((dr7 >> BigInt(16 + index * 4)) & 3n);

function exit(vcpu: VcpuState, exception: number, dr6: bigint): VcpuExitDebug {
  const { debug, engine } = vcpu;
  const dr7 = debug.hardwareBreakpoints ? debug.dr7 : engine.dr(7);
  return { kind: "debug", exception, pc: vcpu.linearRip(), dr6: DR6_FIXED | dr6, dr7 };
}

function opcodes(vcpu: VcpuState): readonly number[] {
  const bytes = vcpu.env.access.readVirtual(vcpu.engine, vcpu.linearRip(), 1);
  if (bytes === undefined) return [];
  const two =
    bytes[0] === MOV_DR[0] ? vcpu.env.access.readVirtual(vcpu.engine, vcpu.linearRip(), 2) : bytes;
  return [...(two ?? bytes)];
}

/** Before an instruction: an exit when the debugger has a breakpoint there. */
export function debugBefore(vcpu: VcpuState): VcpuExitDebug | undefined {
  const { debug } = vcpu;
  if (debug.hardwareBreakpoints) {
    const { dr7 } = debug;
    const pc = vcpu.linearRip();
    for (const index of BREAKPOINTS) {
      const here = isEnabled(dr7, index) && kindOf(dr7, index) === EXECUTE;
      if (here && debug.address(index) === pc) {
        return exit(vcpu, Exception.DB, 1n << BigInt(index));
      }
    }
    if ((dr7 & DR7_GD) !== 0n) {
      const [first, second = 0] = opcodes(vcpu);
      if (first === MOV_DR[0] && (second & ~2) === MOV_DR[1]) {
        return exit(vcpu, Exception.DB, DR6_BD);
      }
    }
  }
  if (debug.softwareBreakpoints && opcodes(vcpu)[0] === INT3) return exit(vcpu, Exception.BP, 0n);
  return undefined;
}

/** After an instruction that completed: an exit for single-step, or for a breakpoint on data or ports. */
export function debugAfter(vcpu: VcpuState): VcpuExitDebug | undefined {
  const { debug, engine } = vcpu;
  let hits = debug.hardwareBreakpoints ? BigInt(engine.watchHits) : 0n;
  if (debug.singleStep) hits |= DR6_BS;
  return hits === 0n ? undefined : exit(vcpu, Exception.DB, hits);
}
