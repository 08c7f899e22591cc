import { InvalidArgumentError } from "commander";
import { MAX_CPUS } from "../vmm/machine/config.js";

const scale: Record<string, number> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/**
 * Reads an amount of memory such as `256M` or `1.5G`; the units are powers of 1024.
 * @returns bytes, a whole number.
 * @throws InvalidArgumentError for anything else, a number without a unit included.
 */
export function parseMemory(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMGT])(?:i?B)?$/i.exec(text);
  const bytes = Number(match?.[1]) * (scale[(match?.[2] ?? "").toUpperCase()] ?? Number.NaN);
  if (!Number.isInteger(bytes) || bytes <= 0) {
    throw new InvalidArgumentError("Give an amount with its unit, such as 256M or 1G.");
  }
  return bytes;
}

/** Reads a count of CPUs, 1 or more. @throws InvalidArgumentError */
export function parseCpus(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < 1) {
    throw new InvalidArgumentError(`Give a whole number, 1 to ${MAX_CPUS}.`);
  }
  return count;
}

/**
 * A timer of the host counts milliseconds in 31 bits.
 * @limit user | --timeout | seconds | it is refused, status 1
 */
const MAX_SECONDS = 2_000_000;

/** Reads a positive number of seconds, decimals allowed. @throws InvalidArgumentError */
export function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || seconds <= 0 || seconds > MAX_SECONDS) {
    throw new InvalidArgumentError("Give a number of seconds above 0, such as 30.");
  }
  return seconds;
}

/** The highest number of a TCP port. @nolimit the protocol has 16 bits for it */
const MAX_PORT = 65535;

/** Reads the number of a TCP port; 0 takes a free one. @throws InvalidArgumentError */
export function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > MAX_PORT) {
    throw new InvalidArgumentError(`Give a whole number, 0 to ${MAX_PORT}.`);
  }
  return port;
}
