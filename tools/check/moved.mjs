// @ts-check
import { RECORDED, SUITES } from "../../spec/kvm/releases.mjs";
import { dependsOf } from "../debian/packages.mjs";

/**
 * Whether the kernels that were recorded are still the newest of their Debian releases: the reference moves, and
 * somebody has to ask it anew. Nothing fails for that.
 */

/**
 * The version of the kernel that a release has now, as `6.12.117`. @param {string} suite
 * @throws Error when it cannot be found out
 */
export function newestKernel(suite) {
  for (const name of dependsOf(suite, "linux-image-amd64")) {
    const version = /^linux-image-(\d+(?:\.\d+)+)/.exec(name)?.[1];
    if (version !== undefined) return version;
  }
  throw new Error(`linux-image-amd64 of ${suite} names no kernel`);
}

/**
 * One line for each recorded kernel that is not the newest any more, or that could not be looked at.
 * @param {(suite: string) => string} [newest]
 */
export function movedReleases(newest = newestKernel) {
  /** @type {string[]} */
  const lines = [];
  for (const [release, recorded] of Object.entries(RECORDED)) {
    const suite = SUITES[/** @type {keyof typeof RECORDED} */ (/** @type {unknown} */ (release))];
    try {
      const now = newest(suite);
      if (now !== recorded)
        lines.push(
          `LINUX HAS MOVED ON: ${suite} has ${now}, and what is recorded as ${release} is ${recorded}: ask it anew (tests/oracle/README.md)`,
        );
    } catch (error) {
      const [why = ""] = String(error instanceof Error ? error.message : error).split("\n");
      lines.push(`Not looked at: whether ${suite} still has Linux ${recorded} (${why})`);
    }
  }
  return lines;
}
