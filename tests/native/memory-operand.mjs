// @ts-check
/** ModRM, SIB and displacement of memory operands that point where a case wants them. */
import {
  CODE_AT,
  DATA_AT,
  DATA_BYTES,
  initialBase,
  PAGE,
  RO_AT,
  STACK_AT,
  STACK_BYTES,
} from "./areas.mjs";
import { RBP, RSP } from "./setup.mjs";

/** Registers of 16-bit addresses by ModRM.rm. */
const PAIRS16 = [[3, 6], [3, 7], [5, 6], [5, 7], [6], [7], [5], [3]];

/**
 * A linear address for an operand of `size` bytes. `align`: 0 any, else a strict multiple.
 * @param {import("./prng.mjs").Prng} rng
 * @param {number} size
 * @param {number} align
 * @param {boolean} single
 * @param {boolean} low
 */
export function chooseTarget(rng, size, align, single, low) {
  const inside = (/** @type {number} */ start, /** @type {number} */ bytes) =>
    start + rng.below(Math.max(1, bytes - size + 1));
  if (single && rng.chance(4)) return wrongInSeveralWays(rng, size, low);
  const down = (/** @type {number} */ at, /** @type {number} */ n) => at - (at % n);
  if (align > 1 && !rng.chance(single ? 8 : 1))
    return down(inside(DATA_AT, RO_AT - DATA_AT), align);
  const kind = rng.below(single ? 100 : 80);
  if (kind < 40)
    return down(
      inside(DATA_AT, RO_AT - DATA_AT),
      Math.min(16, size >= 16 ? 16 : size < 3 ? size : size < 8 ? 4 : 8) || 1,
    );
  if (kind < 66) return inside(DATA_AT, RO_AT - DATA_AT);
  if (kind < 76)
    return (
      DATA_AT + PAGE * rng.range(1, 2) - (size > 1 ? rng.range(1, Math.min(size, PAGE) - 1) : 1)
    );
  if (kind < 80) return inside(STACK_AT, STACK_BYTES);
  if (kind < 86) return inside(RO_AT, PAGE);
  if (kind < 89) return RO_AT - (size > 1 ? rng.range(1, Math.min(size, PAGE) - 1) : 1);
  if (kind < 92)
    return DATA_AT + DATA_BYTES - (size > 1 ? rng.range(1, Math.min(size, PAGE) - 1) : 0);
  if (kind < 94) return DATA_AT - rng.range(1, size + 2);
  if (kind < 96) return CODE_AT + rng.below(2 * PAGE - size > 0 ? 2 * PAGE - size : 1);
  if (kind < 97) return rng.below(0x10000);
  return low ? DATA_AT + PAGE : rng.pick([0x800000000000, 0xffff800000001000, 0x7ffffffff000 - 1]);
}

/**
 * Addresses that raise one exception for their alignment and another one for what is there.
 * @param {import("./prng.mjs").Prng} rng
 * @param {number} size
 * @param {boolean} low
 */
function wrongInSeveralWays(rng, size, low) {
  const offset = rng.below(16);
  const pages = [
    DATA_AT - PAGE,
    DATA_AT + DATA_BYTES,
    RO_AT,
    STACK_AT - PAGE,
    DATA_AT + DATA_BYTES - Math.min(size, PAGE) - 15 + rng.below(16),
    RO_AT - Math.min(size, PAGE) - 15 + rng.below(16),
  ];
  if (!low) pages.push(0x800000000000, 0x7ffffffff000, 0x800000000000 - size, 0x5ab53cb0e74e9000);
  return rng.pick(pages) + offset;
}

/**
 * Keeps a locked operand inside a cache line: hosts may punish the other kind.
 * @param {number} target
 * @param {number} size
 */
export function insideLine(target, size) {
  return target % 64 > 64 - size ? target - (target % 64) : target;
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {number} defaultSeg
 * @param {number | undefined} seg
 */
function segmentFor(setup, defaultSeg, seg) {
  return initialBase(setup.mode, seg ?? defaultSeg);
}

/**
 * A memory operand.
 * @param {import("./setup.mjs").Setup} setup
 * @param {{ size: number, align: number, locked?: boolean, target?: number, exact?: boolean }} want
 * @returns {import("./types.js").MemoryOperand}
 */
export function memoryOperand(setup, want) {
  const { rng, mode, single } = setup;
  const a67 = rng.chance(mode === 64 ? 6 : mode === 32 ? 1 : 30);
  const asize = mode === 64 ? (a67 ? 32 : 64) : (mode === 32) !== a67 ? 32 : 16;
  let target = want.target ?? chooseTarget(rng, want.size, want.align, single, mode !== 64 || a67);
  if (want.locked) target = insideLine(target, want.size);
  let seg;
  if (rng.chance(mode === 64 ? 4 : 10))
    seg = rng.pick(mode === 64 ? [0, 1, 2, 3, 4, 5] : [0, 1, 2, 3, 3, 4, 4, 5, 5]);
  const operand = asize === 16 ? form16(setup, target, seg) : form32(setup, target, seg, asize);
  return { ...operand, a67, seg, target: BigInt(operand.target) };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {number} target
 * @param {number | undefined} seg
 */
function form16(setup, target, seg) {
  const { rng, mode } = setup;
  const absolute = rng.chance(15);
  const rm = absolute ? 6 : rng.below(8);
  const mod = absolute ? 0 : rm === 6 ? rng.range(1, 2) : rng.below(3);
  const regs = (absolute ? undefined : PAIRS16[rm]) ?? [];
  const [first = 0, second] = regs;
  const stack = !absolute && (rm === 2 || rm === 3 || rm === 6);
  const base = segmentFor(setup, stack ? 2 : 3, seg);
  // In 16-bit code SS starts at STACK: take a place there instead.
  if (mode === 16 && stack && seg === undefined) target = STACK_AT + (target % STACK_BYTES);
  const offset = BigInt.asUintN(16, BigInt(target) - base);
  let rest = offset;
  const tail = displacement(rng, mod === 1 ? 1 : mod === 2 ? 2 : 0, (value) => {
    rest -= value;
  });
  for (const r of regs.slice(1)) rest -= setup.reg(r);
  if (second !== undefined) setup.pinned[second] = 1;
  if (absolute) tail.push(...littleEndian(offset, 2));
  else if (mod === 2 && setup.pinned[first])
    replaceTail(tail, rest + readTail(tail) - setup.reg(first), 2);
  else setLow(setup, first, BigInt.asUintN(16, rest), 0xffffn);
  return { modrm: (mod << 6) | rm, tail, x: 0, b: 0, rip: false, target };
}

/**
 * @param {import("./setup.mjs").Setup} setup
 * @param {number} target
 * @param {number | undefined} seg
 * @param {number} asize
 */
function form32(setup, target, seg, asize) {
  const { rng, mode, single } = setup;
  const choice = rng.below(100);
  if (choice < (mode === 64 ? 10 : 0)) {
    // RIP-relative: the displacement is filled in when the instruction's address is known.
    if (seg === undefined || seg < 4)
      return { modrm: 5, tail: [0, 0, 0, 0], x: 0, b: 0, rip: true, target };
  }
  let base = -1;
  let index = -1;
  if (choice < 16) base = -1;
  else if (single) base = rng.below(setup.registers);
  else base = rng.pick(setup.pointers);
  if (rng.chance(35)) index = single ? rng.below(setup.registers) : setup.small;
  if (index === RSP || index === base) index = -1;
  const scale = rng.below(4);
  const segBase = segmentFor(setup, base === RSP || base === RBP ? 2 : 3, seg);
  if (mode === 16 && seg === undefined && (base === RSP || base === RBP))
    target = STACK_AT + (target % STACK_BYTES);
  const wrap = (/** @type {bigint} */ v) => BigInt.asUintN(asize, v);
  const offset = wrap(BigInt(target) - segBase);
  const free = base >= 0 && !setup.pinned[base];
  let mod = base < 0 ? 0 : free ? rng.below(3) : rng.chance(30) ? 1 : 2;
  if (mod === 0 && base >= 0 && (base & 7) === RBP) mod = 1;
  if (index >= 0) {
    if (!setup.pinned[index] && rng.chance(60))
      setup.want(index, wrap(BigInt(rng.range(-300, 300))));
    setup.pinned[index] = 1;
  }
  const indexPart = index < 0 ? 0n : setup.reg(index) << BigInt(scale);
  let tail;
  if (free) {
    let disp = 0n;
    tail = displacement(rng, mod === 1 ? 1 : mod === 2 ? 4 : 0, (/** @type {bigint} */ value) => {
      disp = value;
    });
    setLow(setup, base, wrap(offset - indexPart - disp), wrap(-1n));
  } else {
    const known = (base < 0 ? 0n : setup.reg(base)) + indexPart;
    const disp = BigInt.asIntN(asize, wrap(offset - known));
    const small = base >= 0 && disp >= -128n && disp < 128n;
    if (base >= 0) mod = small ? 1 : 2;
    tail = littleEndian(disp, small ? 1 : 4);
  }
  return {
    ...modrmFor(rng, mode, mod, base, index, scale),
    tail: [...modrmFor.sib, ...tail],
    rip: false,
    target,
  };
}

/**
 * ModRM (and SIB, left in modrmFor.sib) for a base, an index, both or neither.
 * @param {import("./prng.mjs").Prng} rng
 * @param {number} mode
 * @param {number} mod
 * @param {number} base
 * @param {number} index
 * @param {number} scale
 */
function modrmFor(rng, mode, mod, base, index, scale) {
  const b = base >= 8 ? 1 : 0;
  const x = index >= 8 ? 1 : 0;
  modrmFor.sib = [];
  if (base < 0 && index < 0 && mode !== 64 && rng.chance(70)) return { modrm: 5, x, b };
  const plain = index < 0 && base >= 0 && (base & 7) !== RSP;
  if (plain && !rng.chance(15)) return { modrm: (mod << 6) | (base & 7), x, b };
  modrmFor.sib = [(scale << 6) | ((index < 0 ? 4 : index & 7) << 3) | (base < 0 ? 5 : base & 7)];
  return { modrm: (mod << 6) | 4, x, b };
}
/** @type {number[]} */
modrmFor.sib = [];

/**
 * Sets the bits of `mask` in a register that is still free; the others keep their random values.
 * @param {import("./setup.mjs").Setup} setup
 * @param {number} r
 * @param {bigint} value
 * @param {bigint} mask
 */
function setLow(setup, r, value, mask) {
  if (!setup.pinned[r]) setup.want(r, (setup.reg(r) & ~mask) | value);
}

/**
 * @param {import("./prng.mjs").Prng} rng
 * @param {number} bytes
 * @param {(value: bigint) => void} use
 */
function displacement(rng, bytes, use) {
  if (bytes === 0) return [];
  let value;
  if (bytes === 1) value = BigInt(rng.range(-128, 127));
  else if (rng.chance(50)) value = BigInt(rng.range(-4096, 4096));
  else value = BigInt.asIntN(bytes * 8, BigInt(rng.u32()));
  use(value);
  return littleEndian(value, bytes);
}

const readTail = (/** @type {number[]} */ tail) => BigInt((tail[0] ?? 0) | ((tail[1] ?? 0) << 8));

/**
 * @param {number[]} tail
 * @param {bigint} value
 * @param {number} bytes
 */
function replaceTail(tail, value, bytes) {
  tail.splice(0, bytes, ...littleEndian(value, bytes));
}

/**
 * The low `bytes` bytes of a value.
 * @param {bigint | number} value
 * @param {number} bytes
 */
export function littleEndian(value, bytes) {
  const out = [];
  let v = BigInt.asUintN(64, BigInt(value));
  for (let i = 0; i < bytes; i++) {
    out.push(Number(v & 255n));
    v >>= 8n;
  }
  return out;
}
