#!/usr/bin/env node
import { beginCore } from "../hosts/node/machine/early-core.js";
import { commandModule } from "./bundle.js";

/** Commands that run a guest in this thread. */
const WITH_ENGINE = new Set(["run", "start"]);

if (WITH_ENGINE.has(process.argv[2] ?? "")) beginCore();
// Everything else is loaded from here, many files at once: where few may be open, that is what fails.
try {
  await import(commandModule());
} catch (error) {
  if (!(error instanceof Error && "code" in error && error.code === "EMFILE")) throw error;
  process.stderr.write("kvm-xen: too few files may be open at once: 'ulimit -n 256' helps\n");
  process.exitCode = 1;
}
