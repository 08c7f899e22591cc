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
