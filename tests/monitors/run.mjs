// @ts-check
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

/**
 * `npm run test:monitors [-- --all] [-- NAME...]`: real virtual machine monitors under `kvm-xen exec`; `--all`
 * runs the full matrix, names choose test files.
 */
const { values, positionals } = parseArgs({
  options: { all: { type: "boolean" } },
  allowPositionals: true,
});
const vitest = new URL("../../node_modules/vitest/vitest.mjs", import.meta.url).pathname;
const config = new URL("vitest.config.ts", import.meta.url).pathname;
const env = { ...process.env, ...(values.all && { KVM_XEN_MONITORS: "all" }) };
const args = [vitest, "run", "--config", config, ...positionals];
process.exitCode = spawnSync(process.execPath, args, { stdio: "inherit", env }).status ?? 1;
