// @ts-check
/** What the attacks need of the library, from a build of it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/**
 * Loads the library.
 * @param {string} directory the build, as a rule `dist`
 * @returns {Promise<import("./types.js").Library>}
 */
export async function loadLibrary(directory) {
  const load = (/** @type {string} */ file) => import(pathToFileURL(join(directory, file)).href);
  const modules = await Promise.all(
    [
      "kvm/index.js",
      "engine/bridge/index.js",
      "hosts/sim/index.js",
      "vmm/xen/domain.js",
      "vmm/xen/hypercalls/dispatch.js",
      "vmm/xen/overlay.js",
      "vmm/machine/layout.js",
      "ioctl/index.js",
      "base/index.js",
      "hosts/node/decompress-here.js",
      "play/index.js",
      "vmm/loader/boot.js",
      "vmm/loader/kernel.js",
      "vmm/machine/index.js",
    ].map(load),
  );
  const library = Object.assign({}, ...modules);
  const core = readFileSync(join(directory, "engine/core.wasm"));
  return { ...library, engine: await library.Engine.compile(core) };
}
