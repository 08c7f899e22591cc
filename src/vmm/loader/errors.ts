import { HostError } from "../../base/index.js";

/**
 * Codes of the {@link HostError}s that refuse a kernel, an initial RAM disk, a configuration, or what is asked of a
 * machine.
 * They are stable; the messages are not.
 */
export const LoadErrorCode = {
  NOT_A_KERNEL: "NOT_A_KERNEL",
  NO_PVH_NOTE: "NO_PVH_NOTE",
  KERNEL_DAMAGED: "KERNEL_DAMAGED",
  COMPRESSION_NOT_SUPPORTED: "COMPRESSION_NOT_SUPPORTED",
  INITRD_TOO_LARGE: "INITRD_TOO_LARGE",
  MEMORY_TOO_SMALL: "MEMORY_TOO_SMALL",
  MEMORY_TOO_LARGE: "MEMORY_TOO_LARGE",
  MEMORY_NOT_ALIGNED: "MEMORY_NOT_ALIGNED",
  COMMAND_LINE_TOO_LONG: "COMMAND_LINE_TOO_LONG",
  CPU_COUNT: "CPU_COUNT",
  TOO_MANY_MODULES: "TOO_MANY_MODULES",
  /** What was asked of a machine that does not run any more, or runs already. */
  ENDED: "ENDED",
  RUNNING: "RUNNING",
  /** The guest is suspended, or about to be, when it must not be, or is not when it must. */
  SUSPENDED: "SUSPENDED",
  NOT_SUSPENDED: "NOT_SUSPENDED",
  /** No device has that name, or one has it already. */
  DEVICE_NAME: "DEVICE_NAME",
  /** The device cannot have that size, or has none. */
  DISK_SIZE: "DISK_SIZE",
  /** The guest, or one of its devices, cannot be saved. */
  SNAPSHOT_IMPOSSIBLE: "SNAPSHOT_IMPOSSIBLE",
  /** A machine that is to be restored has not the devices of the snapshot, or they have changed. */
  SNAPSHOT_DEVICES: "SNAPSHOT_DEVICES",
  MEMORY_TARGET: "MEMORY_TARGET",
  CONSOLE_SIZE: "CONSOLE_SIZE",
  /** A command of a machine that does not run yet, or was made without `exec`. */
  NOT_RUNNING: "NOT_RUNNING",
  EXEC_OFF: "EXEC_OFF",
  /** A command's words, variables, folder or time-out make no sense. */
  EXEC_ARGUMENTS: "EXEC_ARGUMENTS",
  /** No agent answers in the guest; it was there and is no more; too many commands wait. */
  EXEC_NO_AGENT: "EXEC_NO_AGENT",
  EXEC_LOST: "EXEC_LOST",
  EXEC_QUEUE: "EXEC_QUEUE",
  /** The command was killed: it took too long, or wrote too much. */
  EXEC_TIMEOUT: "EXEC_TIMEOUT",
  EXEC_OUTPUT: "EXEC_OUTPUT",
  /** The guest has no such program, cannot start it, or cannot go to its folder. */
  NO_PROGRAM: "NO_PROGRAM",
  PROGRAM_REFUSED: "PROGRAM_REFUSED",
  EXEC_FOLDER: "EXEC_FOLDER",
  /** The machine's KVM has only what KVM's binary interface has. */
  KVM_LACKS: "KVM_LACKS",
  /** The host has not enough memory, or addresses. */
  HOST_MEMORY: "HOST_MEMORY",
} as const;
/** One of {@link LoadErrorCode}. */
export type LoadErrorCodeName = keyof typeof LoadErrorCode;

/** Makes the error for a refusal. `message` is one line: what is wrong and what to do. */
export function refuse(code: LoadErrorCodeName, message: string, cause?: unknown): HostError {
  return new HostError(code, message, cause === undefined ? undefined : { cause });
}

/** A size for people: whole MiB, rounded up. */
export const mib = (bytes: number): string => `${Math.ceil(bytes / (1 << 20))} MiB`;
