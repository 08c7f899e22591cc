// @ts-check
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { coverWords } from "../../tools/check/cover.mjs";

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
const cover = coverWords();
const env = {
  ...process.env,
  ...(values.all && { KVM_XEN_MONITORS: "all" }),
  ...(cover && { KVM_XEN_COVERED: "1" }),
};
const command = [process.execPath, vitest, "run", "--config", config, ...positionals];
const [program = "", ...words] = [...(cover ?? []), ...command];
process.exitCode = spawnSync(program, words, { stdio: "inherit", env }).status ?? 1;
