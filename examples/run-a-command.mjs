// @ts-check
/**
 * Runs a command in a fresh guest, with this program's standard input, and ends with the command's status.
 *   node examples/run-a-command.mjs sh -c 'tr a-z A-Z; exit 3' <README.md
 */
import { createMachine, debianGuest } from "kvm-xen/hosts/node";

const argv = process.argv.slice(2);
const command = argv.length > 0 ? argv : ["sh", "-c", "uname -sr; echo done"];

const machine = await createMachine({ ...(await debianGuest()) });
const ended = machine.run();
const { status } = await machine.exec(command, {
  stdin: argv.length > 0 ? process.stdin : "",
  timeout: 120_000,
  onStdout: (bytes) => process.stdout.write(bytes),
  onStderr: (bytes) => process.stderr.write(bytes),
});
machine.requestShutdown("poweroff");
await ended;
process.exitCode = status;
