/** The file that keeps what a guest has written to a disk: which sectors, and what is in them. */
import { HostError } from "../../base/index.js";
import { SECTOR } from "./page-disk.js";

/** What is used of a FileSystemSyncAccessHandle (WHATWG File System Standard). */
export interface SyncFile {
  read(into: Uint8Array<ArrayBuffer>, options: { readonly at: number }): number;
  write(bytes: Uint8Array<ArrayBuffer>, options: { readonly at: number }): number;
  flush(): void;
  getSize(): number;
  close(): void;
}

/*
 * The file: a head of 512 bytes (magic, the content's name at 32, length and text of the image's identity at 48), then slots,
 * each a head of 512 bytes (1 + the number of a piece of the disk at 0, a bit for each changed sector at 16) and that piece.
 * A slot's head is written only when its sectors are durable, so that whatever a crash leaves out, no sector is taken
 * for changed that was not written.
 */
const MAGIC = "kvm-xen changes 1\n";
const HEAD = 512;
const CONTENT_AT = 32;
const CONTENT_BYTES = 16;
const IDENTITY_AT = 48;
/** Bytes of a disk that are kept together. */
export const PIECE = 65_536;
const SECTORS = PIECE / SECTOR;
const BITS_AT = 16;
const SLOT = HEAD + PIECE;

/** @limit user | the name of a disk whose changes are kept | bytes | it is cut off */
const MAX_IDENTITY = HEAD - IDENTITY_AT - 2;

interface Slot {
  readonly index: number;
  /** A bit for each sector of the piece. */
  readonly bits: Uint8Array<ArrayBuffer>;
}

/** What was written to a disk. */
export class ChangesFile {
  readonly #file: SyncFile;
  readonly #slots = new Map<number, Slot>();
  /** Slots that no piece has. */
  readonly #free: number[] = [];
  #count = 0;
  readonly #unwritten = new Set<number>();
  readonly #maximum: number;
  #content: string;
  /** Somebody was told the content's name: what is changed from now on needs another one. */
  #isNamed = true;

  private constructor(file: SyncFile, maximum: number, content: string) {
    this.#file = file;
    this.#maximum = maximum;
    this.#content = content;
  }

  /**
   * Opens the changes of an image, or begins them.
   * @param identity a text that other images do not have
   * @param size bytes of the image
   * @param maximum bytes of pieces that are kept at most
   * @throws HostError STATE_DAMAGED when they are those of another image, or damaged.
   */
  static open(file: SyncFile, identity: string, size: number, maximum: number): ChangesFile {
    const head = headOf(identity);
    if (file.getSize() === 0) {
      writeAll(file, head, 0);
      file.flush();
      return new ChangesFile(file, maximum, "");
    }
    const found = readAll(file, 0, HEAD);
    const content = found.slice(CONTENT_AT, CONTENT_AT + CONTENT_BYTES);
    head.set(content, CONTENT_AT);
    if (!found.every((byte, i) => byte === head[i])) {
      throw damaged("they are those of another disk");
    }
    const changes = new ChangesFile(file, maximum, hex(content));
    changes.#readSlots(Math.ceil(size / PIECE));
    return changes;
  }

  /** The name of the image that a file keeps changes of; undefined when it is no such file. */
  static identityIn(head: Uint8Array): string | undefined {
    if (head.length < HEAD || new TextDecoder().decode(head.subarray(0, MAGIC.length)) !== MAGIC) {
      return undefined;
    }
    const length = new DataView(head.buffer, head.byteOffset).getUint16(IDENTITY_AT, true);
    return new TextDecoder().decode(head.subarray(IDENTITY_AT + 2, IDENTITY_AT + 2 + length));
  }

  /** Whether a sector is in here. */
  has(sector: number): boolean {
    const slot = this.#slots.get(Math.floor(sector / SECTORS));
    const bit = sector % SECTORS;
    return ((slot?.bits[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0;
  }

  /** Reads sectors of one piece that are all in here. */
  read(offset: number, length: number): Uint8Array {
    const slot = this.#slots.get(Math.floor(offset / PIECE));
    if (slot === undefined) throw new RangeError(`nothing was written at ${offset}`);
    return readAll(this.#file, dataAt(slot) + (offset % PIECE), length);
  }

  /** Writes sectors of one piece. @throws Error when there is no room. */
  write(offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    const piece = Math.floor(offset / PIECE);
    let slot = this.#slots.get(piece);
    if (slot === undefined) {
      if ((this.#slots.size + 1) * PIECE > this.#maximum) throw new Error("too much was written");
      slot = { index: this.#free.pop() ?? this.#count++, bits: new Uint8Array(SECTORS / 8) };
      this.#slots.set(piece, slot);
    }
    writeAll(this.#file, bytes, dataAt(slot) + (offset % PIECE));
    const first = (offset % PIECE) / SECTOR;
    for (let bit = first; bit < first + bytes.length / SECTOR; bit++) {
      slot.bits[bit >> 3] = (slot.bits[bit >> 3] ?? 0) | (1 << (bit & 7));
    }
    this.#unwritten.add(piece);
  }

  /** Makes durable what was written. */
  flush(): void {
    if (this.#unwritten.size === 0) return;
    this.#file.flush();
    if (this.#isNamed) {
      // Before what is changed counts: else it would have the name of what it was.
      const content = crypto.getRandomValues(new Uint8Array(CONTENT_BYTES));
      writeAll(this.#file, content, CONTENT_AT);
      this.#file.flush();
      this.#content = hex(content);
      this.#isNamed = false;
    }
    for (const piece of this.#unwritten) {
      const slot = this.#slots.get(piece);
      if (slot === undefined) continue;
      const head = new Uint8Array(HEAD);
      new DataView(head.buffer).setUint32(0, piece + 1, true);
      head.set(slot.bits, BITS_AT);
      writeAll(this.#file, head, HEAD + slot.index * SLOT);
    }
    this.#file.flush();
    this.#unwritten.clear();
  }

  /** A text that is another one when something else was written; all is durable then. */
  content(): string {
    this.flush();
    this.#isNamed = true;
    return this.#content;
  }

  close(): void {
    this.#file.close();
  }

  #readSlots(pieces: number): void {
    const size = this.#file.getSize();
    for (let at = HEAD; at + HEAD <= size; at += SLOT) {
      const index = this.#count++;
      const head = readAll(this.#file, at, HEAD);
      const piece = new DataView(head.buffer, head.byteOffset).getUint32(0, true) - 1;
      if (piece < 0) {
        this.#free.push(index);
        continue;
      }
      if (piece >= pieces || this.#slots.has(piece)) throw damaged(`slot ${index}`);
      this.#slots.set(piece, { index, bits: head.slice(BITS_AT, BITS_AT + SECTORS / 8) });
    }
  }
}

const dataAt = ({ index }: Slot): number => 2 * HEAD + index * SLOT;

const damaged = (why: string): HostError =>
  new HostError("STATE_DAMAGED", `the kept changes of this disk cannot be used: ${why}`);

function headOf(identity: string): Uint8Array<ArrayBuffer> {
  const head = new Uint8Array(HEAD);
  head.set(new TextEncoder().encode(MAGIC));
  const text = new TextEncoder().encode(identity).subarray(0, MAX_IDENTITY);
  new DataView(head.buffer).setUint16(IDENTITY_AT, text.length, true);
  head.set(text, IDENTITY_AT + 2);
  return head;
}

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** What the file lacks is zero: the browser was ended in the middle of a write. */
function readAll(file: SyncFile, at: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  file.read(bytes, { at });
  return bytes;
}

function writeAll(file: SyncFile, bytes: Uint8Array<ArrayBuffer>, at: number): void {
  if (file.write(bytes, { at }) !== bytes.length) throw new Error("the browser has no room for it");
}
