/**
 * Trouble with the world outside the VM: a file, the terminal, an argument. Callers match `code`,
 * which is stable; `message` is one line for people and says what to do.
 */
export class HostError extends Error {
  override readonly name = "HostError";
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The error for a VM that cannot be made: WebAssembly reserves addresses for all that its memory may become. */
export function noAddressesForVm(cause?: unknown): HostError {
  const message =
    "the host does not give this process the addresses for a VM, about 10 GiB (reserved, not used): 'ulimit -v unlimited' helps";
  return new HostError("HOST_MEMORY", message, { cause });
}
