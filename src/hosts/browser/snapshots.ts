import { HostError } from "../../base/index.js";
import { crc32 } from "../shared/unpack/crc32.js";

/** Where a snapshot's bytes come from, for `SavedMachine.open`: a file that a person chose, or one that was kept. */
export class BlobSource {
  readonly size: number;
  readonly crc32 = crc32;
  readonly #blob: Blob;

  constructor(blob: Blob) {
    this.#blob = blob;
    this.size = blob.size;
  }

  /** @throws HostError FILE_UNREADABLE: the file is gone, or is not what it was. */
  async read(at: number, into: Uint8Array): Promise<void> {
    try {
      into.set(new Uint8Array(await this.#blob.slice(at, at + into.length).arrayBuffer()));
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new HostError("FILE_UNREADABLE", `the snapshot cannot be read: ${why}`, { cause });
    }
  }
}

/** Where they go to, for `Snapshot.write`: a blob, which the browser may keep on its disk. */
export class BlobSink {
  readonly crc32 = crc32;
  readonly #parts: Blob[] = [];

  async write(bytes: Uint8Array): Promise<void> {
    this.#parts.push(new Blob([bytes as Uint8Array<ArrayBuffer>]));
  }

  /** All that was written. */
  blob(): Blob {
    return new Blob(this.#parts);
  }
}
