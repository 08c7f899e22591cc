/** The engine of this package, from its file. */
import { readFile } from "node:fs/promises";
import { HostError } from "../../../base/index.js";
import { Engine, type EngineOptions } from "../../../engine/bridge/index.js";
import { begunCore, corePath } from "./early-core.js";

/**
 * Compiles the engine that comes with this package. One is enough for a process: every machine gets an instance with
 * a memory of its own.
 * @throws HostError NOT_BUILT when its file is not there.
 */
export async function loadEngine(options: EngineOptions = {}): Promise<Engine> {
  const begun = await begunCore();
  if (begun !== undefined) return Engine.of(begun, options);
  const path = corePath();
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new HostError("NOT_BUILT", `${path} is missing: run 'npm run build'`, { cause });
  });
  return Engine.compile(bytes, options);
}
