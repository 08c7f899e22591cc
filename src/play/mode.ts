import { KVM_GET_SREGS, KVM_SET_SREGS, kvm_sregs } from "../kvm/index.js";
import type { Client, VcpuPlace } from "./client.js";
import { answer, either } from "./format.js";

const GDT = 0x7f000n;
const PML4 = 0x80000n;
const PDPT = 0x81000n;
/** Four page directories, one after the other. */
const DIRECTORIES = 0x82000n;
const PAGE = 4096n;

/** Present, writable, for the user too; with the second, a page of 2 MiB. */
const TABLE = 0x7n;
const LARGE_PAGE = 0x87n;

function quads(values: readonly bigint[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) view.setBigUint64(i * 8, value, true);
  return bytes;
}

function writeTables(client: Client): void {
  const store = (gpa: bigint, values: readonly bigint[]) =>
    client.store(client.addressOf(gpa), quads(values));
  store(PML4, [PDPT | TABLE]);
  for (let gib = 0n; gib < 4n; gib++) {
    const directory = DIRECTORIES + gib * PAGE;
    const pages = Array.from({ length: 512 }, (_, i) => (gib * 512n + BigInt(i)) << 21n);
    store(PDPT + gib * 8n, [directory | TABLE]);
    store(
      directory,
      pages.map((page) => page | LARGE_PAGE),
    );
  }
}

/**
 * Flat segments with a matching GDT at 0x7f000. 64-bit: the first 4 GiB are identity-mapped by
 * pages of 2 MiB, with tables at 0x80000. "compat": the same with a 32-bit code segment. 32-bit: paging
 * is off.
 */
export function modeStep(
  client: Client,
  vcpu: VcpuPlace,
  mode: 32 | 64 | "compat",
  cpl: 0 | 3,
): string {
  const bytes = new Uint8Array(kvm_sregs.size);
  const got = client.callWith(vcpu.fd, KVM_GET_SREGS, bytes);
  const code = {
    base: 0n,
    limit: 0xffffffff,
    selector: 8 | cpl,
    type: 11,
    present: 1,
    dpl: cpl,
    db: mode === 64 ? 0 : 1,
    s: 1,
    l: mode === 64 ? 1 : 0,
    g: 1,
  };
  const data = { ...code, type: 3, l: 0, db: 1, selector: 16 | cpl };
  const dpl = BigInt(cpl) << 45n;
  const codeDescriptor = mode === 64 ? 0x00af9b000000ffffn : 0x00cf9b000000ffffn;
  client.store(client.addressOf(GDT), quads([0n, codeDescriptor | dpl, 0x00cf93000000ffffn | dpl]));
  if (mode !== 32) writeTables(client);
  const control =
    mode !== 32
      ? { cr0: 0x80050033n, cr3: PML4, cr4: 0x220n, efer: 0x500n }
      : { cr0: 0x11n, cr3: 0n, cr4: 0n, efer: 0n };
  const sregs = {
    ...kvm_sregs.decode(bytes),
    ...{ cs: code, ds: data, es: data, ss: data, fs: data, gs: data },
    gdt: { base: GDT, limit: 23 },
    ...control,
  };
  return answer(either(got, client.callWith(vcpu.fd, KVM_SET_SREGS, kvm_sregs.encode(sregs))));
}

/** Real mode with all segments at 0. */
export function mode16Step(client: Client, vcpu: VcpuPlace): string {
  const bytes = new Uint8Array(kvm_sregs.size);
  const got = client.callWith(vcpu.fd, KVM_GET_SREGS, bytes);
  if (got !== 0) return answer(got);
  const code = { base: 0n, limit: 0xffff, selector: 0, type: 11, present: 1, s: 1 };
  const data = { ...code, type: 3 };
  const sregs = kvm_sregs.encode({
    ...kvm_sregs.decode(bytes),
    ...{ cs: code, ds: data, es: data, ss: data, fs: data, gs: data },
    ...{ cr0: 0x10n, cr3: 0n, cr4: 0n, efer: 0n },
  });
  return answer(client.callWith(vcpu.fd, KVM_SET_SREGS, sregs));
}
