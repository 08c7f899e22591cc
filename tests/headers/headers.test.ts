/**
 * Every size, offset and number that src/abi/xen and src/abi/kvm export, against what gcc says of the
 * headers: those of this machine's Debian, and those of the next release for what is newer.
 */
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CAPABILITIES } from "../../spec/kvm/capabilities.mjs";
import * as bzImage from "../../src/abi/boot/bzimage.js";
import * as elf from "../../src/abi/boot/elf.js";
import * as startInfo from "../../src/abi/boot/hvm-start-info.js";
import * as syscalls from "../../src/abi/linux/syscalls.js";
import * as fpstate from "../../src/abi/x86/fpstate.js";
import { KvmFeature, Msr } from "../../src/abi/x86/index.js";
import { Errno } from "../../src/base/index.js";
import * as shim from "../../src/exec/shim-structures.js";
import { compare } from "./compare.js";
import { type HeaderSet, unusable, type Width } from "./gcc.js";
import {
  bootRules,
  bzImageRules,
  elfHeaders,
  elfRules,
  fpstateRules,
  kvmHeaders,
  kvmNewer,
  kvmRules,
  restRules,
  shimHeaders,
  systemHeaders,
} from "./kvm-names.js";
import { newerHeaders } from "./newer.js";
import { type Claim, type Rules, type Walk, walk } from "./walk.js";
import { xenHeaders, xenNewer, xenRules } from "./xen-names.js";

type Module = Readonly<Record<string, unknown>>;

/** All modules of a folder of src/abi, by name. */
async function modules(folder: "kvm" | "xen"): Promise<Map<string, Module>> {
  const names = readdirSync(new URL(`../../src/abi/${folder}/`, import.meta.url))
    .filter((file) => file.endsWith(".ts") && !/\.(test|fixture)\.ts$/.test(file))
    .map((file) => file.slice(0, -3));
  const found = new Map<string, Module>();
  for (const name of names) {
    // Vite wants to see the ending and at most one folder.
    const module: Module =
      folder === "kvm"
        ? await import(`../../src/abi/kvm/${name}.ts`)
        : await import(`../../src/abi/xen/${name}.ts`);
    found.set(name, module);
  }
  return found;
}

async function walkFolder(
  folder: "kvm" | "xen",
  rules: Readonly<Record<string, Rules>>,
  widths: readonly Width[],
): Promise<Walk> {
  const all: Walk = { claims: [], ours: [], unexplained: [] };
  const found = await modules(folder);
  for (const [name, module] of found) {
    // What only gathers other modules is walked with them.
    if (name === "index" || name === "structs") continue;
    const one = walk(module, `${folder}/${name}`, rules[name] ?? {}, widths);
    all.claims.push(...one.claims);
    all.ours.push(...one.ours);
    all.unexplained.push(...one.unexplained);
  }
  for (const name of Object.keys(rules)) {
    if (!found.has(name)) all.unexplained.push(`${folder}/${name} (rules for no module)`);
  }
  return all;
}

const missing = unusable(xenHeaders) ?? unusable(kvmHeaders);
const newerXen = missing ?? newerHeaders(xenHeaders);
const newerKvm = missing ?? newerHeaders(kvmHeaders);
const why = [newerXen, newerKvm].find((set) => typeof set === "string");
const inCi = process.env["CI"] !== undefined;
if (why !== undefined && !inCi) console.log(`skipped: headers are not compared here: ${why}`);

/** Compares, and names everything that is not as it should be. */
function check(walked: Walk, sets: readonly HeaderSet[], newer: readonly RegExp[]): number {
  const { same, different, unknown, newer: later } = compare(walked.claims, sets);
  const text = (claim: Claim): string => `${claim.label}: ${claim.expression}`;
  expect(different).toEqual([]);
  expect(unknown.map(text)).toEqual([]);
  const unlisted = later.filter((claim) => !newer.some((name) => name.test(claim.expression)));
  expect(unlisted.map(text)).toEqual([]);
  return same;
}

it("headers are there where this has to be compared", () => {
  expect(inCi ? why : undefined).toBeUndefined();
});

describe("every export is compared or explained", () => {
  it("src/abi/xen", async () => {
    const { claims, unexplained } = await walkFolder("xen", xenRules, [64, 32]);
    expect(unexplained).toEqual([]);
    expect(claims.length).toBeGreaterThan(1300);
  });

  it("src/abi/kvm", async () => {
    const { claims, unexplained } = await walkFolder("kvm", kvmRules, [64]);
    expect(unexplained).toEqual([]);
    expect(claims.length).toBeGreaterThan(2500);
  });
});

describe.skipIf(why !== undefined)("what gcc says", () => {
  const xenSets = [xenHeaders, newerXen as HeaderSet];
  const kvmSets = [kvmHeaders, newerKvm as HeaderSet];

  it("src/abi/xen, for 64-bit and 32-bit guests", async () => {
    const walked = await walkFolder("xen", xenRules, [64, 32]);
    expect(check(walked, xenSets, xenNewer)).toBeGreaterThan(2500);
  });

  it("src/abi/kvm", async () => {
    const walked = await walkFolder("kvm", kvmRules, [64]);
    expect(check(walked, kvmSets, kvmNewer)).toBeGreaterThan(5000);
  });

  it("src/abi/boot: start_info", () => {
    const walked = walk(startInfo, "boot/hvm-start-info", bootRules);
    expect(walked.unexplained).toEqual([]);
    expect(check(walked, xenSets, [])).toBeGreaterThan(10);
  });

  it.each([64, 32] as const)("src/abi/boot: ELF files of %i bits", (width) => {
    const walked = walk(elf, "boot/elf", elfRules(width), [width]);
    expect(walked.unexplained).toEqual([]);
    expect(check(walked, [elfHeaders], [])).toBeGreaterThan(60);
  });

  it.each([
    ["linux/syscalls", syscalls, {}, systemHeaders, 15],
    ["x86/fpstate", fpstate, fpstateRules, systemHeaders, 40],
    ["boot/bzimage", bzImage, bzImageRules, systemHeaders, 60],
    ["exec/shim-structures", shim, {}, shimHeaders, 35],
  ] as const)("%s", (name, module, rules, headers, least) => {
    const walked = walk(module, name, rules, [64]);
    expect(walked.unexplained).toEqual([]);
    expect(check(walked, [headers], [])).toBeGreaterThan(least);
  });

  it("the capabilities of spec/kvm", () => {
    const named = Object.fromEntries(CAPABILITIES.map(([number, name]) => [name, number]));
    const walked = walk({ named }, "spec", { named: { prefix: "KVM_CAP_" } }, [64]);
    expect(check(walked, kvmSets, kvmNewer)).toBeGreaterThan(CAPABILITIES.length);
  });

  it("errno, and KVM's own MSRs and CPUID bits", () => {
    const kvmMsrs = Object.fromEntries(Object.entries(Msr).filter(([name]) => /^KVM_/.test(name)));
    const module = { Errno, KvmMsr: kvmMsrs, KvmFeature };
    const walked = walk(module, "rest", restRules, [64]);
    expect(walked.unexplained).toEqual([]);
    expect(check(walked, kvmSets, [])).toBeGreaterThan(40);
  });

  it("a wrong number is found", () => {
    const wrong = walk({ KVM_XEN_INVALID: 1n }, "wrong", { KVM_XEN_INVALID: { is: "2" } }, [64]);
    expect(compare(wrong.claims, kvmSets).different).toHaveLength(2);
    const absent = walk({ KVM_NO_SUCH_THING: 1 }, "absent", {}, [64]);
    expect(compare(absent.claims, kvmSets).unknown).toHaveLength(1);
  });
});
