// @ts-check
/**
 * Builds the preload library of `kvm-xen exec` to dist/exec/libkvm-xen-exec.so, what its server
 * needs in C to dist/exec/libkvm-xen-guard.so, and what starts a program to dist/exec/kvm-xen-launch, where there is a C compiler for Linux; everything else
 * works without them.
 *
 *   node tools/build/shim.mjs
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const libraries = { shim: "libkvm-xen-exec.so", guard: "libkvm-xen-guard.so" };
const programs = { launch: "kvm-xen-launch" };
const compiler = process.env["CC"] ?? "gcc";
const flags = ["-O2", "-Wall", "-Wextra", "-std=gnu11"];
const libraryFlags = ["-fvisibility=hidden", "-shared", "-fPIC", "-ldl", "-lpthread"];

/**
 * Builds one file of dist/exec from all sources of a folder.
 * @param {string} name
 * @param {string} target
 * @param {string[]} more
 */
function compile(name, target, more) {
  const folder = join(root, "src/exec", name);
  const sources = readdirSync(folder).filter((file) => file.endsWith(".c"));
  const out = ["-o", join(root, "dist/exec", target)];
  const args = [...flags, ...out, ...sources.map((file) => join(folder, file)), ...more];
  return spawnSync(compiler, args, { stdio: "inherit" }).status ?? 1;
}

function build() {
  if (process.platform !== "linux" || process.arch !== "x64") {
    console.log("kvm-xen exec is left out: it needs Linux on x86-64");
    return 0;
  }
  if (spawnSync(compiler, ["--version"]).status !== 0) {
    console.log("kvm-xen exec is left out: no C compiler here (install gcc and build again)");
    return 0;
  }
  mkdirSync(join(root, "dist/exec"), { recursive: true });
  for (const [name, library] of Object.entries(libraries)) {
    const status = compile(name, library, libraryFlags);
    if (status !== 0) return status;
  }
  for (const [name, program] of Object.entries(programs)) {
    const status = compile(name, program, []);
    if (status !== 0) return status;
  }
  return 0;
}

process.exit(build());
