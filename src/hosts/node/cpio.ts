/**
 * Writes cpio archives in the "newc" format, which Linux unpacks as its initramfs (kernel:
 * Documentation/driver-api/early-userspace/buffer-format.rst). All files belong to root and bear
 * the time 0, so the same entries give the same bytes.
 */

/** One entry of an archive. `path` has no leading slash; folders come before what they hold. */
export type CpioEntry =
  | {
      readonly kind: "file";
      readonly path: string;
      readonly mode: number;
      readonly data: Uint8Array;
    }
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "link"; readonly path: string; readonly target: string }
  | {
      readonly kind: "device";
      readonly path: string;
      readonly major: number;
      readonly minor: number;
    };

const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;

interface Header {
  readonly inode: number;
  readonly mode: number;
  readonly major?: number;
  readonly minor?: number;
}

/** The archive of `entries`, its end mark included, padded to a multiple of 4 bytes. */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const parts = entries.flatMap((entry, i) => member(entry, i + 1));
  return Buffer.concat([...parts, ...record("TRAILER!!!", { inode: 0, mode: 0 }, Buffer.alloc(0))]);
}

function member(entry: CpioEntry, inode: number): Uint8Array[] {
  const none = Buffer.alloc(0);
  switch (entry.kind) {
    case "file":
      return record(entry.path, { inode, mode: S_IFREG | entry.mode }, entry.data);
    case "folder":
      return record(entry.path, { inode, mode: S_IFDIR | 0o755 }, none);
    case "link":
      return record(entry.path, { inode, mode: S_IFLNK | 0o777 }, Buffer.from(entry.target));
    case "device": {
      const { major, minor } = entry;
      return record(entry.path, { inode, mode: S_IFCHR | 0o600, major, minor }, none);
    }
  }
}

function record(path: string, header: Header, data: Uint8Array): Uint8Array[] {
  const name = Buffer.from(`${path}\0`);
  const { inode, mode, major = 0, minor = 0 } = header;
  const [owner, group, links, time, deviceMajor, deviceMinor, check] = [0, 0, 1, 0, 0, 0, 0];
  const fields = [inode, mode, owner, group, links, time, data.length, deviceMajor, deviceMinor];
  fields.push(major, minor, name.length, check);
  const text = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`;
  const head = Buffer.concat([Buffer.from(text), name]);
  return [head, padding(head.length), data, padding(data.length)];
}

const padding = (length: number): Uint8Array => Buffer.alloc((4 - (length % 4)) % 4);
