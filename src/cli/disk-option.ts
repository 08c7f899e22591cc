/** `--disk FILE[,ro][,snapshot][,dev=xvdb]`. */
import { existsSync } from "node:fs";
import { HostError } from "../base/index.js";
import { openDisk } from "../hosts/node/open-disk.js";
import type { Disk } from "../ports/index.js";
import { diskIndex, diskName, MAX_DISKS } from "../vmm/machine/index.js";

/** A disk that the command line names. */
export interface DiskOption {
  readonly file: string;
  readonly readonly: boolean;
  readonly snapshot: boolean;
  /** What the guest calls it; undefined for the next free name. */
  readonly name?: string;
}

/** A disk that is open. */
export interface OpenDisk {
  /** What the guest calls it. */
  readonly name: string;
  readonly disk: Disk;
}

/**
 * Reads one `--disk`. Options are taken from the end, so that a file may have commas in its name.
 * @throws HostError USAGE for an option that there is not; DISK_NAME for a name that no disk has.
 */
export function parseDisk(text: string): DiskOption {
  const words = text.split(",");
  let [readonly, snapshot] = [false, false];
  let name: string | undefined;
  while (words.length > 1) {
    const word = words.at(-1) ?? "";
    if (word === "ro") readonly = true;
    else if (word === "snapshot") snapshot = true;
    else if (word.startsWith("dev=")) name = word.slice(4);
    else break;
    words.pop();
  }
  const file = words.join(",");
  if (words.length > 1 && !existsSync(file)) {
    const word = words.at(-1) ?? "";
    const message = `--disk ${text}: '${word}' is no option of a disk: ro, snapshot, dev=xvdb are`;
    throw new HostError("USAGE", message);
  }
  if (readonly && snapshot) {
    throw new HostError("USAGE", `--disk ${text}: give ro or snapshot, not both`);
  }
  if (name !== undefined) diskIndex(name);
  return { file, readonly, snapshot, ...(name === undefined ? {} : { name }) };
}

/**
 * Disks with the names that the guest sees: those without one get the first that are free, beside those that are
 * taken.
 */
export function nameDisks(
  options: readonly DiskOption[],
  others: readonly string[] = [],
): (DiskOption & { name: string })[] {
  const taken = new Set(others);
  for (const { name } of options) {
    if (name === undefined) continue;
    if (taken.has(name)) throw new HostError("DISK_NAME", `two disks cannot both be ${name}`);
    taken.add(name);
  }
  let next = 0;
  return options.map((option) => {
    if (option.name !== undefined) return { ...option, name: option.name };
    while (taken.has(diskName(next))) next += 1;
    if (next >= MAX_DISKS) {
      throw new HostError("DISK_NAME", `a machine has at most ${MAX_DISKS} disks`);
    }
    const name = diskName(next);
    taken.add(name);
    return { ...option, name };
  });
}

/**
 * Opens the disks of a command line, or one more beside `others`.
 * @throws HostError when one cannot be used; none is open then.
 */
export async function openDisks(
  texts: readonly string[],
  others: readonly string[] = [],
): Promise<OpenDisk[]> {
  const opened: OpenDisk[] = [];
  try {
    for (const { name, file, readonly, snapshot } of nameDisks(texts.map(parseDisk), others)) {
      opened.push({ name, disk: await openDisk(file, { readonly, snapshot }) });
    }
    return opened;
  } catch (refusal) {
    await closeDisks(opened);
    throw refusal;
  }
}

/** Closes disks that no machine has taken. */
export async function closeDisks(disks: readonly OpenDisk[]): Promise<void> {
  await Promise.all(disks.map(({ disk }) => disk.close()));
}
