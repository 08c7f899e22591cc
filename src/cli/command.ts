import { constants } from "node:os";
import { describeFailure } from "./exit-status.js";
import { processHost } from "./process-host.js";
import { runProgram } from "./program.js";

/** As if the signal had ended this, as it ends other programs. */
const BROKEN_PIPE = 128 + constants.signals.SIGPIPE;

/** The command `kvm-xen`. A failure that nobody caught still restores the terminal, by the exit. */
function fail(error: unknown): never {
  // Who reads the output has seen enough: `kvm-xen play FILE | head`.
  if (error instanceof Error && "code" in error && error.code === "EPIPE")
    process.exit(BROKEN_PIPE);
  const { text, status } = describeFailure(error);
  process.stderr.write(`kvm-xen: ${text}\n`);
  process.exit(status);
}

process.on("uncaughtException", fail);
const status = await runProgram(process.argv.slice(2), await processHost());
// Output that is still on its way to a slow reader has to arrive before the process goes.
process.stdout.write("", (error) => {
  const failure = process.stdout.errored ?? error;
  if (failure && status === 0) fail(failure);
  process.exit(status);
});
