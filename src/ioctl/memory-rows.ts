import { PAGE_SIZE } from "../base/index.js";
import {
  KVM_CLEAR_DIRTY_LOG,
  KVM_GET_DIRTY_LOG,
  KVM_REGISTER_COALESCED_MMIO,
  KVM_RESET_DIRTY_RINGS,
  KVM_SET_IDENTITY_MAP_ADDR,
  KVM_SET_NR_MMU_PAGES,
  KVM_SET_TSS_ADDR,
  KVM_SET_USER_MEMORY_REGION,
  KVM_SET_USER_MEMORY_REGION2,
  KVM_UNREGISTER_COALESCED_MMIO,
  type KvmCoalescedZone,
  KvmMem,
  kvm_clear_dirty_log,
  kvm_coalesced_mmio_zone,
  kvm_dirty_log,
  kvm_userspace_memory_region,
  kvm_userspace_memory_region2,
} from "../kvm/index.js";
import { USER_END } from "./address-space.js";
import { refuse } from "./argument.js";
import { raw, reads, type Table, takes } from "./table.js";
import type { VmContext } from "./vm-context.js";

interface Region {
  readonly slot: number;
  readonly flags: number;
  readonly guest_phys_addr: bigint;
  readonly memory_size: bigint;
  readonly userspace_addr: bigint;
}

const isAligned = (value: bigint): boolean => value % BigInt(PAGE_SIZE) === 0n;

/**
 * Sizes from here on cannot be backed by a linear memory of 4 GiB.
 * @limit client | memory that one slot has (less) | bytes | ENOMEM
 */
const MAX_SIZE = 1n << 32n;

/**
 * KVM_SET_USER_MEMORY_REGION: brings the client's memory to where the VM can use it and sets the
 * slot. What does not depend on the other slots is checked first, so that a refused call moves
 * nothing.
 */
function setRegion(context: VmContext, region: Region): void {
  const { slot, flags, guest_phys_addr, memory_size, userspace_addr } = region;
  if ((flags & ~(KvmMem.LOG_DIRTY_PAGES | KvmMem.READONLY)) !== 0) refuse("EINVAL", "slot flags");
  if (!isAligned(memory_size) || !isAligned(guest_phys_addr) || !isAligned(userspace_addr)) {
    refuse("EINVAL", "memory slot is not page-aligned");
  }
  if (userspace_addr + memory_size > USER_END) refuse("EINVAL", "not a user address");
  if (guest_phys_addr + memory_size > 1n << 52n) refuse("EINVAL", "beyond guest addresses");
  const [guestPhysAddr, memorySize] = [Number(guest_phys_addr), Number(memory_size)];
  const given = { slot, flags, guestPhysAddr, memorySize, userspaceAddr: 0 };
  if (memory_size === 0n) {
    context.vm.setUserMemoryRegion(given);
    context.slotDeleted(slot);
    return;
  }
  const { linear } = context.vm;
  const noRoom = (why: string) => {
    context.process.noRoom?.(linear, memorySize);
    return refuse("ENOMEM", why);
  };
  if (memory_size >= MAX_SIZE) noRoom("a VM's memory ends at 4 GiB");
  const attach = () => context.process.attach(linear, userspace_addr, memorySize);
  if (context.isLate(slot)) {
    context.vm.setUserMemoryRegion(given, {
      key: userspace_addr,
      attach: () => {
        const at = attach();
        if (at !== undefined) context.slotBacking(slot, at);
        return at;
      },
    });
    context.slotIsLate(slot, userspace_addr, memorySize);
    return;
  }
  const at = attach() ?? noRoom("the client's memory cannot become the VM's");
  try {
    context.vm.setUserMemoryRegion({ ...given, userspaceAddr: at });
  } catch (error) {
    context.process.release?.(linear, at);
    throw error;
  }
  context.slotBacking(slot, at);
}

/** As large a number as there is, for what is too large anyway. */
const toNumber = (value: bigint): number =>
  value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);

/** KVM_CLEAR_DIRTY_LOG: the numbers are checked before the bitmap is read. */
function clearDirtyLog(context: VmContext, c: ReturnType<typeof kvm_clear_dirty_log.decode>): void {
  const log = { slot: c.slot, firstPage: toNumber(c.first_page), numPages: c.num_pages };
  context.vm.clearDirtyLog({ ...log, bitmap: new Uint8Array(0) });
  const bitmap =
    context.process.read(c.$bitmap.dirty_bitmap, Math.ceil(c.num_pages / 64) * 8) ??
    refuse("EFAULT", "dirty bitmap");
  context.vm.clearDirtyLog({ ...log, bitmap });
}

function zoneOf(c: ReturnType<typeof kvm_coalesced_mmio_zone.decode>): KvmCoalescedZone {
  return { addr: toNumber(c.addr), size: c.size, pio: c.$kind.pio };
}

/** ioctls of a VM about its memory. */
export const memoryRows: Table<VmContext> = new Map([
  reads(
    KVM_SET_USER_MEMORY_REGION,
    "KVM_SET_USER_MEMORY_REGION",
    kvm_userspace_memory_region,
    setRegion,
  ),
  reads(
    KVM_SET_USER_MEMORY_REGION2,
    "KVM_SET_USER_MEMORY_REGION2",
    kvm_userspace_memory_region2,
    setRegion,
  ),
  reads(KVM_GET_DIRTY_LOG, "KVM_GET_DIRTY_LOG", kvm_dirty_log, (context: VmContext, log) => {
    // The log is taken even when it then cannot be delivered, as Linux does.
    const bitmap = context.vm.getDirtyLog(log.slot);
    if (!context.process.write(log.$bitmap.dirty_bitmap, bitmap)) refuse("EFAULT", "dirty bitmap");
  }),
  reads(KVM_CLEAR_DIRTY_LOG, "KVM_CLEAR_DIRTY_LOG", kvm_clear_dirty_log, clearDirtyLog),
  takes(KVM_RESET_DIRTY_RINGS, "KVM_RESET_DIRTY_RINGS", () =>
    refuse("EINVAL", "no dirty rings; KVM_CAP_DIRTY_LOG_RING is 0"),
  ),
  takes(KVM_SET_NR_MMU_PAGES, "KVM_SET_NR_MMU_PAGES", ({ vm }, pages) => vm.setNrMmuPages(pages)),
  takes(KVM_SET_TSS_ADDR, "KVM_SET_TSS_ADDR", ({ vm }, address) => vm.setTssAddr(address)),
  raw(KVM_SET_IDENTITY_MAP_ADDR, "KVM_SET_IDENTITY_MAP_ADDR", ({ vm }, arg) => {
    // That there are no vCPUs is checked before the argument is read.
    vm.setIdentityMapAddr(0n);
    const bytes = arg.read(8);
    vm.setIdentityMapAddr(new DataView(bytes.buffer).getBigUint64(0, true));
  }),
  reads(
    KVM_REGISTER_COALESCED_MMIO,
    "KVM_REGISTER_COALESCED_MMIO",
    kvm_coalesced_mmio_zone,
    ({ vm }, c) => vm.registerCoalescedMmio(zoneOf(c)),
  ),
  reads(
    KVM_UNREGISTER_COALESCED_MMIO,
    "KVM_UNREGISTER_COALESCED_MMIO",
    kvm_coalesced_mmio_zone,
    ({ vm }, c) => vm.unregisterCoalescedMmio(zoneOf(c)),
  ),
]);
