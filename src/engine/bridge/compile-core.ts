/**
 * Compiles the core and has V8 compile its hot loop well. Of its own, without imports: a command begins with it before it loads
 * anything else.
 */

/** Enough for the words of a vCPU and for static data. @nolimit no guest is there */
const WARM_PAGES = 8;

/** Compiles the core from the bytes of `core.wasm`. */
export function compileCore(bytes: Uint8Array): Promise<WebAssembly.Module> {
  return WebAssembly.compile(bytes as Uint8Array<ArrayBuffer>);
}

/** Has V8 compile the hot loop well, in another thread: see core/warm.ts. All instances share its code. */
export function warmCore(module: WebAssembly.Module): void {
  const memory = memoryToWarm();
  if (memory === undefined) return;
  const env = { memory, abort: () => 0, hostClockNs: () => 0, hostBackSlot: () => 0 };
  const { exports } = new WebAssembly.Instance(module, { env });
  const warm = exports["warm"] as () => number;
  if (warm() === 0) throw new Error("engine: the hot loop is not left for a region");
}

/** Undefined where there are too few addresses: the VM has to say so, which wants as many. */
function memoryToWarm(): WebAssembly.Memory | undefined {
  try {
    return new WebAssembly.Memory({ initial: WARM_PAGES });
  } catch {
    return undefined;
  }
}
