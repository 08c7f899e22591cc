// @ts-check
/**
 * Makes the API reference, build/reference/index.html, of the comments in the sources, and prints each export that has
 * none. TypeDoc and the TypeScript that it needs are those of this folder, installed by tests/package.
 *
 *   node tools/package/reference.mjs
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const typedoc = join(here, "../../build/package-tools/node_modules/typedoc/bin/typedoc");
const args = [typedoc, "--options", "typedoc.json", "--tsconfig", "tsconfig.json"];
const env = { ...process.env, NO_COLOR: "1" };
const { stdout, stderr, error } = spawnSync(process.execPath, args, {
  cwd: here,
  encoding: "utf8",
  env,
});
if (error !== undefined) throw error;
const said = `${stdout}${stderr}`;

/**
 * An export that has no comment: "kvm.Vcpu". Members of exports are another matter, and the numbers of ioctls have
 * their names from Linux's header, and its documentation.
 * @param {string} line
 */
function undocumented(line) {
  const [, name = ""] =
    /\[warning\] (\S+) \(\w+\), defined in .* does not have any doc/.exec(line) ?? [];
  return /^[\w/]+\.\w+$/.test(name) && !/^kvm\.KVM_[A-Z0-9_]+$/.test(name) ? [name] : [];
}

const missing = said.split("\n").flatMap(undocumented);
for (const name of missing) console.log(`${name} has no comment`);
const errors = said.split("\n").filter((line) => line.includes("[error]"));
for (const line of errors) console.log(line);
if (!/Found 0 errors/.test(said))
  console.log(`typedoc did not end as expected: ${said.slice(-500)}`);
process.exitCode = missing.length + errors.length === 0 ? 0 : 1;
