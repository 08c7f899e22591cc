import { errnoName } from "../../base/index.js";

/**
 * What KVM refuses a client: the call had no effect beyond what is documented at it, and the
 * kernel would have returned `-errno`. Thrown by the typed methods; never for a fault of this
 * library.
 */
export class KvmError extends Error {
  override readonly name = "KvmError";
  /** Positive number of the kernel's errno. */
  readonly errno: number;

  constructor(errno: number, what: string) {
    super(`${errnoName(errno)}: ${what}`);
    this.errno = errno;
  }
}
