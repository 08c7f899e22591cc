// @ts-check
/**
 * Instructions that are not compared with the host's processor, each with its reason. Everything else of
 * spec/insn is: privileged instructions too, which raise #GP in a program on both sides.
 * run.mjs prints how many rows each reason takes away.
 */

/** [mnemonic, reason]. The first match counts. */
/** @type {[RegExp, string][]} */
const EXCLUDED = [
  [/^(syscall|sysret|sysenter|sysexit)/, "enters the host's kernel, or not, by vendor"],
  [/^(vmcall|vmmcall)/, "calls the host's hypervisor"],
  [/^(cpuid|rdtsc|rdtscp|rdpmc|rdpid|rdrand|rdseed|xgetbv)/, "the answer is the host's own"],
  [/^(sgdt|sidt|sldt|str|smsw)$/, "UMIP on the host: the kernel emulates or refuses them"],
  [/^(rdfsbase|rdgsbase|wrfsbase|wrgsbase)/, "the host's kernel may not allow it"],
  [
    /^(monitor|mwait|clac|stac|swapgs)/,
    "rows that stand for several instructions, some the host's own",
  ],
  [/^(xsave|xrstor|xsaveopt)/, "the area's layout and size are the host's (AVX)"],
  [/^(invpcid|clflushopt)/, "optional on the host"],
];

const ALIAS = "D9 D8: undocumented, and differs from FSTP on an empty register";

/**
 * Why a row is not compared, or undefined.
 * @param {import("./types.js").Row} row
 */
export function exclusion(row) {
  if (row.x87 && row.opcode === 0xd9 && row.digit === 3 && row.form === "reg") return ALIAS;
  return EXCLUDED.find(([mnemonic]) => mnemonic.test(row.mnemonic))?.[1];
}
