import type { Disk } from "../../../ports/index.js";

const SECTOR = 512;

/** What a disk has cannot be what it claims to be. */
export class Damaged extends Error {}

/** Reads any bytes of a disk, whose own operations are of whole sectors. */
export class DiskReader {
  readonly #disk: Disk;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** @throws Damaged when they are not on the disk, or the host cannot read them. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const from = Math.floor(offset / SECTOR) * SECTOR;
    const end = Math.ceil((offset + length) / SECTOR) * SECTOR;
    if (!(offset >= 0 && end <= this.#disk.size)) throw new Damaged("it points behind its end");
    const bytes = new Uint8Array(end - from);
    await new Promise<void>((resolve, reject) => {
      this.#disk.read(from, bytes, (failure) => {
        if (failure === undefined) resolve();
        else reject(new Damaged(failure.message));
      });
    });
    return bytes.subarray(offset - from, offset - from + length);
  }
}

/** Little-endian numbers of bytes. */
export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
