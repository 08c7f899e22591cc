/**
 * The beginning of a connection to an NBD server (the NBD protocol's `doc/proto.md`): fixed newstyle negotiation, the
 * option GO, and nothing else. Numbers are big-endian.
 */
import { HostError } from "../../../base/index.js";

/** Bytes as they come, in the pieces that are asked for. */
export interface ByteSource {
  take(length: number): Promise<Buffer>;
}

/** What is known of an export. */
export interface NbdExport {
  readonly size: number;
  /** NBD_FLAG_*. */
  readonly flags: number;
  /** Bytes that one request may carry. */
  readonly maximum: number;
}

/** Transmission flags. */
export const NbdFlag = { READ_ONLY: 2, SEND_FLUSH: 4, SEND_TRIM: 0x20 } as const;

const NBDMAGIC = Buffer.from("NBDMAGIC");
const IHAVEOPT = Buffer.from("IHAVEOPT");
const FIXED_NEWSTYLE = 1;
const NO_ZEROES = 2;
const OPT_GO = 7;
const REPLY_MAGIC = 0x3e889045565a9n;
const REPLY_HEADER = 20;
const Reply = { ACK: 1, INFO: 3, ERROR: 0x80000000 } as const;
const Info = { EXPORT: 0, BLOCK_SIZE: 3 } as const;
const reasons: Readonly<Record<number, string>> = {
  1: "the server is too old",
  2: "the server does not allow it",
  5: "the server wants TLS, which is not supported",
  6: "the server has no such export",
  7: "the server shuts down",
};
/** @limit client | an NBD server's answer to an option | bytes | DISK_UNUSABLE */
const MAX_REPLY = 1 << 16;
/** @limit client | an NBD server's answers to an option | answers | DISK_UNUSABLE */
const MAX_REPLIES = 64;
const SECTOR = 512;
/** What a server takes that does not say how much. */
const USUAL_MAXIMUM = 32 << 20;

/**
 * Chooses an export.
 * @param what the disk, for messages.
 * @throws HostError DISK_UNUSABLE when the server is none, or refuses.
 */
export async function negotiate(
  source: ByteSource,
  send: (bytes: Uint8Array) => void,
  name: string,
  what: string,
): Promise<NbdExport> {
  const refuse = (why: string): HostError => new HostError("DISK_UNUSABLE", `disk ${what}: ${why}`);
  const hello = await source.take(18);
  const isNbd = hello.subarray(0, 8).equals(NBDMAGIC) && hello.subarray(8, 16).equals(IHAVEOPT);
  if (!isNbd) throw refuse("what listens there is no NBD server");
  const offered = hello.readUInt16BE(16);
  if ((offered & FIXED_NEWSTYLE) === 0) throw refuse("the NBD server is too old");
  const chosen = Buffer.alloc(4);
  chosen.writeUInt32BE(FIXED_NEWSTYLE | (offered & NO_ZEROES));
  send(chosen);
  send(goOption(name));
  let found: Pick<NbdExport, "size" | "flags"> | undefined;
  let maximum = USUAL_MAXIMUM;
  for (let replies = 1; ; replies++) {
    const head = await source.take(REPLY_HEADER);
    const type = head.readUInt32BE(12);
    const length = head.readUInt32BE(16);
    if (head.readBigUInt64BE(0) !== REPLY_MAGIC || length > MAX_REPLY || replies > MAX_REPLIES) {
      throw refuse("the NBD server answers nonsense");
    }
    const data = await source.take(length);
    if (type >= Reply.ERROR) throw refuse(reasons[type - Reply.ERROR] ?? "the server refuses");
    if (type === Reply.ACK) break;
    if (type !== Reply.INFO || length < 2) continue;
    const kind = data.readUInt16BE(0);
    if (kind === Info.EXPORT && length >= 12) {
      found = { size: Number(data.readBigUInt64BE(2)), flags: data.readUInt16BE(10) };
    } else if (kind === Info.BLOCK_SIZE && length >= 14) {
      const minimum = data.readUInt32BE(2);
      if (minimum > SECTOR) {
        throw refuse(`the server wants blocks of ${minimum} bytes, not ${SECTOR}`);
      }
      maximum = Math.min(maximum, Math.floor(data.readUInt32BE(10) / SECTOR) * SECTOR);
      if (maximum === 0) throw refuse("the NBD server answers nonsense");
    }
  }
  if (found === undefined) throw refuse("the NBD server tells no size");
  const size = Math.floor(found.size / SECTOR) * SECTOR;
  if (size <= 0 || !Number.isSafeInteger(size)) throw refuse("it is empty, or too large");
  return { size, flags: found.flags, maximum };
}

/** Asks for an export, and for the sizes of its blocks: without that a server may refuse. */
function goOption(name: string): Buffer {
  const text = Buffer.from(name);
  const option = Buffer.alloc(16 + 4 + text.length + 4);
  IHAVEOPT.copy(option);
  option.writeUInt32BE(OPT_GO, 8);
  option.writeUInt32BE(option.length - 16, 12);
  option.writeUInt32BE(text.length, 16);
  text.copy(option, 20);
  option.writeUInt16BE(1, 20 + text.length);
  option.writeUInt16BE(Info.BLOCK_SIZE, 22 + text.length);
  return option;
}
