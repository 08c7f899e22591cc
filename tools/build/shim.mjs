// @ts-check
/**
 * Builds the preload library of `kvm-xen exec` to dist/exec/libkvm-xen-exec.so, and what its server
 * needs in C to dist/exec/libkvm-xen-guard.so, where there is a C compiler for Linux; everything else
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
  for (const [name, library] of Object.entries(libraries)) {
    const folder = join(root, "src/exec", name);
    const sources = readdirSync(folder).filter((file) => file.endsWith(".c"));
    const target = join(root, "dist/exec", library);
    const args = [...flags, "-o", target, ...sources.map((file) => join(folder, file)), "-ldl"];
    const status = spawnSync(compiler, [...args, "-lpthread"], { stdio: "inherit" }).status ?? 1;
    if (status !== 0) return status;
  }
  return 0;
}

process.exit(build());
