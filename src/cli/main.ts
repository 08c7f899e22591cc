#!/usr/bin/env node

// Everything else is loaded from here, many files at once: where few may be open, that is what fails.
try {
  await import("./command.js");
} catch (error) {
  if (!(error instanceof Error && "code" in error && error.code === "EMFILE")) throw error;
  process.stderr.write("kvm-xen: too few files may be open at once: 'ulimit -n 256' helps\n");
  process.exitCode = 1;
}
