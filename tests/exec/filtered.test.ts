import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { compile, exec } from "./support.js";

const program = compile("filtered");
const library = fileURLToPath(new URL("../../dist/exec/libkvm-xen-exec.so", import.meta.url));

/** The function that a name of libc means: some have several, for large files and for older programs. */
const plain = (name: string): string =>
  name
    .replace(/^__([fl]?)x(stat)/, "$1$2")
    .replace(/^__(open|openat)(64)?_2$/, "$1")
    .replace(/^__(p?read)(64)?_chk$/, "$1")
    .replace(/64v2$/, "2")
    .replace(/^euidaccess$/, "eaccess")
    .replace(/64$/, "");

it("a process with a filter that has nothing to do with KVM makes no other system calls than without exec", async () => {
  const expected = execFileSync(program, [program], { encoding: "utf8" });
  const ended = await exec("--", program, program);
  expect(ended).toMatchObject({ status: 0, stdout: expected, stderr: "" });
  // Every function that the library replaces is there, and allowed in one way at least.
  const allowed = new Set(expected.match(/^\w+(?=.*: ok$)/gm));
  const symbols = execFileSync("nm", ["-D", "--defined-only", library], { encoding: "utf8" });
  const replaced = [...symbols.matchAll(/ [TW] (\w+)$/gm)].map(([, name = ""]) => plain(name));
  expect(replaced.length).toBeGreaterThan(40);
  expect(replaced.filter((name) => !allowed.has(name))).toEqual([]);
});
