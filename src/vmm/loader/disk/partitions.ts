/** Where the file systems of a disk may begin: UEFI's partition table (GPT), the old one (MBR), or no table at all. */
import { type DiskReader, viewOf } from "./disk-reader.js";

const SECTOR = 512;
const GPT_MAGIC = "EFI PART";
/** @limit file | partitions of a disk that a kernel is looked for on | partitions | the others are not looked at */
const MAX_PARTITIONS = 128;
const MBR_SIGNATURE = 0xaa55;
const MBR_TABLE = 446;
/** An entry that protects a GPT, and one that holds more entries. */
const MBR_PROTECTIVE = 0xee;
const MBR_EXTENDED = [0x05, 0x0f, 0x85];

/** Offsets in bytes, the whole disk first. */
export async function possibleFileSystems(disk: DiskReader): Promise<number[]> {
  const sector = (number: number): Promise<Uint8Array> => disk.read(number * SECTOR, SECTOR);
  const [mbr, header] = [await sector(0), await sector(1)];
  const magic = String.fromCharCode(...header.subarray(0, GPT_MAGIC.length));
  const starts = magic === GPT_MAGIC ? await gptStarts(disk, header) : mbrStarts(mbr);
  return [0, ...starts.map((start) => start * SECTOR)];
}

async function gptStarts(disk: DiskReader, header: Uint8Array): Promise<number[]> {
  const view = viewOf(header);
  const at = Number(view.getBigUint64(72, true)) * SECTOR;
  const count = Math.min(view.getUint32(80, true), MAX_PARTITIONS);
  const size = view.getUint32(84, true);
  if (size < 128 || size > 4096) return [];
  const starts: number[] = [];
  for (let i = 0; i < count; i++) {
    const entry = await disk.read(at + i * size, 48);
    // Without a type it is not in use.
    const isUsed = entry.subarray(0, 16).some((byte) => byte !== 0);
    if (isUsed) starts.push(Number(viewOf(entry).getBigUint64(32, true)));
  }
  return starts;
}

function mbrStarts(mbr: Uint8Array): number[] {
  const view = viewOf(mbr);
  if (view.getUint16(510, true) !== MBR_SIGNATURE) return [];
  const starts: number[] = [];
  for (let i = 0; i < 4; i++) {
    const entry = MBR_TABLE + i * 16;
    const type = view.getUint8(entry + 4);
    const isOwn = type !== 0 && type !== MBR_PROTECTIVE && !MBR_EXTENDED.includes(type);
    if (isOwn) starts.push(view.getUint32(entry + 8, true));
  }
  return starts;
}
