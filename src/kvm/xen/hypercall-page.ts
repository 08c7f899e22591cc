import { Efer } from "../../abi/x86/index.js";
import { PAGE_SIZE } from "../../base/index.js";
import type { Domain } from "./domain.js";
import type { VcpuDomain } from "./vcpu-domain.js";
import { writeWallclock } from "./wallclock.js";

const ENTRY_SIZE = 32;

/** `mov $number, %eax; vmmcall; ret`, the rest int3: 128 entries of 32 bytes. */
function hypercallPage(): Uint8Array {
  const page = new Uint8Array(PAGE_SIZE).fill(0xcc);
  const view = new DataView(page.buffer);
  for (let number = 0; number < PAGE_SIZE / ENTRY_SIZE; number++) {
    const at = number * ENTRY_SIZE;
    page[at] = 0xb8;
    view.setUint32(at + 1, number, true);
    page.set([0x0f, 0x01, 0xd9, 0xc3], at + 5);
  }
  return page;
}

/**
 * A write to the hypercall page MSR: the mode of the domain becomes that of the writing vCPU (LMA,
 * not CS.L), and the page is filled, from the client's blob when hypercalls are not intercepted.
 * @returns false for #GP; the mode may have changed all the same.
 */
export function writeHypercallPage(domain: Domain, vcpu: VcpuDomain, value: bigint): boolean {
  const longMode = (vcpu.host.engine.efer & Efer.LMA) !== 0n;
  if (domain.longMode !== longMode) {
    domain.longMode = longMode;
    if (domain.sharedInfo.active && writeWallclock(domain) !== undefined) return false;
  }
  const number = Number(value & 0xfffn);
  const address = value & ~0xfffn;
  const page = domain.hypercallsEnabled
    ? number === 0
      ? hypercallPage()
      : undefined
    : blobPage(domain, longMode, number);
  if (page === undefined || address >> 52n !== 0n) return false;
  return domain.host.access.write(Number(address), page);
}

function blobPage(domain: Domain, longMode: boolean, number: number): Uint8Array | undefined {
  const { blobs } = domain;
  if (number >= (longMode ? blobs.size64 : blobs.size32)) return undefined;
  const base = longMode ? blobs.addr64 : blobs.addr32;
  const at = Number(base) + number * PAGE_SIZE;
  const { linear } = domain.host.slots;
  return linear.contains(at, PAGE_SIZE) ? linear.u8.slice(at, at + PAGE_SIZE) : undefined;
}
