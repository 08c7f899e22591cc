/** What guests have written to disks whose images stay as they are, in a snapshot. */
import type { DiskRun } from "../../ports/index.js";
import { damaged } from "./codec.js";
import {
  readSection,
  type Section,
  type SnapshotSink,
  type SnapshotSource,
  writeSection,
} from "./file.js";

/** Of one disk, by its place in the list of devices. */
export interface DiskContent {
  readonly device: number;
  readonly runs: readonly DiskRun[];
}

/** Bytes of a run at most, and of what is in a section. @nolimit longer ones are several */
export const MAX_RUN = 4 << 20;
/** Device and number of runs. */
const HEAD_BYTES = 8;
/** First sector, sectors, zero. */
const RUN_BYTES = 16;
const SECTOR = 512;
/** @limit file | a section of what was written to a disk, in a snapshot | bytes | SNAPSHOT_DAMAGED */
const MAX_SECTION = 64 << 20;

/** Writes runs, several to a section. */
export async function writeDisk(sink: SnapshotSink, { device, runs }: DiskContent): Promise<void> {
  for (let next = 0; next < runs.length; ) {
    const part: DiskRun[] = [];
    for (let bytes = 0; next < runs.length; next++) {
      const run = runs[next] as DiskRun;
      // The head of a run counts, too: a disk may have been written to here and there.
      if (part.length > 0 && bytes + run.bytes.length + RUN_BYTES > MAX_RUN) break;
      part.push(run);
      bytes += run.bytes.length + RUN_BYTES;
    }
    const index = new Uint8Array(HEAD_BYTES + part.length * RUN_BYTES);
    const view = new DataView(index.buffer);
    view.setUint32(0, device, true);
    view.setUint32(4, part.length, true);
    part.forEach(({ sector, bytes }, i) => {
      view.setBigUint64(HEAD_BYTES + i * RUN_BYTES, BigInt(sector), true);
      view.setUint32(HEAD_BYTES + i * RUN_BYTES + 8, bytes.length / SECTOR, true);
    });
    await writeSection(sink, "disk", [index, ...part.map(({ bytes }) => bytes)]);
  }
}

/** Reads a section of runs. @throws HostError SNAPSHOT_DAMAGED */
export async function readDisk(source: SnapshotSource, section: Section): Promise<DiskContent> {
  if (section.length > MAX_SECTION || section.length < HEAD_BYTES) throw damaged("section disk");
  const bytes = await readSection(source, section);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const count = view.getUint32(4, true);
  let at = HEAD_BYTES + count * RUN_BYTES;
  if (at > bytes.length) throw damaged("section disk");
  const runs: DiskRun[] = [];
  for (let i = 0; i < count; i++) {
    const sector = Number(view.getBigUint64(HEAD_BYTES + i * RUN_BYTES, true));
    const length = view.getUint32(HEAD_BYTES + i * RUN_BYTES + 8, true) * SECTOR;
    if (length === 0 || at + length > bytes.length) throw damaged("section disk");
    runs.push({ sector, bytes: bytes.subarray(at, at + length) });
    at += length;
  }
  if (at !== bytes.length) throw damaged("section disk");
  return { device: view.getUint32(0, true), runs };
}
