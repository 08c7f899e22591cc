// @ts-check
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { repositoryFiles, root } from "./files.mjs";

/**
 * The import rule: a layer is a folder below src/, and may import itself and what is listed. The
 * most specific folder that a file is in counts. An entry that ends in `.ts` allows that one file.
 * Packages of npm and `node:` modules are listed by the last part.
 * @typedef {{ may: string[], packages?: string[], exceptions?: Record<string, string[]> }} Layer
 * @type {Record<string, Layer>}
 */
export const layers = {
  base: { may: [] },
  abi: { may: ["base"] },
  ports: { may: ["base"] },
  memory: { may: ["base", "abi"] },
  "engine/core": { may: [] },
  "engine/tests": { may: ["base", "abi", "memory", "engine/bridge"] },
  "engine/bridge": {
    may: ["base", "abi", "memory", "engine/jit/compiler.ts", "engine/jit/settings.ts"],
  },
  "engine/jit": { may: ["base", "memory", "engine/bridge/state.gen.ts"] },
  // KVM as its clients see it: interfaces and data. Whoever implements them is not known here.
  "kvm/api": { may: ["base", "abi", "memory", "ports", "engine/bridge/port.ts"] },
  // KVM knows an engine by its interface only: the caller brings one.
  kvm: {
    may: ["base", "abi", "memory", "ports", "engine/bridge/port.ts", "kvm/api"],
    // The one place that plugs the Xen half into KVM.
    exceptions: { "index.ts": ["kvm/xen"] },
  },
  "kvm/xen": { may: ["base", "abi", "memory", "ports", "engine/bridge/port.ts", "kvm"] },
  // A live look at machines: what a page shows, and how it gets there.
  inspect: { may: ["base", "ports", "kvm/index.ts", "vmm/machine", "trace/index.ts"] },
  // gdb's protocol, on the vCPUs that a machine gives to a debugger.
  gdb: { may: ["base", "abi", "kvm/index.ts", "vmm/machine"] },
  // Events as numbers in a ring, and what they mean; whoever notes them knows only ports/trace.ts.
  trace: { may: ["base", "abi", "ports", "engine/bridge/port.ts"] },
  // Drives whatever implements KVM's interfaces.
  vmm: {
    may: ["base", "abi", "memory", "ports", "kvm/api/index.ts"],
    // The one place that knows the library's own.
    exceptions: { "machine/own-kvm.ts": ["kvm/index.ts"] },
  },
  ioctl: { may: ["base", "abi", "memory", "ports", "kvm/index.ts"] },
  exec: {
    may: [
      "base",
      "abi",
      "memory",
      "ports",
      "kvm/index.ts",
      "ioctl/index.ts",
      "engine/bridge/index.ts",
      "hosts/node",
      "trace/index.ts",
      "inspect/index.ts",
    ],
    packages: ["node:*", "koffi"],
  },
  play: { may: ["base", "abi", "memory", "ports", "kvm/index.ts", "ioctl/index.ts"] },
  // What hosts have in common, without modules of any of them.
  "hosts/shared": { may: ["base", "ports"], packages: ["xz-decompress", "zstddec/stream"] },
  "hosts/node": {
    may: ["base", "ports", "hosts/shared"],
    packages: ["node:*", "koffi"],
    // The public entry: what makes machines of all parts, and the words that its callers need.
    exceptions: { "index.ts": ["hosts/node/machine", "vmm/machine", "engine/bridge/index.ts"] },
  },
  "hosts/node/machine": {
    may: ["base", "ports", "vmm/machine", "engine/bridge/index.ts", "hosts/node", "hosts/sim"],
    // A command begins with it before it loads anything else.
    exceptions: { "early-core.ts": ["engine/bridge/compile-core.ts"] },
    packages: ["node:*"],
  },
  "hosts/browser": { may: ["base", "ports", "hosts/shared"] },
  "hosts/sim": { may: ["base", "ports"] },
  // The page of `kvm-xen web`, and the worker behind it.
  page: {
    may: [
      "base",
      "abi",
      "ports",
      "vmm/machine",
      "engine/bridge/index.ts",
      "hosts/browser",
      "hosts/shared/escape-key.ts",
      "hosts/sim",
      "inspect",
      "trace/index.ts",
      "kvm/index.ts",
    ],
    packages: ["@xterm/*", "uplot", "uplot/*"],
  },
  cli: {
    may: [
      "base",
      "ports",
      "vmm/machine",
      "play/index.ts",
      "exec/index.ts",
      "engine/bridge/index.ts",
      "hosts/node",
      "hosts/shared/escape-key.ts",
      "hosts/sim",
      "trace/index.ts",
      "gdb/index.ts",
      "inspect/index.ts",
    ],
    packages: ["node:*", "commander"],
  },
};

/** What tests may import on top: tools for testing, and the host that they run on. */
const testPackages = ["vitest", "fast-check", "node:*"];
const testLayers = ["hosts/sim", "hosts/shared", "hosts/node", "engine/bridge", "abi"];

/**
 * The layer of a path relative to src/.
 * @param {string} path
 * @param {Record<string, Layer>} table
 */
function layerOf(path, table) {
  const folders = Object.keys(table).filter((layer) => path.startsWith(`${layer}/`));
  return folders.sort((a, b) => b.length - a.length)[0];
}

/**
 * Every module that a source text imports, re-exports or loads, types included.
 * @param {string} text
 */
export function importsOf(text) {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/^\s*\/\/.*$/gm, "");
  const patterns = [
    /\b(?:import|export)\b[^;'"`]*?\bfrom\s*["']([^"']+)["']/g,
    /\bimport\s*["']([^"']+)["']/g,
    /\bimport\s*\(\s*["']([^"']+)["']/g,
  ];
  return patterns.flatMap((pattern) => [...code.matchAll(pattern)].map((match) => match[1] ?? ""));
}

/**
 * @param {string} wanted
 * @param {string[]} allowed
 */
const packageAllowed = (wanted, allowed) =>
  allowed.some((name) =>
    name.endsWith("*") ? wanted.startsWith(name.slice(0, -1)) : wanted === name,
  );

/**
 * Checks one file.
 * @param {string} path relative to src/
 * @param {string} text
 * @param {Record<string, Layer>} [table]
 * @returns {string[]} what is wrong, one line each
 */
export function checkImports(path, text, table = layers) {
  const layer = layerOf(path, table);
  if (layer === undefined)
    return [`src/${path}: its folder is in no layer of tools/check/layers.mjs`];
  const rule = table[layer] ?? { may: [] };
  const isTest = /\.test\.ts$|[.-]fixture\.ts$/.test(path);
  const exceptions = rule.exceptions?.[path.slice(layer.length + 1)] ?? [];
  const may = [...rule.may, ...exceptions, ...(isTest ? testLayers : [])];
  const packages = [...(rule.packages ?? []), ...(isTest ? testPackages : [])];
  const problems = [];
  for (const wanted of importsOf(text)) {
    if (!wanted.startsWith(".")) {
      if (!packageAllowed(wanted, packages))
        problems.push(`src/${path}: ${layer} may not use ${wanted}`);
      continue;
    }
    const target = normalize(join(dirname(path), wanted)).replace(/\.js$/, ".ts");
    const targetLayer = layerOf(target, table);
    const same = targetLayer === layer;
    const listed = may.some((entry) =>
      entry.endsWith(".ts") ? target === entry : `${target}/`.startsWith(`${entry}/`),
    );
    if (!same && !listed) {
      problems.push(
        `src/${path}: ${layer} may not import ${target.startsWith("..") ? wanted : target}`,
      );
    }
  }
  return problems;
}

/** Checks all of src/. */
export function checkLayers() {
  const files = repositoryFiles().filter((path) => /^src\/.*\.ts$/.test(path));
  return files.flatMap((path) =>
    checkImports(path.slice(4), readFileSync(join(root, path), "utf8")),
  );
}
