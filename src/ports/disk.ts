import type { ArmLater } from "./clock.js";

/** Told when an operation is over: with what went wrong, if it failed. */
export type DiskDone = (failure?: DiskFailure) => void;

/** What can go wrong with a disk: `code` is Node's name of the error, such as `EIO` or `ENOSPC`. */
export interface DiskFailure {
  readonly code: string;
  /** One line for people. */
  readonly message: string;
}

/** An operation that has ended on the host, and is still to end for whoever asked: in virtual time only. */
export interface KeptOperation {
  /** When it ends. */
  readonly atNs: number;
  /** Of those that end at one time, and of timers: see TimerHandle. */
  readonly order: number;
  readonly failure?: DiskFailure | undefined;
}

/** What a disk is in the middle of, in virtual time. */
export interface KeptDisk {
  /** When it is free for further operations. */
  readonly freeNs: number;
  /** By what was given to be called at their end. */
  readonly operations: ReadonlyMap<DiskDone, KeptOperation>;
}

/** Bytes of a disk that follow each other. */
export interface DiskRun {
  /** The sector of 512 bytes with which they begin. */
  readonly sector: number;
  readonly bytes: Uint8Array;
}

/** What was written to a disk whose image stays as it is. */
export interface DiskChanges {
  /**
   * A copy, in order of sectors. Nothing may be under way. Runs have at most `most` bytes.
   * @returns undefined when it has more than `all` bytes.
   */
  copy(limits: { readonly most: number; readonly all: number }): Promise<DiskRun[] | undefined>;
  /** Writes a part of such a copy, which is inside the disk. Rejects when the host cannot. */
  put(run: DiskRun): Promise<void>;
}

/**
 * A disk image: bytes that can be read and written anywhere. Operations are under way side by side and end in any
 * order. `done` is called once for each, and never before the call that started it has returned.
 */
export interface Disk {
  /** Bytes, rounded down to 512. */
  readonly size: number;
  /** Nothing may be written. */
  readonly readonly: boolean;
  /** Bytes that are stored together: a guest does well to write multiples of it. A power of two, 512 or more. */
  readonly blockSize: number;
  /** Whether {@link discard} does anything. */
  readonly canDiscard: boolean;
  /** Fills `into`; what the file behind it lacks of its size is zero. */
  read(offset: number, into: Uint8Array, done: DiskDone): void;
  /**
   * As {@link read}, here and now, when nobody has to wait for it: the host has the bytes in its memory. `pieces` are
   * filled one after the other. Never in virtual time, in which a disk takes time. Without it, nothing is ever at hand.
   * @returns false when they are to be asked for by {@link read}; `pieces` have anything then.
   */
  readNow?(offset: number, pieces: readonly Uint8Array[]): boolean;
  /** Writes all of `bytes`, which nobody changes until it is done. */
  write(offset: number, bytes: Uint8Array, done: DiskDone): void;
  /**
   * As {@link write}, here and now, where the host takes it into its memory without delay: all `pieces`, one behind the
   * other. Never in virtual time.
   * @returns false when {@link write} is to be asked, which says what is wrong, too; some of it may be written.
   */
  writeNow?(offset: number, pieces: readonly Uint8Array[]): boolean;
  /** Makes durable what has been written: every write that is done when this begins. */
  flush(done: DiskDone): void;
  /** What is there is not needed any more; it reads as zero or as it was. */
  discard(offset: number, length: number, done: DiskDone): void;
  /**
   * Makes the disk larger: `bytes` is a multiple of 512. Without a number, its size is from now on that which the image
   * has by now.
   * @throws HostError DISK_SIZE when that cannot be.
   */
  resize(bytes: number | undefined): Promise<void>;
  /**
   * A text that is another one when the content may be another one, for snapshots of machines; undefined when that
   * cannot be told. Nothing may be under way.
   */
  generation?(): Promise<string | undefined>;
  /** Of a disk that leaves its image alone: what was written. {@link generation} is the image's then. */
  readonly changes?: DiskChanges | undefined;
  /** Virtual time only, and while that stands still: what it is in the middle of; all is done on the host then. */
  kept?(): Promise<KeptDisk>;
  /**
   * Instead of what was asked of a disk that was saved so: it is in the middle of the same. `done` of each operation is
   * called at its time.
   */
  keep?(kept: KeptDisk, later: ArmLater): void;
  /** Resolves when nothing is under way on the host. */
  idle(): Promise<void>;
  /** Gives the image back. Nothing may be under way. */
  close(): Promise<void>;
}
