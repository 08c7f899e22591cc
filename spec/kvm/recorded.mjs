// @ts-check
/** Reads recorded.txt: what Linux answered to record.c. */
import { readFileSync } from "node:fs";

/**
 * Three answers: of /dev/kvm, a VM, a vCPU.
 * @typedef {[number, number, number]} Answers
 * @typedef {{ request: number, unmapped: Answers, zeros: Answers, irqchip: Answers }} IoctlAnswers
 */

/** @param {string[]} words @returns {Answers} */
const three = (words) => [Number(words[0]), Number(words[1]), Number(words[2])];

/**
 * Capabilities by number ([of /dev/kvm, of a VM]) and ioctls by name.
 * @param {import("./releases.mjs").Release} [release] another one than the default: recorded-RELEASE.txt has the lines
 *   that differ
 */
export function recorded(release = 6.12) {
  /** @type {Map<number, [number, number]>} */
  const caps = new Map();
  /** @type {Map<string, IoctlAnswers>} */
  const ioctls = new Map();
  const read = (/** @type {string} */ name) => readFileSync(new URL(name, import.meta.url), "utf8");
  const text = read("recorded.txt") + (release === 6.12 ? "" : read(`recorded-${release}.txt`));
  for (const line of text.trimEnd().split("\n")) {
    const [kind, name = "", ...rest] = line.split(" ");
    if (kind === "cap") caps.set(Number(name), [Number(rest[0]), Number(rest[1])]);
    else {
      const request = Number.parseInt(rest[0] ?? "", 16);
      const [unmapped, zeros, irqchip] = [2, 6, 10].map((at) => three(rest.slice(at, at + 3)));
      if (!unmapped || !zeros || !irqchip) throw new Error(`recorded.txt: ${line}`);
      ioctls.set(name, { request, unmapped, zeros, irqchip });
    }
  }
  return { caps, ioctls };
}
