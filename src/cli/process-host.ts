import { readFile } from "node:fs/promises";
import { packageFile } from "../hosts/node/package-file.js";
import { listenForSignals } from "../hosts/node/signals.js";
import { clearOutputProcessing } from "../hosts/node/terminal.js";
import type { ProgramHost } from "./program.js";

/** This process, with its terminal, files and clocks, as the commands see it. Machines are loaded when one is wanted. */
export async function processHost(): Promise<ProgramHost> {
  const manifest = JSON.parse(await readFile(packageFile("package.json"), "utf8"));
  return {
    version: (manifest as { version: string }).version,
    input: process.stdin,
    output: process.stdout,
    error: process.stderr,
    listenForSignals,
    passOutput: clearOutputProcessing,
    sinceStartMs: () => process.uptime() * 1000,
    exit: (status) => process.exit(status),
    onExit: (callback) => process.once("exit", callback),
    async loadEngine(decode) {
      const { loadEngine } = await import("../hosts/node/index.js");
      return loadEngine({ decode });
    },
    async createMachine(request, streams) {
      const { createMachine } = await import("./process-machine.js");
      return createMachine(request, streams);
    },
  };
}
