// @ts-check
/**
 * Builds the preload library of `kvm-xen exec` to dist/exec/libkvm-xen-exec.so, where there is a C
 * compiler for Linux; everything else works without it.
 *
 *   node tools/build/shim.mjs
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = join(root, "src/exec/shim");
const target = join(root, "dist/exec/libkvm-xen-exec.so");
const compiler = process.env["CC"] ?? "gcc";
const flags = ["-O2", "-Wall", "-Wextra", "-std=gnu11", "-fvisibility=hidden", "-shared", "-fPIC"];

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
  const sources = readdirSync(folder).filter((name) => name.endsWith(".c"));
  const args = [...flags, "-o", target, ...sources.map((name) => join(folder, name)), "-ldl"];
  return spawnSync(compiler, [...args, "-lpthread"], { stdio: "inherit" }).status ?? 1;
}

process.exit(build());
