import { readFile } from "node:fs/promises";
import { compileCore, warmCore } from "../../../engine/bridge/compile-core.js";
import { packageFile } from "../package-file.js";

/**
 * The engine's core, which a command compiles before it loads what it is made of: V8 needs a quarter of a second of another
 * thread for the hot loop, as long as a command takes to its guest's first instruction.
 */

let begun: Promise<WebAssembly.Module> | undefined;

/** Where the core is. */
export const corePath = (): string => packageFile("dist/engine/core.wasm");

/** Begins to compile the core. Whatever is wrong is said when it is wanted. */
export function beginCore(): void {
  begun ??= begin();
  begun.catch(() => undefined);
}

async function begin(): Promise<WebAssembly.Module> {
  const module = await compileCore(await readFile(corePath()));
  warmCore(module);
  return module;
}

/** What beginCore() has begun: undefined when it has not, or the core cannot be compiled. */
export async function begunCore(): Promise<WebAssembly.Module | undefined> {
  return begun?.catch(() => undefined);
}
