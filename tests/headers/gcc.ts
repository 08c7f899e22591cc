/** Asks gcc for the values of C expressions, for 64-bit and 32-bit code, without running anything. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Width of the code that the headers are compiled for. */
export type Width = 32 | 64;

/** Headers to include, and where they are when they are not the installed ones. */
export interface HeaderSet {
  /** What a report calls it, such as a package and its version. */
  readonly name: string;
  /** Lines before the includes. */
  readonly defines: readonly string[];
  readonly includes: readonly string[];
  /** Folders that go before the system's. */
  readonly folders: readonly string[];
}

/** Where multi-architecture systems keep the asm/ headers, which -m32 does not look into. */
const SYSTEM = "/usr/include/x86_64-linux-gnu";
/** A name that is in no header stops its expression only; each round finds those that are left. */
const MAX_ROUNDS = 8;

function run(program: string, args: readonly string[]): { ok: boolean; text: string } {
  const result = spawnSync(program, args, {
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C" },
  });
  if (result.error) throw result.error;
  return { ok: result.status === 0, text: result.stderr };
}

/** Why this machine cannot compare with a set of headers, or undefined. */
export function unusable(set: HeaderSet): string | undefined {
  if (spawnSync("gcc", ["--version"]).status !== 0) return "there is no gcc";
  if (spawnSync("objcopy", ["--version"]).status !== 0) return "there is no objcopy (binutils)";
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-headers-"));
  try {
    for (const width of [64, 32] as const) {
      const { ok, text } = compile(folder, set, ["1"], width);
      if (!ok) return `${set.name} (-m${width}): ${text.split("\n")[0] ?? ""}`;
    }
    return undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function compile(
  folder: string,
  set: HeaderSet,
  expressions: readonly string[],
  width: Width,
): { ok: boolean; text: string } {
  const source = [
    ...set.defines,
    "#include <stddef.h>",
    "#include <stdint.h>",
    ...set.includes.map((name) => `#include <${name}>`),
    '__attribute__((section("header_values"))) const unsigned long long values[] = {',
    ...expressions.flatMap((text, i) => [
      `#line ${i + 1} "expression"`,
      `(unsigned long long)(long long)(${text}),`,
    ]),
    "};",
  ];
  writeFileSync(join(folder, "values.c"), `${source.join("\n")}\n`);
  const includes = [...set.folders, SYSTEM].flatMap((path) => ["-isystem", path]);
  return run("gcc", [
    `-m${width}`,
    "-ffreestanding",
    "-w",
    "-fmax-errors=0",
    ...includes,
    "-c",
    join(folder, "values.c"),
    "-o",
    join(folder, "values.o"),
  ]);
}

/** Indices of the expressions that gcc's messages name. */
function refused(text: string): Set<number> {
  const found = new Set<number>();
  for (const line of text.split("\n")) {
    const match = /^expression:(\d+):\d+: (error|note: in expansion)/.exec(line);
    if (match) found.add(Number(match[1]) - 1);
  }
  return found;
}

/**
 * The values of C expressions, as u64 after sign extension; undefined for those that do not compile
 * because a header lacks a name.
 */
export function evaluate(
  set: HeaderSet,
  expressions: readonly string[],
  width: Width,
): (bigint | undefined)[] {
  if (expressions.length === 0) return [];
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-headers-"));
  const answers: (bigint | undefined)[] = expressions.map(() => undefined);
  try {
    let left = expressions.map((_, i) => i);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const texts = left.map((i) => expressions[i] ?? "0");
      const { ok, text } = compile(folder, set, texts, width);
      if (ok) {
        const bytes = join(folder, "values.bin");
        const object = join(folder, "values.o");
        const copied = run("objcopy", ["-O", "binary", "-j", "header_values", object, bytes]);
        if (!copied.ok) throw new Error(copied.text);
        const data = readFileSync(bytes);
        left.forEach((index, i) => {
          answers[index] = data.readBigUInt64LE(8 * i);
        });
        return answers;
      }
      const bad = refused(text);
      if (bad.size === 0) throw new Error(`${set.name} (-m${width}):\n${text.slice(0, 2000)}`);
      left = left.filter((_, i) => !bad.has(i));
    }
    throw new Error(`${set.name}: gcc finds new errors in every round`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
