/** The variable-length arguments of `linux/kvm.h`: a head with a count, then that many elements. */
import {
  type CpuidEntry2,
  KvmLimit,
  type KvmMsrEntry,
  kvm_cpuid,
  kvm_cpuid_entry,
  kvm_cpuid_entry2,
  kvm_cpuid2,
  kvm_irq_routing,
  kvm_irq_routing_entry,
  kvm_msr_entry,
  kvm_msr_list,
  kvm_msrs,
} from "../kvm/index.js";
import { type Argument, refuse } from "./argument.js";

/**
 * MSRs in one call must be fewer (`MAX_IO_MSRS`).
 * @limit client | MSRs in one KVM_GET_MSRS or KVM_SET_MSRS (fewer) | MSRs | E2BIG, as Linux
 */
const MAX_IO_MSRS = 256;

interface ElementCodec<T, I> {
  readonly size: number;
  read(view: DataView, at: number): T;
  write(view: DataView, at: number, value: I): void;
}

function readElements<T, I>(
  arg: Argument,
  offset: number,
  codec: ElementCodec<T, I>,
  count: number,
): T[] {
  const bytes = arg.read(codec.size * count, offset);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const elements: T[] = [];
  for (let i = 0; i < count; i++) elements.push(codec.read(view, i * codec.size));
  return elements;
}

function writeElements<T, I>(
  arg: Argument,
  offset: number,
  codec: ElementCodec<T, I>,
  values: readonly I[],
): void {
  const bytes = new Uint8Array(codec.size * values.length);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const value of values) {
    codec.write(view, at, value);
    at += codec.size;
  }
  arg.write(bytes, offset);
}

/**
 * KVM_GET_MSR_INDEX_LIST: the count always, the indices when there is room.
 * @throws KvmError E2BIG, EFAULT.
 */
export function writeMsrList(arg: Argument, indices: readonly number[]): void {
  const { nmsrs } = kvm_msr_list.decode(arg.read(kvm_msr_list.size));
  arg.write(kvm_msr_list.encode({ nmsrs: indices.length }));
  if (nmsrs < indices.length) refuse("E2BIG", "MSR list");
  const bytes = new Uint8Array(4 * indices.length);
  const view = new DataView(bytes.buffer);
  for (const [i, index] of indices.entries()) view.setUint32(i * 4, index, true);
  arg.write(bytes, kvm_msr_list.size);
}

/**
 * The elements of KVM_GET_MSRS and KVM_SET_MSRS, and how to write them back.
 * @throws KvmError EFAULT, E2BIG.
 */
export function readMsrRequest(arg: Argument): {
  entries: KvmMsrEntry[];
  write: (entries: readonly KvmMsrEntry[]) => void;
} {
  const { nmsrs } = kvm_msrs.decode(arg.read(kvm_msrs.size));
  if (nmsrs >= MAX_IO_MSRS) refuse("E2BIG", "too many MSRs");
  const entries = readElements(arg, kvm_msrs.size, kvm_msr_entry, nmsrs);
  return {
    entries,
    write: (values) =>
      writeElements(
        arg,
        kvm_msrs.size,
        kvm_msr_entry,
        // Reserved fields come back as given, and so does what follows the first that failed: that
        // one reads as 0.
        entries.map(({ index, reserved, data }, i) => ({
          index,
          reserved,
          data: values[i]?.data ?? (i === values.length ? 0n : data),
        })),
      ),
  };
}

/** Without padding; entries of the old kind have no index. */
const toEntry2 = (entry: Omit<CpuidEntry2, "index" | "flags"> & Partial<CpuidEntry2>) => ({
  function: entry.function,
  index: entry.index ?? 0,
  flags: entry.flags ?? 0,
  eax: entry.eax,
  ebx: entry.ebx,
  ecx: entry.ecx,
  edx: entry.edx,
});

/**
 * KVM_GET_SUPPORTED_CPUID and KVM_GET_EMULATED_CPUID: all entries and their count, or E2BIG with
 * nothing written.
 * @throws KvmError E2BIG, EFAULT; EINVAL for padding that is not zero, when `strict`.
 */
export function replyCpuid(arg: Argument, entries: readonly CpuidEntry2[], strict: boolean): void {
  const { nent } = kvm_cpuid2.decode(arg.read(kvm_cpuid2.size));
  if (nent < 1) refuse("E2BIG", "CPUID table");
  const room = Math.min(nent, KvmLimit.MAX_CPUID_ENTRIES);
  if (strict && !paddingIsZero(arg, room)) refuse("EINVAL", "padding");
  if (room < entries.length) refuse("E2BIG", "CPUID table");
  writeElements(arg, kvm_cpuid2.size, kvm_cpuid_entry2, entries);
  arg.write(kvm_cpuid2.encode({ nent: entries.length }));
}

function paddingIsZero(arg: Argument, count: number): boolean {
  const at = kvm_cpuid_entry2.offset("padding");
  for (let i = 0; i < count; i++) {
    const offset = kvm_cpuid2.size + i * kvm_cpuid_entry2.size + at;
    if (!arg.maps(12, offset)) return false;
    if (arg.read(12, offset).some((byte) => byte !== 0)) return false;
  }
  return true;
}

/** KVM_GET_CPUID2: the vCPU's table. @throws KvmError E2BIG with nothing written; EFAULT. */
export function writeCpuid2(arg: Argument, entries: readonly CpuidEntry2[]): void {
  const { nent, padding } = kvm_cpuid2.decode(arg.read(kvm_cpuid2.size));
  if (nent < entries.length) refuse("E2BIG", "CPUID table");
  writeElements(arg, kvm_cpuid2.size, kvm_cpuid_entry2, entries);
  arg.write(kvm_cpuid2.encode({ nent: entries.length, padding }));
}

/** The table of KVM_SET_CPUID2. @throws KvmError EFAULT, E2BIG. */
export function readCpuid2(arg: Argument): CpuidEntry2[] {
  const { nent } = kvm_cpuid2.decode(arg.read(kvm_cpuid2.size));
  if (nent > KvmLimit.MAX_CPUID_ENTRIES) refuse("E2BIG", "CPUID table");
  return readElements(arg, kvm_cpuid2.size, kvm_cpuid_entry2, nent).map(toEntry2);
}

/** The table of KVM_SET_CPUID, which has no indices. @throws KvmError EFAULT, E2BIG. */
export function readCpuid(arg: Argument): CpuidEntry2[] {
  const { nent } = kvm_cpuid.decode(arg.read(kvm_cpuid.size));
  if (nent > KvmLimit.MAX_CPUID_ENTRIES) refuse("E2BIG", "CPUID table");
  return readElements(arg, kvm_cpuid.size, kvm_cpuid_entry, nent).map((entry) => toEntry2(entry));
}

/** The elements of KVM_SET_GSI_ROUTING. @throws KvmError EFAULT, EINVAL. */
export function readRoutes(arg: Argument): ReturnType<typeof kvm_irq_routing_entry.decode>[] {
  const { nr, flags } = kvm_irq_routing.decode(arg.read(kvm_irq_routing.size));
  if (nr > KvmLimit.MAX_IRQ_ROUTES || flags !== 0) refuse("EINVAL", "routing table");
  return readElements(arg, kvm_irq_routing.size, kvm_irq_routing_entry, nr);
}
