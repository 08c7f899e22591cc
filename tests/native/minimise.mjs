// @ts-check
/** Makes a failing case smaller and prints it so that it can be read. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CODE_AT, imageAddress } from "./areas.mjs";
import { flagText, xmm } from "./compare.mjs";
import { layOut, trackUndefined } from "./generate.mjs";

/**
 * @param {import("./types.js").TestCase} testCase
 * @param {number} i
 */
function without(testCase, i) {
  const insns = testCase.insns
    .filter((_, k) => k !== i)
    .map((insn) => ({ ...insn, bytes: [...insn.bytes], fix: insn.fix && { ...insn.fix } }));
  insns.forEach((insn, k) => {
    // A branch over the removed instruction goes one less; a loop's, when it was in the loop.
    const skip = insn.fix?.skip;
    if (insn.fix === undefined || skip === undefined) return;
    if (skip > 0 && k < i && k + 1 + skip > i) insn.fix.skip = skip - 1;
    if (skip < 0) insn.fix.skip = skip + 1;
  });
  const smaller = { ...testCase, insns };
  layOut(smaller);
  trackUndefined(smaller);
  return smaller;
}

/**
 * Removes instructions as long as `fails` says that the rest still fails.
 * @param {import("./types.js").TestCase} testCase
 * @param {(candidate: import("./types.js").TestCase) => boolean} fails
 * @returns {import("./types.js").TestCase}
 */
export function minimise(testCase, fails) {
  let best = testCase;
  for (let i = best.insns.length - 1; i >= 0 && best.insns.length > 1; i--) {
    const smaller = without(best, i);
    if (fails(smaller)) best = smaller;
  }
  return best;
}

/**
 * Lines of objdump's disassembly, or undefined without objdump.
 * @param {Uint8Array} code
 * @param {number} mode
 * @param {number} address
 */
function disassemble(code, mode, address) {
  const folder = mkdtempSync(join(tmpdir(), "native-"));
  try {
    const file = join(folder, "code");
    writeFileSync(file, code);
    const machine = mode === 64 ? "i386:x86-64" : mode === 32 ? "i386" : "i8086";
    const out = execFileSync(
      "objdump",
      [
        "-D",
        "-b",
        "binary",
        "-m",
        machine,
        "-M",
        "intel",
        `--adjust-vma=0x${address.toString(16)}`,
        file,
      ],
      { encoding: "utf8" },
    );
    return out.split("\n").filter((line) => /^\s*[0-9a-f]+:/.test(line));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const hasObjdump = spawnSync("objdump", ["--version"]).status === 0;
const hex = (/** @type {number | bigint} */ value, digits = 1) =>
  value.toString(16).padStart(digits, "0");

/**
 * A case as text: how to repeat it, its code, what it starts from.
 * @param {import("./types.js").TestCase} testCase
 * @returns {string[]}
 */
export function describeCase(testCase) {
  const { setup, mode } = testCase;
  const lines = [
    `seed ${testCase.seed}, family ${testCase.family}, case ${testCase.index}, ${mode}-bit code at ${hex(testCase.codeAt)}`,
  ];
  lines.push(`rows: ${testCase.insns.map((i) => i.row.asm).join("; ")}`);
  const shown = hasObjdump
    ? disassemble(testCase.code, mode, mode === 16 ? testCase.codeAt - CODE_AT : testCase.codeAt)
    : undefined;
  lines.push(...(shown ?? [Buffer.from(testCase.code).toString("hex")]));
  const names = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
  const registers = [...setup.gpr]
    .slice(0, mode === 64 ? 16 : 8)
    .map((value, i) => `${i < 8 ? `r${names[i]}` : `r${i}`}=${hex(value)}`);
  lines.push(`start: ${registers.join(" ")} rflags=${flagText(setup.rflags)} mode=${mode}`);
  lines.push(...startFloats(testCase));
  for (const patch of setup.patches) {
    lines.push(
      `  [${hex(imageAddress(patch.offset))}] ${Buffer.from(setup.blob.subarray(patch.blobAt, patch.blobAt + Math.min(patch.length, 64))).toString("hex")}`,
    );
  }
  return lines;
}

/**
 * @param {import("./types.js").TestCase} testCase
 */
function startFloats(testCase) {
  const { fxView } = testCase.setup;
  const rows = testCase.insns.map((i) => i.row);
  const lines = [];
  if (rows.some((r) => r.x87 || r.mmx)) {
    const st = [0, 1, 2, 3, 4, 5, 6, 7].map(
      (i) =>
        `${hex(fxView.getUint16(40 + i * 16, true), 4)}:${hex(fxView.getBigUint64(32 + i * 16, true), 16)}`,
    );
    lines.push(
      `  fcw=${hex(fxView.getUint16(0, true))} fsw=${hex(fxView.getUint16(2, true))} ftw=${hex(fxView.getUint8(4))} st: ${st.join(" ")}`,
    );
  }
  if (rows.some((r) => r.simd)) {
    lines.push(`  mxcsr=${hex(fxView.getUint32(24, true))}`);
    const used = new Set(testCase.insns.flatMap((i) => [i.reg, i.rm]));
    for (const i of [...used, 0].sort((a, b) => a - b))
      if (i < 16) lines.push(`  xmm${i}=${xmm(fxView, 160 + i * 16)}`);
  }
  return [...new Set(lines)];
}
