/**
 * Koffi, which calls functions of C, without its package: that has a script which npm warns of when it is installed.
 * The packages of its compiled halves have none, and are all that it needs here; its types come from the package.
 */
import { createRequire } from "node:module";
import type Koffi from "koffi";
import { HostError } from "../../base/index.js";

export type { LibraryHandle } from "koffi";

const require = createRequire(import.meta.url);

function load(): typeof Koffi {
  const name = `@koromix/koffi-${process.platform}-${process.arch}`;
  try {
    return require(name) as typeof Koffi;
  } catch (cause) {
    const message = `the optional package ${name} is missing: install kvm-xen again without --omit=optional`;
    throw new HostError("NOT_BUILT", message, { cause });
  }
}

/** As `import koffi from "koffi"` gives it. */
export const koffi = load();
