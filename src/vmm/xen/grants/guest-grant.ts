import { PAGE_SIZE } from "../../../base/index.js";
import type { LinearMemory } from "../../../memory/index.js";
import type { GrantMapping } from "../interfaces.js";
import type { GuestPhysmap } from "../overlay.js";
import { LinearPage } from "../shared-page.js";
import type { GrantTable, GrantUse } from "./table.js";

/**
 * A grant in use. The table's entry was read once, when the use began; the frame that it named is looked up again
 * whenever the guest's memory was changed, so a page that the balloon took is not written to.
 */
export class GuestGrant implements GrantMapping {
  readonly #table: GrantTable;
  readonly #physmap: GuestPhysmap;
  readonly #linear: LinearMemory;
  #use: GrantUse | undefined;
  #page: LinearPage | undefined;
  /** Changes of memory that {@link #page} takes into account. */
  #commits = -1;

  constructor(table: GrantTable, use: GrantUse, physmap: GuestPhysmap, linear: LinearMemory) {
    this.#table = table;
    this.#use = use;
    this.#physmap = physmap;
    this.#linear = linear;
  }

  get kept(): GrantUse | undefined {
    return this.#use;
  }

  get page(): LinearPage | undefined {
    if (this.#use === undefined) return undefined;
    const { commits, memory } = this.#physmap;
    if (commits !== this.#commits) {
      this.#commits = commits;
      const at = memory.locate(this.#use.gfn * PAGE_SIZE, PAGE_SIZE);
      this.#page = at === undefined ? undefined : new LinearPage(this.#linear, at);
    }
    return this.#page;
  }

  unmap(): void {
    if (this.#use !== undefined) this.#table.end(this.#use);
    this.#use = undefined;
    this.#page = undefined;
  }
}
