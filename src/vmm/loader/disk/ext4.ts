/**
 * Reads files of an ext4 file system (the kernel's Documentation/filesystems/ext4). What a guest has written is
 * hostile: all that it can make long or circular has a bound. The journal is not replayed: what a kernel that lost its
 * power wrote last may be missing.
 */
import { Damaged, type DiskReader, viewOf } from "./disk-reader.js";

const SUPERBLOCK = { at: 1024, length: 1024 } as const;
const MAGIC = 0xef53;
const ROOT_INODE = 2;
/** Incompatible features that do not change how files are read: see {@link Ext4.open}. */
const Incompat = {
  FILETYPE: 0x2,
  RECOVER: 0x4,
  EXTENTS: 0x40,
  BIT64: 0x80,
  MMP: 0x100,
  FLEX_BG: 0x200,
  EA_INODE: 0x400,
  CSUM_SEED: 0x2000,
  LARGEDIR: 0x4000,
  INLINE_DATA: 0x8000,
  CASEFOLD: 0x20000,
} as const;
const KNOWN = Object.values(Incompat).reduce((all, bit) => all | bit, 0);
const InodeFlag = { EXTENTS: 0x80000, INLINE_DATA: 0x10000000, ENCRYPT: 0x800 } as const;
const Kind = { MASK: 0xf000, FOLDER: 0x4000, FILE: 0x8000, LINK: 0xa000 } as const;
const EXTENT_MAGIC = 0xf30a;
/** Longer ones are marked as not written yet: they read as zero. @nolimit ext4's own */
const MAX_EXTENT = 32_768;
/** Levels of a tree of extents. @nolimit ext4's own */
const MAX_DEPTH = 5;
/** @limit file | extents of a file that a kernel is read from, with the nodes of their tree | extents | DISK_NOT_BOOTABLE */
const MAX_EXTENTS = 100_000;
/** @limit file | a folder that a kernel is looked for in | bytes | DISK_NOT_BOOTABLE */
const MAX_FOLDER = 16 << 20;
/** @limit file | symbolic links on the way to a kernel | links | DISK_NOT_BOOTABLE */
const MAX_LINKS = 16;
/** @limit file | text of a symbolic link on the way to a kernel | bytes | DISK_NOT_BOOTABLE */
const MAX_LINK = 4096;
/** Bytes that are read at once. @nolimit more is read in parts */
const MAX_READ = 4 << 20;

interface Inode {
  readonly mode: number;
  readonly size: number;
  readonly flags: number;
  /** The 60 bytes that say where its blocks are. */
  readonly map: Uint8Array;
}

interface Extent {
  /** First block in the file, and on the disk. */
  readonly logical: number;
  readonly physical: number;
  readonly blocks: number;
}

export class Ext4 {
  readonly #disk: DiskReader;
  readonly #start: number;
  readonly #super: DataView;
  /** Bytes of a block. */
  readonly #block: number;
  /** As text, as `root=UUID=` has it. */
  readonly uuid: string;

  private constructor(disk: DiskReader, start: number, bytes: Uint8Array) {
    this.#disk = disk;
    this.#start = start;
    this.#super = viewOf(bytes);
    this.#block = 1024 << this.#super.getUint32(24, true);
    const hex = Array.from(bytes.subarray(104, 120), (byte) => byte.toString(16).padStart(2, "0"));
    this.uuid = hex.join("").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }

  /** Undefined when there is none. @throws Damaged when it is none that can be read. */
  static async open(disk: DiskReader, start: number): Promise<Ext4 | undefined> {
    const bytes = await disk.read(start + SUPERBLOCK.at, SUPERBLOCK.length).catch(() => undefined);
    if (bytes === undefined) return undefined;
    const view = viewOf(bytes);
    if (view.getUint16(56, true) !== MAGIC) return undefined;
    const unknown = view.getUint32(96, true) & ~KNOWN;
    if (unknown !== 0) throw new Damaged(`ext4 has features 0x${unknown.toString(16)}`);
    const [log, perGroup, inodeSize] = [
      view.getUint32(24, true),
      view.getUint32(40, true),
      view.getUint16(88, true),
    ];
    if (log > 6 || perGroup === 0 || inodeSize < 128)
      throw new Damaged("its superblock is damaged");
    return new Ext4(disk, start, bytes);
  }

  /**
   * A file by its path from the root, symbolic links followed; undefined when there is none.
   * @throws Damaged when it cannot be read, or has more than `limit` bytes.
   */
  async readFile(path: string, limit: number): Promise<Uint8Array | undefined> {
    const inode = await this.#find(path);
    if (inode === undefined || (inode.mode & Kind.MASK) !== Kind.FILE) return undefined;
    return this.#content(inode, limit, path);
  }

  async #find(path: string): Promise<Inode | undefined> {
    const left = path.split("/");
    const folders = [await this.#inode(ROOT_INODE)];
    let links = 0;
    while (left.length > 0) {
      const name = left.shift() ?? "";
      const here = folders.at(-1) as Inode;
      if (name === "" || name === ".") continue;
      if (name === "..") {
        if (folders.length > 1) folders.pop();
        continue;
      }
      const number = await this.#lookUp(here, name);
      if (number === undefined) return undefined;
      const inode = await this.#inode(number);
      if ((inode.mode & Kind.MASK) !== Kind.LINK) {
        folders.push(inode);
        continue;
      }
      links += 1;
      if (links > MAX_LINKS) throw new Damaged(`too many symbolic links on the way to ${path}`);
      const target = new TextDecoder().decode(await this.#linkText(inode));
      if (target.startsWith("/")) folders.splice(1);
      left.unshift(...target.split("/"));
    }
    return folders.at(-1);
  }

  async #lookUp(folder: Inode, wanted: string): Promise<number | undefined> {
    if ((folder.mode & Kind.MASK) !== Kind.FOLDER) return undefined;
    // Indexed ones, too, are a list of entries: the index looks like entries without a file.
    const bytes = await this.#content(folder, MAX_FOLDER, "a folder");
    const view = viewOf(bytes);
    for (let at = 0; at + 8 <= bytes.length; ) {
      const length = view.getUint16(at + 4, true);
      if (length < 8 || at + length > bytes.length) throw new Damaged("a folder is damaged");
      const name = bytes.subarray(at + 8, at + 8 + view.getUint8(at + 6));
      const number = view.getUint32(at, true);
      if (number !== 0 && new TextDecoder().decode(name) === wanted) return number;
      at += length;
    }
    return undefined;
  }

  #linkText(inode: Inode): Promise<Uint8Array> {
    const isShort = inode.size < inode.map.length && (inode.flags & InodeFlag.EXTENTS) === 0;
    if (isShort) return Promise.resolve(inode.map.subarray(0, inode.size));
    return this.#content(inode, MAX_LINK, "a symbolic link");
  }

  async #inode(number: number): Promise<Inode> {
    const sb = this.#super;
    const [count, perGroup] = [sb.getUint32(0, true), sb.getUint32(40, true)];
    if (number < 1 || number > count) throw new Damaged("it names a file that cannot be");
    const group = Math.floor((number - 1) / perGroup);
    const is64 = (sb.getUint32(96, true) & Incompat.BIT64) !== 0;
    const descriptorSize = is64 ? sb.getUint16(254, true) : 32;
    const table = (sb.getUint32(20, true) + 1) * this.#block;
    const descriptor = viewOf(await this.#read(table + group * descriptorSize, 64));
    const high = descriptorSize >= 64 ? descriptor.getUint32(40, true) : 0;
    const first = high * 2 ** 32 + descriptor.getUint32(8, true);
    const at = first * this.#block + ((number - 1) % perGroup) * sb.getUint16(88, true);
    const bytes = await this.#read(at, 128);
    const view = viewOf(bytes);
    return {
      mode: view.getUint16(0, true),
      size: view.getUint32(108, true) * 2 ** 32 + view.getUint32(4, true),
      flags: view.getUint32(32, true),
      map: bytes.subarray(40, 100),
    };
  }

  async #content(inode: Inode, limit: number, what: string): Promise<Uint8Array> {
    if (inode.size > limit) throw new Damaged(`${what} is too large: ${inode.size} bytes`);
    const odd = inode.flags & (InodeFlag.INLINE_DATA | InodeFlag.ENCRYPT);
    if (odd !== 0 || (inode.flags & InodeFlag.EXTENTS) === 0) {
      throw new Damaged(`${what} is kept in a way that is not known here (not by extents)`);
    }
    const content = new Uint8Array(inode.size);
    const tree = { extents: [] as Extent[], left: MAX_EXTENTS };
    await this.#extents(inode.map, MAX_DEPTH, tree);
    let next = 0;
    for (const { logical, physical, blocks } of tree.extents) {
      if (logical < next) throw new Damaged("a tree of extents is damaged");
      next = logical + blocks;
      const from = logical * this.#block;
      const end = Math.min((logical + blocks) * this.#block, content.length);
      for (let at = from; at < end; at += MAX_READ) {
        const length = Math.min(MAX_READ, end - at);
        content.set(await this.#read(physical * this.#block + at - from, length), at);
      }
    }
    return content;
  }

  /** Collects the extents of a node of the tree and of all below it. */
  async #extents(
    node: Uint8Array,
    depthLeft: number,
    tree: { readonly extents: Extent[]; left: number },
  ): Promise<void> {
    const view = viewOf(node);
    const [count, depth] = [view.getUint16(2, true), view.getUint16(6, true)];
    const fits = 12 + count * 12 <= node.length;
    if (view.getUint16(0, true) !== EXTENT_MAGIC || !fits || depth > depthLeft) {
      throw new Damaged("a tree of extents is damaged");
    }
    for (let at = 12; at < 12 + count * 12; at += 12) {
      tree.left -= 1;
      if (tree.left < 0) throw new Damaged("a file is in too many parts");
      if (depth > 0) {
        const block = view.getUint16(at + 8, true) * 2 ** 32 + view.getUint32(at + 4, true);
        const below = await this.#read(block * this.#block, this.#block);
        // Each level is one deeper, or the tree would have no end.
        await this.#extents(below, depth - 1, tree);
        continue;
      }
      const blocks = view.getUint16(at + 4, true);
      const physical = view.getUint16(at + 6, true) * 2 ** 32 + view.getUint32(at + 8, true);
      const logical = view.getUint32(at, true);
      if (blocks <= MAX_EXTENT) tree.extents.push({ logical, physical, blocks });
    }
  }

  #read(offset: number, length: number): Promise<Uint8Array> {
    return this.#disk.read(this.#start + offset, length);
  }
}
