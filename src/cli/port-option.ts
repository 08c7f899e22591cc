/** `--port hvcN=FILE|unix:PATH`. */
import { HostError } from "../base/index.js";
import type { PortOption } from "../hosts/node/index.js";

/** Reads one `--port`. @throws HostError USAGE when it makes no sense. */
function parsePort(text: string): PortOption {
  const [, digit, target = ""] = /^hvc([1-7])=(.+)$/s.exec(text) ?? [];
  const socket = target.startsWith("unix:") ? target.slice(5) : undefined;
  if (digit === undefined || socket === "") {
    const message = `--port ${text} makes no sense: hvc1=FILE and hvc1=unix:PATH are two, hvc7 is the last`;
    throw new HostError("USAGE", message);
  }
  const number = Number(digit);
  return socket === undefined ? { number, file: target } : { number, socket };
}

/**
 * Reads all of a command line.
 * @throws HostError USAGE, also for one that is there twice, or a gap: Linux counts its consoles as they come.
 */
export function parsePorts(texts: readonly string[]): PortOption[] {
  const ports = texts.map(parsePort).toSorted((one, other) => one.number - other.number);
  for (const [index, { number }] of ports.entries()) {
    if (number === index + 1) continue;
    const isTwice = number === ports[index - 1]?.number;
    const message = isTwice
      ? `--port hvc${number} is there twice`
      : `--port hvc${number} needs hvc${index + 1}, too: Linux counts its consoles as they come`;
    throw new HostError("USAGE", message);
  }
  return ports;
}
