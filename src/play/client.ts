import { Errno } from "../base/index.js";
import { LocalProcess } from "../ioctl/index.js";
import { KVM_GET_VCPU_MMAP_SIZE, type Kvm, kvm_xen_hvm_config } from "../kvm/index.js";
import { strtoul } from "./numbers.js";
import type { PlayTime } from "./time.js";

/**
 * Slots that the program remembers; KVM has more.
 * @limit file | memory slots that a scenario's program remembers | slots | a later slot has no memory to poke
 */
const MAX_SLOTS = 32;
/**
 * Places for vCPUs: a name `vN` means place N modulo this.
 * @limit file | vCPUs that a scenario can name | vCPUs | vN means vCPU N modulo this
 */
export const MAX_VCPUS = 64;
/**
 * Places for eventfds: an index counts modulo this.
 * @limit file | eventfds that a scenario can name | eventfds | an index counts modulo this
 */
const MAX_EVENTFDS = 16;
/**
 * Descriptors a process can have.
 * @limit file | descriptors of a scenario's program | descriptors | EMFILE
 */
const MAX_FILES = 1024;
/** Memory for arguments of ioctls: two dirty bitmaps fit. */
const SCRATCH_BYTES = 0x20000;
/**
 * More than a step can read or write without running into what is not mapped.
 * @limit file | bytes that one step of a scenario reads or writes | bytes | the program gets
 *   SIGSEGV, as the recorder would
 */
const MAX_ACCESS = 2 ** 30;

/** A memory slot as the program set it. */
export interface Slot {
  readonly gpa: bigint;
  readonly size: bigint;
  /** Client address of its memory. */
  readonly address: bigint;
  readonly flags: number;
}

/** A place for a vCPU. One that was never filled has descriptor 0, which is no vCPU. */
export interface VcpuPlace {
  fd: number;
  /** The pages of `struct kvm_run`. */
  run: Uint8Array | undefined;
}

/**
 * The program that a scenario speaks of has done something that ends a C program, such as using
 * an argument that is not there, or memory that is not mapped. The rest of its file is not played.
 */
export class Segfault extends Error {
  override readonly name = "Segfault";
}

/** Ends the program. @throws Segfault */
export function segfault(): never {
  throw new Segfault();
}

/** The program that plays one scenario: its descriptors and its memory. */
export class Client {
  readonly process = new LocalProcess();
  readonly time: PlayTime;
  /** Descriptor of /dev/kvm. */
  readonly system: number;
  /** Descriptor of the VM, -1 before there is one. */
  vm = -1;
  readonly slots: (Slot | undefined)[] = Array.from({ length: MAX_SLOTS });
  readonly vcpus: readonly VcpuPlace[] = Array.from({ length: MAX_VCPUS }, () => ({
    fd: 0,
    run: undefined,
  }));
  /** Descriptors by the numbers that scenarios use, -1 where there is none. */
  readonly eventfds: number[] = Array.from({ length: MAX_EVENTFDS }, () => -1);
  /** Which interrupt controller the VM was given. */
  chip: "none" | "kernel" | "split" = "none";
  /** The last `struct kvm_xen_hvm_config` that was taken. */
  config: Uint8Array = new Uint8Array(kvm_xen_hvm_config.size);
  /** Numbers of the VM's vCPUs, in order of creation. */
  created: number[] = [];
  /** Bytes of a vCPU's `kvm_run` pages. */
  readonly runSize: number;
  /** Address of memory for arguments of ioctls. */
  readonly scratch: bigint;

  constructor(kvm: Kvm, time: PlayTime) {
    this.time = time;
    this.scratch = this.process.mapAnonymous(SCRATCH_BYTES);
    this.system = this.process.open(kvm);
    this.runSize = this.call(this.system, KVM_GET_VCPU_MMAP_SIZE, 0n);
  }

  /** ioctl(2) with a value, except KVM_RUN: 0 or more, or -errno. */
  call(fd: number, request: number, arg: bigint): number {
    const result = this.process.ioctl(fd, request, arg);
    return typeof result === "number" ? result : -Errno.EINVAL;
  }

  /** ioctl(2) with a pointer to a copy of `bytes`; what the kernel writes there comes back in them. */
  callWith(fd: number, request: number, bytes: Uint8Array): number {
    this.store(this.scratch, bytes);
    const result = this.call(fd, request, this.scratch);
    bytes.set(this.load(this.scratch, bytes.length));
    return result;
  }

  /** The client address that backs a guest-physical one; 0 when no slot has it. */
  addressOf(gpa: bigint): bigint {
    for (const slot of this.slots) {
      if (slot !== undefined && gpa >= slot.gpa && gpa < slot.gpa + slot.size) {
        return slot.address + (gpa - slot.gpa);
      }
    }
    return 0n;
  }

  /** The guest-physical address that a client address backs, undefined when none. */
  gpaOf(address: bigint): bigint | undefined {
    for (const slot of this.slots) {
      if (slot === undefined) continue;
      const offset = address - slot.address;
      if (offset >= 0n && offset < slot.size) return slot.gpa + offset;
    }
    return undefined;
  }

  /** Reads the program's own memory. @throws Segfault */
  load(address: bigint, length: number): Uint8Array {
    if (length > MAX_ACCESS) segfault();
    return this.process.read(address, length) ?? segfault();
  }

  /** Writes the program's own memory. @throws Segfault */
  store(address: bigint, bytes: Uint8Array): void {
    if (!this.process.write(address, bytes)) segfault();
  }

  /** An eventfd's descriptor, by the number that a scenario gives it. */
  eventfd(word: string): number {
    return this.eventfds[Number(strtoul(word) % BigInt(MAX_EVENTFDS))] ?? -1;
  }

  /** Closes everything, and with it the VMs. */
  close(): void {
    for (let fd = 0; fd < MAX_FILES; fd++) this.process.close(fd);
  }
}

/**
 * The argument at a place of a step. One that is missing is a null pointer to a C program: it ends,
 * unless the scenario has put a page at address 0 (`remap` of what no slot backs), which is read.
 * @throws Segfault
 */
export function argument(client: Client, words: readonly string[], at: number): string {
  const word = words[at];
  if (word !== undefined) return word;
  const text = client.load(0n, 4096);
  const end = text.indexOf(0);
  return String.fromCharCode(...text.subarray(0, end < 0 ? text.length : end));
}
