// @ts-check

/**
 * Linear memories that are used again. A scenario takes a few milliseconds, and a test of the user half less,
 * but a new memory for every virtual machine makes the garbage collector take several times that.
 *
 * @typedef {{ arenaUsed(): number }} Core the engine's exports, as far as they are used here
 * @typedef {{ ARENA: number, END: number }} Layout the engine's, of its memory
 * @typedef {{ initial: number, maximum?: number }} Size
 */

const WASM_PAGE = 65536;
/** Room for a few mebibytes of guest memory beyond the engine's own. */
const MIN_BYTES = 104 << 20;
/** More than one decoded block. */
const BLOCK = 16384;

const { Memory, Instance } = WebAssembly;

export class MemoryPool {
  /** @type {WebAssembly.Memory[]} */
  #free = [];
  /** @type {Map<WebAssembly.Memory, Core | undefined>} */
  #lent = new Map();
  #on = false;
  /** No engine's: memories of tests that stand for a guest's. */
  #plain;
  /** @type {Layout} */
  layout = { ARENA: 0, END: 0 };

  /** @param {boolean} plain whether memories are used without an engine in them */
  constructor(plain) {
    this.#plain = plain;
    const { lend, note } = { lend: this.#lend.bind(this), note: this.#note.bind(this) };
    // Called with `new`, a function that gives an object gives that object.
    Object.assign(WebAssembly, {
      Memory: function memory(/** @type {Size} */ descriptor) {
        return lend(descriptor);
      },
      Instance: function instance(
        /** @type {WebAssembly.Module} */ module,
        /** @type {WebAssembly.Imports} */ imports,
      ) {
        const made = new Instance(module, imports);
        note(imports, made);
        return made;
      },
    });
  }

  /** @param {Size} descriptor */
  #lend(descriptor) {
    if (!this.#on) return new Memory(descriptor);
    if (this.#plain && descriptor.maximum !== undefined) return new Memory(descriptor);
    const least = this.#plain ? 0 : MIN_BYTES / WASM_PAGE;
    const initial = Math.max(descriptor.initial, least);
    const memory = this.#free.pop() ?? new Memory({ ...descriptor, initial });
    this.#lent.set(memory, undefined);
    return memory;
  }

  /** @param {WebAssembly.Imports} imports @param {WebAssembly.Instance} instance */
  #note(imports, instance) {
    const memory = imports["env"]?.["memory"];
    if (!(memory instanceof Memory) || !this.#lent.has(memory)) return;
    // The engine's core is the first; compiled regions follow.
    if (this.#lent.get(memory) !== undefined) return;
    this.#lent.set(memory, /** @type {Core} */ (/** @type {unknown} */ (instance.exports)));
  }

  /** From now on memories are lent. */
  open() {
    this.#on = true;
  }

  /**
   * Takes back what was lent, and makes it zero again where the engine or a client may have written.
   * @param {boolean} passed the case ended well: otherwise something of it may still run
   */
  close(passed) {
    this.#on = false;
    const { ARENA, END } = this.layout;
    for (const [memory, core] of this.#lent) {
      const bytes = new Uint8Array(memory.buffer);
      if (!passed || bytes.length > MIN_BYTES) continue;
      if (this.#plain) bytes.fill(0);
      else if (core === undefined) continue;
      else {
        bytes.fill(0, 0, ARENA + core.arenaUsed() + BLOCK);
        bytes.fill(0, END);
      }
      this.#free.push(memory);
    }
    this.#lent.clear();
  }
}
