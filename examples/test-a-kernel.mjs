// @ts-check
/**
 * Whether a kernel boots, for continuous integration: the exit status is 0 when a line came in time.
 *   node examples/test-a-kernel.mjs [KERNEL [INITRD [PATTERN]]]
 * Without arguments it is the guest that comes with the package.
 */
import { createMachine, TextConsole } from "kvm-xen/hosts/node";

const [kernel, initrd, pattern = "event on port|Run .* as init process"] = process.argv.slice(2);
const SECONDS = 120;

const screen = new TextConsole((text) => process.stdout.write(text));
const machine = await createMachine({
  ...(kernel === undefined ? {} : { kernel }),
  ...(initrd === undefined ? {} : { initrd }),
  commandLine: "panic=-1",
  cpus: 2,
  console: screen,
});
const timer = setTimeout(() => machine.stop("timeout"), SECONDS * 1000);
const found = screen.waitFor(new RegExp(pattern)).then(() => "came");
const end = machine.run().then(({ kind }) => `did not come: the guest ended (${kind})`);
const outcome = await Promise.race([found, end]);
machine.stop();
await end;
clearTimeout(timer);
console.log(`\n/${pattern}/ ${outcome}`);
process.exitCode = outcome === "came" ? 0 : 1;
