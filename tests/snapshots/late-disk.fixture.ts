import type { Disk, DiskDone } from "../../src/ports/index.js";

/** The disk on a busy host: each operation ends some milliseconds after it is over. */
export function lateDisk(disk: Disk, delayMs: () => number): Disk {
  const late =
    (done: DiskDone): DiskDone =>
    (failure) =>
      void setTimeout(done, delayMs(), failure);
  return {
    ...{ size: disk.size, readonly: disk.readonly, blockSize: disk.blockSize },
    ...{ canDiscard: disk.canDiscard, changes: disk.changes },
    read: (offset, into, done) => disk.read(offset, into, late(done)),
    write: (offset, bytes, done) => disk.write(offset, bytes, late(done)),
    flush: (done) => disk.flush(late(done)),
    discard: (offset, length, done) => disk.discard(offset, length, late(done)),
    resize: (bytes) => disk.resize(bytes),
    generation: async () => disk.generation?.(),
    idle: () => disk.idle(),
    close: () => disk.close(),
  };
}
