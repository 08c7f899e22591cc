/**
 * The outer loop: runs a vCPU for an amount of work. It chooses between cached blocks and single
 * instructions, delivers exceptions and injected events, and leaves by exit code.
 *
 * Work is counted, the same on every path of execution: 1 for each instruction that retires, 1 for
 * each exception that is delivered, and what chargeWork() adds for instructions that take long. Whatever
 * can be repeated without end counts, so that run() is left after a bounded time.
 */
import {
  BLOCK_KEY, CODE_SIZE, DEBUG_PENDING, EXIT, EXIT_DATA, EXIT_WRITE, FAULT, FLAGS, ICOUNT, INJECT, IRQ_WINDOW, PAGE_BASE, REPLAY_CODE, REPLAY_COUNT, REPLAY_NEXT,
  N_EXCEPTION, N_STEP, RIP, SCRATCH_AT, SEG, SHADOW, WORK,
} from "./state.gen";
import { countOf, getBudget, lookup, mustStep, setBudget } from "./blocks";
import { count } from "./count";
import { debugAfter, debugBefore, dropTraps, raiseTrap, stepping, trapWaits } from "./cpu/debug";
import { deliver, deliverInjected } from "./cpu/events";
import { MAX_LENGTH, decode, emulatorDoes } from "./decode";
import { dispatch } from "./dispatch.gen";
import {
  F_EXIT, F_RETRY, R_EXIT, R_FAULT, R_JUMP, R_NEXT, V_GP, X_BUDGET, X_INTERNAL, X_IO, X_IRQ_WINDOW, X_MMIO, raiseErr,
} from "./fault";
import { IF } from "./flags";
import { interpret } from "./interpret";
import { KEY_FLAT32 } from "./layout";
import { FETCH, INTERNAL_NOT_EMULATED, fetchPage, hostLinear } from "./mmu/access";
import { setInBlocks } from "./smc";

/** Where step() decodes to, and where it puts the bytes of an instruction that crosses a page. */
const STEP_RECORD: u32 = SCRATCH_AT + 0x100;
const STEP_BYTES: u32 = SCRATCH_AT + 0x40;

let decodeEach: bool = false;
/** Instructions of flat 32-bit code that are still done one by one. */
let single32: i32 = 0;
/** What the budget would have been at the start if all work were retired instructions. */
let startBudget: i32 = 0;
let givenBudget: i32 = 0;

/** Chooses the path without cached blocks: every instruction is decoded each time. */
export function setDecodeEach(yes: bool): void {
  decodeEach = yes;
}

/**
 * The next `count` instructions of flat 32-bit code are done one by one. A kernel of 64 bits begins with some: for those its hot
 * loop is not worth what V8 pays for it, which compiles it well when it was left a few times.
 */
export function setSingle32(count: i32): void {
  single32 = count;
}

/** Whether the next instruction is one of those. */
function begins32(): bool {
  if (single32 <= 0 || load<u64>(BLOCK_KEY) < KEY_FLAT32) return false;
  single32--;
  return true;
}

/** Work since run() began, exact, as the current instruction sees it. */
export function workOfRun(): u64 {
  return <u64>(givenBudget - getBudget());
}

/** Counts work that is no retired instruction. */
export function chargeWork(work: i32): void {
  setBudget(getBudget() - work);
  startBudget -= work;
}

/** Puts the bytes at RIP where they can be decoded; 0 with a fault raised. */
function fetchBytes(va: u64, need: u32): u32 {
  const off = <u32>va & 0xfff;
  const page = fetchPage(va);
  if (page == 0) return 0;
  const here: u32 = 0x1000 - off;
  if (here >= MAX_LENGTH) return page + off;
  memory.fill(STEP_BYTES, 0, 32);
  memory.copy(STEP_BYTES, page + off, here);
  if (need <= here) return STEP_BYTES;
  let next = va + <u64>here;
  if (load<u32>(CODE_SIZE) != 2) next &= 0xffffffff;
  const second = fetchPage(next);
  if (second == 0) return 0;
  memory.copy(STEP_BYTES + here, second, 16);
  return STEP_BYTES;
}

/** Keeps the bytes of the instruction that leaves run() for an access outside: it ends as it began. */
function keepCode(): void {
  let va = load<u64>(RIP);
  if (load<u32>(CODE_SIZE) != 2) va = (va + load<u64>(SEG + 16, 8)) & 0xffffffff;
  const here: u32 = 0x1000 - (<u32>va & 0xfff);
  const first = hostLinear(va, FETCH);
  if (first != 0) memory.copy(REPLAY_CODE, first, min<u32>(here, 16));
  if (here >= <u32>MAX_LENGTH) return;
  const second = hostLinear(va + <u64>here, FETCH);
  if (second != 0) memory.copy(REPLAY_CODE + here, second, 16 - here);
}

/** The exit of the instruction in REPLAY_CODE at an access to a device: KVM has to emulate it. */
function deviceExit(): u32 {
  decode(STEP_RECORD, REPLAY_CODE, load<u32>(CODE_SIZE), 0);
  if (emulatorDoes(STEP_RECORD, load<u32>(EXIT_WRITE) != 0)) return X_MMIO;
  // It was the first access, a read, that brought KVM there.
  if (load<u32>(REPLAY_COUNT) != 0) store<u32>(EXIT_WRITE, 0);
  store<u64>(EXIT_DATA, INTERNAL_NOT_EMULATED);
  store<u32>(EXIT, X_INTERNAL);
  return X_INTERNAL;
}

/** Decodes and executes the instruction at RIP by its complete handler. Sets RIP: gives no R_NEXT. */
export function step(): u32 {
  const code = load<u32>(CODE_SIZE);
  const rip = load<u64>(RIP);
  let va = rip;
  if (code != 2) {
    if (rip > <u64>load<u32>(SEG + 16, 4)) return raiseErr(V_GP, 0);
    va = (rip + load<u64>(SEG + 16, 8)) & 0xffffffff;
  }
  const off = <u32>va & 0xfff;
  const again = load<u32>(REPLAY_COUNT) != 0;
  let bytes = again ? REPLAY_CODE : fetchBytes(va, 1);
  if (bytes == 0) return R_FAULT;
  // RIP-relative operands count from the page base: PAGE_BASE belongs to this instruction now.
  store<u64>(PAGE_BASE, rip - <u64>off);
  let length = decode(STEP_RECORD, bytes, code, off);
  if (!again && off + length > 0x1000) {
    bytes = fetchBytes(va, length);
    if (bytes == 0) return R_FAULT;
    length = decode(STEP_RECORD, bytes, code, off);
  }
  if (length > MAX_LENGTH) return raiseErr(V_GP, 0);
  if (code != 2 && rip + <u64>(length - 1) > <u64>load<u32>(SEG + 16, 4)) return raiseErr(V_GP, 0);
  const r = dispatch(load<u16>(STEP_RECORD), STEP_RECORD);
  if (r != R_NEXT) return r;
  let next = rip + <u64>length;
  if (code == 1) next &= 0xffffffff;
  else if (code == 0) next &= 0xffff;
  store<u64>(RIP, next);
  return R_JUMP;
}

/** Executes one instruction, with everything that looks at single instructions around it. */
function stepWithChecks(): u32 {
  count(N_STEP);
  const shadow = load<u32>(SHADOW);
  const traps = load<u32>(DEBUG_PENDING);
  if (debugBefore(load<u32>(REPLAY_COUNT) != 0)) return R_FAULT;
  store<u32>(SHADOW, 0);
  store<u32>(REPLAY_NEXT, 0);
  const r = step();
  if (r == R_FAULT) {
    if (load<u32>(FAULT) != F_EXIT) {
      store<u32>(REPLAY_COUNT, 0);
      dropTraps();
      return r;
    }
    // The same instruction comes again.
    store<u32>(SHADOW, shadow);
    store<u32>(DEBUG_PENDING, traps);
    return r;
  }
  store<u32>(REPLAY_COUNT, 0);
  debugAfter();
  if (r != R_EXIT) setBudget(getBudget() - 1);
  return r;
}

/** Looks at everything that comes before an instruction; X_BUDGET means go on. */
function windows(): u32 {
  if (load<u32>(SHADOW) != 0) return X_BUDGET;
  const window = load<u32>(IRQ_WINDOW);
  if (window != 0 && (load<u64>(FLAGS) & IF) != 0) {
    if (window == 1 || load<u8>(window) != 0) return X_IRQ_WINDOW;
    store<u32>(IRQ_WINDOW, 0); // nothing waits any more
  }
  return X_BUDGET;
}

function leave(code: u32): u32 {
  store<u64>(ICOUNT, load<u64>(ICOUNT) + <u64>(startBudget - getBudget()));
  startBudget = getBudget();
  store<u32>(WORK, givenBudget - getBudget());
  return code;
}

/**
 * Runs the vCPU in the state block until `max` units of work are done. Returns the exit code; details
 * are in EXIT_*. RIP is where it goes on.
 */
export function run(max: i32): u32 {
  startBudget = max;
  givenBudget = max;
  setBudget(max);
  store<u32>(FAULT, 0);
  let stepNext = false;
  let again = false;
  for (;;) {
    if (load<u32>(DEBUG_PENDING) != 0 && trapWaits()) {
      // The trap of an instruction that needed an answer is the caller's: KVM has emulated it.
      if (again) return leave(X_BUDGET);
      raiseTrap();
      const code = deliver();
      if (code != 0) return leave(code);
    }
    if (load<u32>(INJECT) != 0) {
      dropTraps();
      const code = deliverInjected();
      if (code != 0) return leave(code);
    }
    let r: u32;
    again = load<u32>(REPLAY_COUNT) != 0;
    const single = stepNext || decodeEach || again || load<u32>(SHADOW) != 0 || stepping() || begins32();
    if (!stepNext && !again) {
      const code = windows();
      if (code != X_BUDGET) return leave(code);
    }
    if (getBudget() <= 0) return leave(X_BUDGET);
    stepNext = false;
    if (single) r = stepWithChecks();
    else {
      const q = lookup();
      if (q != 0 && countOf(q) <= getBudget()) {
        setInBlocks(true);
        r = interpret(q, getBudget());
        setInBlocks(false);
      } else if (q != 0 || mustStep) r = stepWithChecks();
      else r = R_FAULT;
    }
    if (r == R_EXIT) {
      setBudget(getBudget() - 1);
      return leave(load<u32>(EXIT));
    }
    if (r == R_FAULT) {
      const fault = load<u32>(FAULT);
      if (fault == F_RETRY) {
        store<u32>(FAULT, 0);
        stepNext = true;
      } else if (fault == F_EXIT) {
        store<u32>(FAULT, 0);
        const code = load<u32>(EXIT);
        if (!again && (code == X_MMIO || code == X_IO)) keepCode();
        return leave(code == X_MMIO ? deviceExit() : code);
      } else {
        count(N_EXCEPTION);
        // Handlers that fault themselves retire nothing: run() must end all the same.
        chargeWork(1);
        const code = deliver();
        if (code != 0) return leave(code);
      }
    }
  }
  return unreachable();
}
