/** Checks a `struct vcpu_hvm_context` as Xen does, and makes KVM's registers of it. */
import type { KvmRegs, KvmSegment, KvmSregs } from "../../../abi/kvm/index.js";
import {
  VCPU_HVM_MODE_32B,
  VCPU_HVM_MODE_64B,
  vcpu_hvm_context,
  vcpu_hvm_x86_32,
  vcpu_hvm_x86_64,
} from "../../../abi/xen/hvm-vcpu.js";

const CR0_PG = 1n << 31n;
const CR4_PAE = 1n << 5n;
const EFER_LME = 1n << 8n;
const EFER_LMA = 1n << 10n;
/** Flags of RFLAGS that exist, but not the one that is always set. */
const RFLAGS_ALL = 0x3f7fd5n;
const RFLAGS_FIXED = 2n;
const TYPE_TSS32_BUSY = 11;

/** Segments of a vCPU that starts in 64-bit mode: attributes and limits. */
const LONG_MODE = {
  cs: { ar: 0xa9b, limit: 0xffffffff },
  data: { ar: 0xc93, limit: 0xffffffff },
  tr: { ar: 0x8b, limit: 0x67 },
} as const;

type Name = "cs" | "ds" | "ss" | "es" | "tr";
type Segments = Record<Name, KvmSegment>;

/** Registers to start with. */
export interface StartState {
  readonly regs: Partial<KvmRegs>;
  readonly sregs: Partial<KvmSregs>;
}

/** The state that a context describes; undefined when Xen refuses it. */
export function startState(bytes: Uint8Array): StartState | undefined {
  const { mode, pad } = vcpu_hvm_context.decode(bytes);
  const union = bytes.subarray(vcpu_hvm_context.offset("cpu_regs"));
  if (pad !== 0) return undefined;
  if (mode === VCPU_HVM_MODE_32B) return protectedMode(union);
  return mode === VCPU_HVM_MODE_64B ? longMode(union) : undefined;
}

function protectedMode(bytes: Uint8Array): StartState | undefined {
  const c = vcpu_hvm_x86_32.decode(bytes);
  if (c.pad1 !== 0 || c.pad2.some((word) => word !== 0)) return undefined;
  const reserved = (c.cs_ar | c.ds_ar | c.ss_ar | c.es_ar | c.tr_ar) >> 12;
  const segments: Segments = {
    cs: segment(c.cs_ar, c.cs_base, c.cs_limit, 1),
    ds: segment(c.ds_ar, c.ds_base, c.ds_limit, 1),
    ss: segment(c.ss_ar, c.ss_base, c.ss_limit, 1),
    es: segment(c.es_ar, c.es_base, c.es_limit, 1),
    tr: segment(c.tr_ar, c.tr_base, c.tr_limit, 2),
  };
  if (reserved !== 0 || !segmentsAreSound(segments)) return undefined;
  const { cs } = segments;
  const limit = cs.g ? cs.limit * 4096 + 0xfff : cs.limit;
  if (c.eip > limit || ((c.efer & EFER_LMA) !== 0n && (c.efer & EFER_LME) === 0n)) return undefined;
  const regs = {
    rax: BigInt(c.eax),
    rcx: BigInt(c.ecx),
    rdx: BigInt(c.edx),
    rbx: BigInt(c.ebx),
    rsp: BigInt(c.esp),
    rbp: BigInt(c.ebp),
    rsi: BigInt(c.esi),
    rdi: BigInt(c.edi),
    rip: BigInt(c.eip),
    rflags: (BigInt(c.eflags) & RFLAGS_ALL) | RFLAGS_FIXED,
  };
  const control = { cr0: BigInt(c.cr0), cr3: BigInt(c.cr3), cr4: BigInt(c.cr4) };
  return { regs, sregs: { ...segments, ...control, efer: effectiveEfer(control.cr0, c.efer) } };
}

function longMode(bytes: Uint8Array): StartState | undefined {
  const { cr0, cr3, cr4, efer, rflags, ...general } = vcpu_hvm_x86_64.decode(bytes);
  const isCanonical = BigInt.asUintN(64, BigInt.asIntN(48, general.rip)) === general.rip;
  if (!isCanonical || (cr0 & CR0_PG) === 0n) return undefined;
  if ((cr4 & CR4_PAE) === 0n || (efer & EFER_LME) === 0n) return undefined;
  const data = segment(LONG_MODE.data.ar, 0, LONG_MODE.data.limit, 0);
  const sregs = {
    cs: segment(LONG_MODE.cs.ar, 0, LONG_MODE.cs.limit, 0),
    ds: data,
    ss: data,
    es: data,
    tr: segment(LONG_MODE.tr.ar, 0, LONG_MODE.tr.limit, 0),
  };
  const regs = { ...general, rflags: (rflags & RFLAGS_ALL) | RFLAGS_FIXED };
  return { regs, sregs: { ...sregs, cr0, cr3, cr4, efer: effectiveEfer(cr0, efer) } };
}

/** LMA is what it must be with LME: KVM, unlike Xen, wants it so. */
function effectiveEfer(cr0: bigint, efer: bigint): bigint {
  const isLong = (efer & EFER_LME) !== 0n && (cr0 & CR0_PG) !== 0n;
  return isLong ? efer | EFER_LMA : efer & ~EFER_LMA;
}

/** A segment of attributes `ar`; `set`: bit of the type (accessed, busy) that present ones have. */
function segment(ar: number, base: number, limit: number, set: number): KvmSegment {
  const present = (ar & 0x80) !== 0;
  return {
    base: BigInt(base),
    limit,
    selector: 0,
    type: (ar & 0xf) | (present ? set : 0),
    s: (ar & 0x10) !== 0,
    dpl: (ar >> 5) & 3,
    present,
    avl: (ar & 0x100) !== 0,
    l: (ar & 0x200) !== 0,
    db: (ar & 0x400) !== 0,
    g: (ar & 0x800) !== 0,
    unusable: (ar & 0xfff) === 0,
  };
}

function segmentsAreSound({ cs, ss, ds, es, tr }: Segments): boolean {
  const isCode = ({ type }: KvmSegment): boolean => (type & 8) !== 0;
  const isFlagged = ({ type }: KvmSegment): boolean => (type & 2) !== 0;
  const memoryOnly = (s: KvmSegment): boolean => !s.unusable && s.s && s.present;
  const isData = (s: KvmSegment): boolean =>
    s.unusable ||
    (memoryOnly(s) && !(isCode(s) && !isFlagged(s)) && (!s.present || s.dpl <= cs.dpl));
  return (
    memoryOnly(cs) &&
    isCode(cs) &&
    memoryOnly(ss) &&
    !isCode(ss) &&
    isFlagged(ss) &&
    ss.dpl === cs.dpl &&
    isData(ds) &&
    isData(es) &&
    !tr.unusable &&
    !tr.s &&
    tr.present &&
    tr.type === TYPE_TSS32_BUSY
  );
}
