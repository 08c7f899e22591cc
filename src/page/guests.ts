/** Where the embedded guest is. */
const embeddedImage = new URL("../../guest/embedded/image.elf", import.meta.url).href;

/** The files of a guest, and what its kernel is told. */
export interface GuestFiles {
  readonly kernel?: Uint8Array;
  readonly initrd?: Uint8Array;
  readonly disk?: File;
  /** Words before those of the person. */
  readonly append: string;
}

/** The Debian guest, if whoever serves this page has it. */
export interface ServedGuest {
  readonly description: string;
  /** Addresses, relative to the page. */
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
}

/** Told how far a download is. */
export type OnProgress = (text: string) => void;

/** Asks the server whether it has the guest of `npm start`. */
export async function servedGuest(): Promise<ServedGuest | undefined> {
  try {
    const answer = await fetch("guest/debian.json");
    const isJson = answer.headers.get("content-type")?.startsWith("application/json");
    return answer.ok && isJson ? ((await answer.json()) as ServedGuest) : undefined;
  } catch {
    return undefined;
  }
}

/** The small guest that is part of the page. */
export async function embeddedGuest(onProgress: OnProgress): Promise<GuestFiles> {
  return { kernel: await download(embeddedImage, "the embedded guest", onProgress), append: "" };
}

/** Fetches the guest that the server has. */
export async function debianGuest(
  served: ServedGuest,
  onProgress: OnProgress,
): Promise<GuestFiles> {
  const kernel = await download(served.kernel, "the kernel", onProgress);
  const initrd = await download(served.initrd, "the initial RAM disk", onProgress);
  return { kernel, initrd, append: served.append };
}

/** Reads files of the person; a disk is read when the guest asks. */
export async function ownGuest({ kernel, initrd, disk }: SortedFiles): Promise<GuestFiles> {
  const read = async (file: File) => new Uint8Array(await file.arrayBuffer());
  return {
    ...(kernel === undefined ? {} : { kernel: await read(kernel) }),
    ...(initrd === undefined ? {} : { initrd: await read(initrd) }),
    ...(disk === undefined ? {} : { disk }),
    append: "",
  };
}

/** Files of a person, by what they look like. */
export interface SortedFiles {
  kernel?: File;
  initrd?: File;
  disk?: File;
  snapshot?: File;
}

/** Sorts dropped files: a saved machine, what looks like a kernel, a disk, and the other one. */
export async function sortFiles(files: readonly File[]): Promise<SortedFiles> {
  const sorted: SortedFiles = {};
  for (const file of files) {
    if ((await file.slice(0, 8).text()) === "kvm-xen\n") sorted.snapshot = file;
    else if (sorted.kernel === undefined && (await looksLikeKernel(file))) sorted.kernel = file;
    else if (await looksLikeDisk(file)) sorted.disk = file;
    else sorted.initrd = file;
  }
  return sorted;
}

/** An ELF image, or "HdrS" where a bzImage has it (Documentation/arch/x86/boot.rst); else its name decides. */
async function looksLikeKernel(file: File): Promise<boolean> {
  const head = new Uint8Array(await file.slice(0, 0x206).arrayBuffer());
  const text = (from: number, to: number) => String.fromCharCode(...head.subarray(from, to));
  if (text(0, 4) === "\x7fELF" || text(0x202, 0x206) === "HdrS") return true;
  return /vmlinu|bzimage|kernel|xen/i.test(file.name) && !/initr|cpio/i.test(file.name);
}

/** The signature of a partition table's sector, or the magic number of ext2 to ext4 in its superblock. */
async function looksLikeDisk(file: File): Promise<boolean> {
  const head = new DataView(await file.slice(0, 0x43a).arrayBuffer());
  if (head.byteLength < 0x43a) return false;
  return head.getUint16(510, true) === 0xaa55 || head.getUint16(0x438, true) === 0xef53;
}

async function download(
  address: string,
  what: string,
  onProgress: OnProgress,
): Promise<Uint8Array> {
  const answer = await fetch(address);
  if (!answer.ok || answer.body === null) {
    throw new Error(`${what} cannot be loaded: ${answer.status} ${answer.statusText}`);
  }
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    bytes += value.length;
    onProgress(`loading ${what}: ${(bytes / 1e6).toFixed(1)} MB`);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
