import { HostError } from "./host-error.js";

/** The code of the HostError with which something is refused; undefined when it is not. */
export function codeOf(what: () => unknown): string | undefined {
  try {
    what();
  } catch (error) {
    if (error instanceof HostError) return error.code;
    throw error;
  }
  return undefined;
}
