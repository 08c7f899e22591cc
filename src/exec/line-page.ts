import type { KvmFile } from "../ioctl/index.js";
import type { PageLocation, RunPages } from "./run-pages.js";
import { vm_lines } from "./shim-structures.js";

const SIZE = vm_lines.size;
const HANDLE = vm_lines.offset("handle");
const SKIPPED = vm_lines.offset("skipped");
const ANSWERS = vm_lines.offset("answers");

/**
 * VMs of a process whose interrupt lines are in its page; a page has no room for more.
 * @limit client | VMs of a process whose lines need not ask the server when they are low already | VMs | those of others
 *   ask
 */
const MAX_VMS = 16;

/** Calls that the process answered by itself. */
export interface Skipped {
  readonly irqLine: number;
  readonly irqLineStatus: number;
}

/**
 * A page that a client reads instead of asking, for each of its VMs the answers to KVM_IRQ_LINE that lowers a line which is
 * low. The client counts there how often it did.
 */
export class LinePage {
  readonly #pages: RunPages;
  #page: Uint8Array | undefined;
  readonly #vms = new Map<number, { readonly place: number; readonly file: KvmFile }>();
  readonly #onSkipped: (skipped: Skipped) => void;

  constructor(pages: RunPages, onSkipped: (skipped: Skipped) => void) {
    this.#pages = pages;
    this.#onSkipped = onSkipped;
  }

  /** Where the page is that has the lines of a VM from now on; undefined: they are in none. */
  open(handle: number, file: KvmFile): PageLocation | undefined {
    if (file.lowLines === undefined || this.#vms.size >= MAX_VMS) return undefined;
    try {
      this.#page ??= this.#pages.allocateOwn(MAX_VMS * SIZE);
    } catch {
      return undefined;
    }
    const page = this.#page;
    if (!this.#vms.has(handle)) {
      const taken = new Set([...this.#vms.values()].map(({ place }) => place));
      let place = 0;
      while (taken.has(place)) place++;
      const at = place * SIZE;
      page.fill(0, at, at + SIZE);
      file.lowLines(page.subarray(at + ANSWERS, at + SIZE));
      new DataView(page.buffer, page.byteOffset).setUint32(at + HANDLE, handle, true);
      this.#vms.set(handle, { place, file });
    }
    return this.#pages.locate(page);
  }

  /** A VM is gone, or asks no more. */
  close(handle: number): void {
    const vm = this.#vms.get(handle);
    const page = this.#page;
    if (vm === undefined || page === undefined) return;
    this.#vms.delete(handle);
    const view = new DataView(page.buffer, page.byteOffset + vm.place * SIZE, SIZE);
    view.setUint32(HANDLE, 0, true);
    vm.file.lowLines?.(undefined);
    const [irqLine, irqLineStatus] = [0, 4].map((at) => view.getUint32(SKIPPED + at, true));
    this.#onSkipped({ irqLine: irqLine ?? 0, irqLineStatus: irqLineStatus ?? 0 });
  }
}
