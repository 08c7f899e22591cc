/** A rule of this program that did not hold: a defect here, never the guest's or the user's doing. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/**
 * Stops the VM whose code calls it when `condition` does not hold.
 * @throws InvariantError with `message`.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/**
 * Marks a place that the types say cannot be reached.
 * @throws InvariantError always.
 */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable: ${String(value)}`);
}
