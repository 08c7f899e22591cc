/**
 * Machine code for every fast operation of the hot loop that looks into the TLB. The list of operations
 * comes from the generator that writes the loop; which code becomes which operation is found out by
 * letting the engine decode all forms of all instruction rows, alone and before a jump or each other.
 */
import { hva } from "../../src/base/index.js";
import { Layout } from "../../src/engine/bridge/state.gen.js";
import { At, type GuestCpu } from "../../src/engine/tests/guest-cpu.fixture.js";
import { fastKind, fastOps } from "../../tools/build/gen-fast.mjs";
import { hotText } from "../../tools/build/gen-fast-jumps.mjs";
import { PAIRS } from "../../tools/build/gen-fast-pairs.mjs";
import { inFlat } from "../../tools/build/gen-fast-width.mjs";
import { countOps, readRows } from "../../tools/build/gen-insn.mjs";
import { loadRows } from "../native/rows.mjs";
import { encode, little, RBX, RSI } from "./encode.mjs";

/** One of the hot loop's operations. */
export interface FastOp {
  readonly name: string;
  readonly body: string;
}

/** Code that is decoded to an operation. A far jump's distance is its last four bytes. */
export interface FastCase {
  readonly op: FastOp;
  readonly code: readonly number[];
  /** The jump of `code` leads to another page, and has these last bytes for its distance. */
  readonly far: boolean;
}

type Code = {
  readonly make: (base: number) => readonly number[] | undefined;
  readonly far: boolean;
};

/** A distance that leaves the page. */
const FAR = 0x4000;
/** test eax,eax: nobody sees the flags that were set before it. */
const QUIET = [0x85, 0xc0];
const INT3 = 0xcc;

const rows = await loadRows();
const first = countOps(await readRows());
/** Which code: of 64-bit or flat 32-bit segments. */
export type Bits = 32 | 64;

/** All operations in the order of their numbers, with the text that a kind of code has; none where it has not the operation. */
const textsOf = (bits: Bits): readonly FastOp[] =>
  fastOps().map((op) => ({
    ...op,
    body: bits === 64 ? hotText(op, 8) : inFlat(op) ? hotText(op, 4) : "",
  }));
const ALL = { 32: textsOf(32), 64: textsOf(64) };
/** Those of 64-bit code. */
export const OPS = ALL[64];

/** How often an operation looks for data, and for code, in the TLB. */
export function lookups(op: FastOp): { data: number; code: number } {
  const count = (pattern: RegExp) => op.body.match(pattern)?.length ?? 0;
  return { data: count(/return miss(?:Read|Write)\(/g), code: count(/load<u64>\(e, 24\)/g) };
}

/** What looks up the next page, for code at the end of one only: src/engine/tests/across.test.ts tries them. */
const AT_PAGE_END = ["cross", "end_across", "jcc_across"];

/** The operations that must have a case. */
export function memoryOps(bits: Bits = 64): FastOp[] {
  return ALL[bits].filter(
    ({ body, name }) => /(TLB|FETCH)_MASK/.test(body) && !AT_PAGE_END.includes(name),
  );
}

/** Which operation the first record of `code` is; undefined when it has a complete handler. */
function decoded(guest: GuestCpu, code: readonly number[]): FastOp | undefined {
  const { linear, core } = guest.vm;
  const bytes = [...code, INT3, INT3];
  linear.u8.set(bytes, guest.ram + At.CODE);
  guest.vm.noteWrite(hva(guest.ram + At.CODE), bytes.length);
  // The next block is made behind what there is: engine/core/blocks.ts.
  const at = Layout.ARENA + 128 + core.arenaUsed() + 32;
  guest.cpu.rip = BigInt(At.CODE);
  guest.cpu.run(1);
  return OPS[linear.view.getUint16(at, true) - first];
}

function singles(bits: Bits): Code[] {
  const codes: Code[] = [];
  for (const row of rows) {
    if (fastKind(row)[0] === 0) continue;
    for (const rm of ["register", "base", "index"] as const)
      for (const size of [{}, { wide: bits === 64 }, { short: true }])
        for (const to of row.imm === "relz" ? [0, FAR] : [0])
          codes.push({
            make: (base) => encode(row, { rm, base, to, bits, ...size }),
            far: to === FAR,
          });
  }
  return codes;
}

function joined(a: Code, b: Code): Code {
  return {
    make(base) {
      const before = a.make(RBX);
      const behind = b.make(base);
      return before && behind && [...before, ...behind];
    },
    far: b.far,
  };
}

/** A case for each operation that the engine makes of some code in the guest's mode. */
export function findCases(guest: GuestCpu, bits: Bits = 64): Map<string, FastCase> {
  const byName = new Map(ALL[bits].map((op) => [op.name, op]));
  const found = new Map<string, { code: Code; quiet: boolean }>();
  const learn = (code: Code) => {
    const bytes = code.make(RSI);
    if (bytes === undefined) return;
    for (const quiet of [false, true]) {
      const op = decoded(guest, quiet ? [...bytes, ...QUIET] : bytes);
      // Of code that has no record of its own, QUIET is the first.
      if (quiet && op?.name === "test4_rr_F") continue;
      if (op !== undefined && !found.has(op.name)) found.set(op.name, { code, quiet });
    }
  };
  const alone = singles(bits);
  for (const code of alone) learn(code);
  const compare = [...found.entries()].filter(([name]) => /^(cmp|test)\d/.test(name));
  const jumps = [...found.entries()].filter(([name]) => name.startsWith("jcc"));
  for (const [, { code }] of compare)
    for (const [, jump] of jumps)
      learn({
        make: (base) => joined({ ...code, make: () => code.make(base) }, jump.code).make(base),
        far: jump.code.far,
      });
  for (const [a, b] of PAIRS) {
    const before = found.get(a as string);
    const behind = found.get(b as string);
    if (before && behind) learn(joined(before.code, behind.code));
  }
  const cases = new Map<string, FastCase>();
  for (const [name, { code, quiet }] of found) {
    const bytes = code.make(RSI) as readonly number[];
    cases.set(name, {
      op: byName.get(name) as FastOp,
      code: quiet ? [...bytes, ...QUIET] : bytes,
      far: code.far,
    });
  }
  return cases;
}

/** The same code with its jump going to `target`, when it lies at `at`. */
export function aimed(found: FastCase, at: number, target: number): number[] {
  const code = [...found.code];
  code.splice(-4, 4, ...little(target - (at + code.length), 4));
  return code;
}
