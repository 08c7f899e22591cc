// @ts-check
/**
 * Builds the agent of Machine.exec() to dist/guest/kvm-xen-agent, one static file for any Linux guest on x86-64, where
 * there is a C compiler for Linux; everything else works without it.
 *
 *   node tools/build/agent.mjs
 */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const compiler = process.env["CC"] ?? "gcc";
// It has no C library, and is the same file each time it is built.
const flags = [
  ...["-Os", "-Wall", "-Wextra", "-std=gnu11", "-ffreestanding", "-fno-builtin"],
  ...[
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fno-pic",
    "-fcf-protection=none",
  ],
  ...["-static", "-nostdlib", "-no-pie", "-s", "-Wl,--build-id=none", "-Wl,-z,norelro"],
];

function build() {
  if (process.platform !== "linux" || process.arch !== "x64") {
    console.log("the guest's agent is left out: building it needs Linux on x86-64");
    return 0;
  }
  if (spawnSync(compiler, ["--version"]).status !== 0) {
    console.log("the guest's agent is left out: no C compiler here (install gcc and build again)");
    return 0;
  }
  mkdirSync(join(root, "dist/guest"), { recursive: true });
  const out = join(root, "dist/guest/kvm-xen-agent");
  const args = [...flags, "-o", out, join(root, "guest/agent/agent.c")];
  return spawnSync(compiler, args, { stdio: "inherit" }).status ?? 1;
}

process.exit(build());
