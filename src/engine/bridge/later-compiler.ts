import type { LinearMemory } from "../../memory/index.js";
import { stopSampling } from "../jit/settings.js";
import { JitWord } from "./state.gen.js";

/**
 * Stands where the compiler will be. What the core writes down stays in its log until the compiler is there; a full one takes no
 * more, and blocks that are hot come again.
 */
export class LaterCompiler {
  readonly #linear: Pick<LinearMemory, "view">;
  readonly #load: () => Promise<void>;
  #asked = false;

  /** `load` puts the compiler in its place. */
  constructor(linear: Pick<LinearMemory, "view">, load: () => Promise<void>) {
    this.#linear = linear;
    this.#load = load;
  }

  /** Has it loaded once there is something to compile. */
  compileHot(): void {
    if (this.#asked || this.#linear.view.getUint32(JitWord.LOG_COUNT, true) === 0) return;
    this.#asked = true;
    // Whatever it is: what is not compiled is interpreted.
    this.#load().catch(() => stopSampling(this.#linear.view));
  }
}
