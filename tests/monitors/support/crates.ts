import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unpackPackages } from "../../../tools/debian/packages.mjs";
import { unpacked } from "./packages.js";

/** The sources of kvm-ioctls, the crate through which monitors written in Rust use KVM, and what it needs. */
const SOURCES = ["kvm-ioctls", "kvm-bindings", "vmm-sys-util", "libc", "bitflags", "bitflags-1"];

/** The unit tests of Debian's kvm-ioctls, built by cargo without the network: the path of the program. */
export async function kvmIoctlsTests(): Promise<string> {
  const root = await unpacked("monitors-kvm-ioctls", (folder) => {
    const names = [...SOURCES, "byteorder"].map((name) => `librust-${name}-dev`);
    unpackPackages("trixie", names, folder);
    const registry = join(folder, "usr/share/cargo/registry");
    const found = readdirSync(registry).find((name) => name.startsWith("kvm-ioctls-"));
    if (found === undefined) throw new Error("the package has no kvm-ioctls");
    const crate = join(folder, "crate");
    cpSync(join(registry, found), crate, { recursive: true });
    mkdirSync(join(crate, ".cargo"), { recursive: true });
    const sources = `[source.crates-io]\nreplace-with = "debian"\n[source.debian]\ndirectory = "${registry}"\n`;
    writeFileSync(join(crate, ".cargo/config.toml"), sources);
    copyFileSync(build(crate), join(folder, "kvm-ioctls-tests"));
  });
  return join(root, "kvm-ioctls-tests");
}

/** Builds the unit tests of a crate. @throws Error with what cargo says */
function build(crate: string): string {
  const words = ["test", "--no-run", "--lib", "--offline", "--message-format=json"];
  const env = { ...process.env, CARGO_HOME: join(crate, "home"), CARGO_TARGET_DIR: "target" };
  const result = spawnSync("cargo", words, { cwd: crate, env, encoding: "utf8" });
  const built = /"executable":"([^"]+)"/.exec(result.stdout ?? "")?.[1];
  if (result.status !== 0 || built === undefined) {
    throw new Error(`cargo test: ${result.error?.message ?? result.stderr.slice(-2000)}`);
  }
  return built;
}
