import type { KvmRegs } from "../../abi/kvm/index.js";
import type { VcpuExit } from "../api/exits.js";
import { type EngineSregs, readRegs, readSregs, writeRegs, writeSregs } from "../cpu/regs.js";
import type { VcpuState } from "../vcpu-state.js";

/**
 * An instruction that waits for the client's answer while the client has written registers. KVM has
 * decoded it, with its operands, before the exit: it ends as it began, wherever RIP points now.
 */
export interface InFlight {
  /** Registers at its exit. */
  readonly regs: KvmRegs;
  readonly sregs: EngineSregs;
  /** What the client wrote since then. */
  wroteRegs: boolean;
  wroteSregs: boolean;
}

/** Whether an exit leaves an instruction decoded: reads of memory, and of ports by INS. */
export function leavesInstruction(vcpu: VcpuState, exit: VcpuExit): boolean {
  const { aux } = vcpu.engine.exit;
  if (exit.kind === "mmio") return !exit.isWrite && aux !== DELIVERY;
  return exit.kind === "io" && exit.direction === "in" && aux === STRING;
}

/** `aux` of an IO exit: INS or OUTS. */
const STRING = 1;
/** `aux` of an MMIO exit: tables or stack of an event that is being delivered. */
const DELIVERY = 1;

/** Comes before a client's write of registers. */
export function beforeClientWrite(vcpu: VcpuState, what: "regs" | "sregs"): void {
  const exit = vcpu.pending.followUps.at(-1) ?? vcpu.pending.exit;
  if (exit === undefined || !leavesInstruction(vcpu, exit)) return;
  const { engine } = vcpu;
  vcpu.pending.inFlight ??= {
    regs: readRegs(engine),
    sregs: readSregs(engine),
    wroteRegs: false,
    wroteSregs: false,
  };
  if (what === "regs") vcpu.pending.inFlight.wroteRegs = true;
  else vcpu.pending.inFlight.wroteSregs = true;
}

/** Prefixes that may come before an opcode outside of 64-bit code, and REX. */
const PREFIXES = new Set([0x66, 0x67, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf0, 0xf2, 0xf3]);
/** INS, OUTS; MOVS, CMPS; STOS, LODS, SCAS. */
const STRING_OPCODES = new Set([
  0x6c, 0x6d, 0x6e, 0x6f, 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
]);

/** INT1, INT3, INT n, INTO. */
const INTERRUPT_OPCODES = new Set([0xf1, 0xcc, 0xcd, 0xce]);

/** The first byte of an instruction that is no prefix. */
function opcodeOf(code: Uint8Array, long: boolean): number {
  return code.find((byte) => !PREFIXES.has(byte) && !(long && byte >>> 4 === 4)) ?? -1;
}

/** Whether an instruction's bytes are those of a string instruction. */
export function isString(code: Uint8Array, long: boolean): boolean {
  return STRING_OPCODES.has(opcodeOf(code, long));
}

/** Whether an instruction's bytes are those of one that raises an event. */
export function isInterrupt(code: Uint8Array, long: boolean): boolean {
  return INTERRUPT_OPCODES.has(opcodeOf(code, long));
}

/**
 * Registers after an instruction that went from `began` to `ended` while the client wrote `now`. An
 * operand in a register was named before the client's write, so that its result is lost; what the
 * instruction counts by itself (RSP, and of strings RSI, RDI, RCX) goes on from the client's values.
 */
function merged(began: KvmRegs, ended: KvmRegs, now: KvmRegs, string: boolean): KvmRegs {
  const regs = { ...now, rip: ended.rip, rflags: ended.rflags };
  const counted = string ? (["rsi", "rdi", "rcx"] as const) : (["rsp"] as const);
  for (const name of counted) {
    regs[name] = BigInt.asUintN(64, now[name] + ended[name] - began[name]);
  }
  return regs;
}

/**
 * Lets `execute` run the rest of an instruction with the registers it began with, and then gives the
 * client's back, as far as the instruction leaves them. `execute` says whether the instruction is done;
 * a repeated one may have advanced when it is not.
 */
export function executeAsBegun(vcpu: VcpuState, flight: InFlight, execute: () => boolean): void {
  const { engine } = vcpu;
  const now = { regs: readRegs(engine), sregs: readSregs(engine) };
  if (flight.wroteSregs) writeSregs(engine, flight.sregs);
  const string = isString(engine.replayCode(), engine.longMode64);
  // How often a string instruction repeats is looked up each time.
  const rcx = string && flight.wroteRegs ? now.regs.rcx : flight.regs.rcx;
  const began = { ...flight.regs, rcx };
  writeRegs(engine, began);
  const done = execute();
  const ended = readRegs(engine);
  if (flight.wroteSregs) writeSregs(engine, now.sregs);
  const result = flight.wroteRegs ? merged(began, ended, now.regs, string) : ended;
  if (done) {
    vcpu.pending.inFlight = undefined;
    writeRegs(engine, result);
    return;
  }
  if (ended.rcx === rcx) {
    writeRegs(engine, now.regs);
    return;
  }
  vcpu.pending.inFlight = { ...flight, regs: { ...result, rip: ended.rip, rflags: ended.rflags } };
  writeRegs(engine, { ...result, rip: now.regs.rip, rflags: now.regs.rflags });
}
