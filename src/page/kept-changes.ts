/**
 * What guests have written to disks, in the browser's private files: a file for each image, which one tab at a time has.
 * Files of disks that are dropped or chosen again have their changes again.
 */
import { ChangesFile, type SyncFile } from "../hosts/browser/index.js";

const FOLDER = "kvm-xen";
const END = ".changes";
/** Bytes at the beginning of such a file that say whose it is. */
const HEAD = 512;
/** @limit user | disks of a page whose changes are kept | disks | changes of further ones are gone with their machine */
const MAX_DISKS = 8;

/** What tells an image from others: the browser tells no more of a file without reading all of it. */
export const identityOf = ({ name, size, lastModified }: File): string =>
  `${size} ${lastModified} ${name}`;

/** The changes of one disk. */
export interface KeptChanges {
  /** Of the file. */
  readonly name: string;
  /** The image's. */
  readonly identity: string;
  readonly bytes: number;
  /** @throws what the browser says, when a tab has them. */
  discard(): Promise<void>;
}

const folder = async (): Promise<FileSystemDirectoryHandle> =>
  (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });

/** All that are kept; none where the browser keeps no files. */
export async function keptChanges(): Promise<KeptChanges[]> {
  const found: KeptChanges[] = [];
  try {
    const place = await folder();
    for await (const [name, handle] of place.entries()) {
      if (!name.endsWith(END) || handle.kind !== "file") continue;
      const file = await (handle as FileSystemFileHandle).getFile();
      const head = new Uint8Array(await file.slice(0, HEAD).arrayBuffer());
      const identity = ChangesFile.identityIn(head);
      // A file without changes is nothing to speak of.
      if (identity === undefined || file.size <= HEAD) continue;
      found.push({ name, identity, bytes: file.size, discard: () => place.removeEntry(name) });
    }
  } catch {
    // Private windows may have none.
  }
  return found;
}

/** A handle as workers have it; the compiler's library for pages leaves that out. */
type WorkersFileHandle = FileSystemFileHandle & { createSyncAccessHandle(): Promise<SyncFile> };

/** The name of an image's file, by its identity. */
export const imageName = (identity: string): string => identity.split(" ").slice(2).join(" ");

/**
 * Opens the changes of an image, in a worker.
 * @returns why not, in a line, when they cannot be kept.
 */
export async function openChanges(image: File): Promise<SyncFile | string> {
  try {
    const digest = await crypto.subtle.digest(
      "SHA-256",
      new TextEncoder().encode(identityOf(image)),
    );
    const hash = Array.from(new Uint8Array(digest, 0, 12), (byte) =>
      byte.toString(16).padStart(2, "0"),
    );
    const name = `disk-${hash.join("")}${END}`;
    const kept = await keptChanges();
    if (kept.length >= MAX_DISKS && !kept.some((one) => one.name === name)) {
      return `changes of ${kept.length} disks are kept already: discard some`;
    }
    const handle = (await (
      await folder()
    ).getFileHandle(name, { create: true })) as WorkersFileHandle;
    return await handle.createSyncAccessHandle();
  } catch (error) {
    if (error instanceof DOMException && error.name === "NoModificationAllowedError") {
      return "another tab has them";
    }
    return error instanceof Error ? error.message : String(error);
  }
}
