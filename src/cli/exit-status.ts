import type { HostError } from "../base/index.js";
import { hostTrouble } from "./host-trouble.js";

/** Exit statuses of the command. A process ended by a signal exits with 128 + its number. */
export const ExitStatus = {
  /** The guest powered off, or the person left. */
  OK: 0,
  /** The guest crashed, the command line makes no sense, the host lacks something, or a defect. */
  FAILED: 1,
  /** A file cannot be used: missing, not a kernel, too large for the memory. */
  FILE: 2,
  /** `--timeout` is over. */
  TIMEOUT: 124,
  /** `exec`: the program cannot be started; there is none of that name. As shells have it. */
  PROGRAM_REFUSED: 126,
  NO_PROGRAM: 127,
} as const;

/** Refusals that are not about a file: of the command line, and troubles of the host. */
const otherCodes = new Set([
  "USAGE",
  "MEMORY_TOO_LARGE",
  "MEMORY_NOT_ALIGNED",
  "COMMAND_LINE_TOO_LONG",
  "CPU_COUNT",
  "DISK_NAME",
  "SOCKET_UNUSABLE",
  "TOOL_MISSING",
  "PORT_UNUSABLE",
  "IMAGE_SIZE",
  "IMAGE_FAILED",
  "NET_CARDS",
  "MAC_ADDRESS",
  "NO_LIBSLIRP",
  "NET_UNUSABLE",
  "TOO_MANY_MODULES",
  "DISK_FULL",
  "FILE_SIZE_LIMIT",
  "READ_ONLY",
  "TOO_FEW_FILES",
  "TOO_FEW_THREADS",
  "HOST_MEMORY",
  "SNAPSHOT_DEVICES",
  "SNAPSHOT_IMPOSSIBLE",
  "IO_ERROR",
  "NO_CURRENT_FOLDER",
  "NO_WEBASSEMBLY",
  "EXEC_NO_AGENT",
  "EXEC_LOST",
  "CONSOLE_NUMBER",
]);

/** The option that helps against a refusal, for the codes where one does. */
const optionFor: Record<string, string> = {
  INITRD_TOO_LARGE: "--memory",
  MEMORY_TOO_SMALL: "--memory",
  MEMORY_TOO_LARGE: "--memory",
  MEMORY_NOT_ALIGNED: "--memory",
  COMMAND_LINE_TOO_LONG: "--append",
  CPU_COUNT: "--cpus",
  TOO_MANY_MODULES: "--initrd",
  DISK_NAME: "--disk",
  IMAGE_SIZE: "--size",
  SOCKET_UNUSABLE: "--control",
  PORT_UNUSABLE: "--port",
  NET_CARDS: "--net",
  MAC_ADDRESS: "--net",
};

/** The exit status for something that was refused. */
export function statusOfRefusal(refusal: HostError): number {
  if (refusal.code === "NO_PROGRAM") return ExitStatus.NO_PROGRAM;
  if (refusal.code === "PROGRAM_REFUSED") return ExitStatus.PROGRAM_REFUSED;
  return otherCodes.has(refusal.code) ? ExitStatus.FAILED : ExitStatus.FILE;
}

/**
 * What to print for an error that ends the command, and with which status: one line for a refusal;
 * everything for a defect, since only that helps whoever looks for it.
 */
export function describeFailure(error: unknown): { text: string; status: number } {
  const trouble = hostTrouble(error);
  if (trouble !== undefined) {
    const line = trouble.message.replaceAll(/\s*\n\s*/g, " ");
    const option = optionFor[trouble.code];
    return { text: option ? `${line} (${option})` : line, status: statusOfRefusal(trouble) };
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { text: `this is a defect of kvm-xen, please report it: ${text}`, status: 1 };
}
