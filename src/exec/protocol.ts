import { C, close, fixedBuffer, recvmsg, sendmsg } from "./libc.js";

/** What preload library and server say to each other; the numbers are those of shim/protocol.h. */
export const Msg = {
  HELLO: 1,
  OPEN: 2,
  IOCTL: 3,
  MMAP: 4,
  SHARE: 5,
  UNSHARE: 6,
  READ: 7,
  INTERRUPT: 8,
  BELL: 10,
  RESIZED: 11,
  ANSWER: 100,
} as const;

/** `PROTOCOL_VERSION`. */
export const PROTOCOL_VERSION = 1;
/** `HANDLE_DEVICE`: in handles of /dev/kvm itself. */
export const HANDLE_DEVICE = 0x4000_0000;
/** `READ_MAX`: bytes that follow the answer to a READ at most. */
export const READ_MAX = 16_384;

/** `struct message`. */
export interface Message {
  readonly type: number;
  readonly handle: number;
  readonly a: bigint;
  readonly b: bigint;
  readonly c: bigint;
  readonly d: bigint;
}

const SIZE = 40;
/** struct msghdr: name, namelen, iov, iovlen, control, controllen, flags. */
const HEADER = 0;
const IOV = 64;
const CONTROL = 96;
const CONTROL_SIZE = 24;
const BODY = 128;

const scratch = fixedBuffer(BODY + SIZE + READ_MAX);
const view = new DataView(scratch.u8.buffer, scratch.u8.byteOffset);
const u64 = (offset: number, value: number) => view.setBigUint64(offset, BigInt(value), true);

function prepare(bodyLength: number, controlLength: number): void {
  scratch.u8.fill(0, 0, BODY);
  u64(HEADER + 16, scratch.address + IOV);
  u64(HEADER + 24, 1);
  if (controlLength > 0) u64(HEADER + 32, scratch.address + CONTROL);
  u64(HEADER + 40, controlLength);
  u64(IOV, scratch.address + BODY);
  u64(IOV + 8, bodyLength);
}

/** Sends a message, with a descriptor or bytes that follow it; false when the other end is gone. */
export function send(
  fd: number,
  message: Partial<Message> & { readonly type: number },
  attached: { readonly descriptor?: number; readonly bytes?: Uint8Array } = {},
): boolean {
  const { descriptor, bytes } = attached;
  const extra = Math.min(bytes?.length ?? 0, READ_MAX);
  prepare(SIZE + extra, descriptor === undefined ? 0 : CONTROL_SIZE);
  view.setUint32(BODY, message.type, true);
  view.setUint32(BODY + 4, message.handle ?? 0, true);
  view.setBigUint64(BODY + 8, BigInt.asUintN(64, message.a ?? 0n), true);
  view.setBigUint64(BODY + 16, BigInt.asUintN(64, message.b ?? 0n), true);
  view.setBigUint64(BODY + 24, BigInt.asUintN(64, message.c ?? 0n), true);
  view.setBigUint64(BODY + 32, BigInt.asUintN(64, message.d ?? 0n), true);
  if (bytes !== undefined) scratch.u8.set(bytes.subarray(0, extra), BODY + SIZE);
  if (descriptor !== undefined) {
    // struct cmsghdr: len, level, type; then the descriptor.
    u64(CONTROL, 20);
    view.setInt32(CONTROL + 8, C.SOL_SOCKET, true);
    view.setInt32(CONTROL + 12, C.SCM_RIGHTS, true);
    view.setInt32(CONTROL + 16, descriptor, true);
  }
  return sendmsg(fd, scratch.address, C.MSG_NOSIGNAL | C.MSG_DONTWAIT) === SIZE + extra;
}

/** What {@link receive} found. */
export type Received =
  | {
      readonly kind: "message";
      readonly message: Message;
      /** Two at most. */
      readonly descriptors: readonly number[];
    }
  /** Nothing is there now, or the connection is broken: epoll tells. */
  | { readonly kind: "nothing" }
  /** End of file, or bytes that are no message. */
  | { readonly kind: "closed" };

/** Takes the next message if there is one. */
export function receive(fd: number): Received {
  prepare(SIZE, CONTROL_SIZE);
  const got = recvmsg(fd, scratch.address, C.MSG_DONTWAIT | C.MSG_CMSG_CLOEXEC);
  if (got < 0) return { kind: "nothing" };
  const descriptors = receivedDescriptors();
  if (got !== SIZE) {
    for (const descriptor of descriptors) close(descriptor);
    return { kind: "closed" };
  }
  const message = {
    type: view.getUint32(BODY, true),
    handle: view.getUint32(BODY + 4, true),
    a: view.getBigUint64(BODY + 8, true),
    b: view.getBigUint64(BODY + 16, true),
    c: view.getBigUint64(BODY + 24, true),
    d: view.getBigUint64(BODY + 32, true),
  };
  return { kind: "message", message, descriptors };
}

const NONE: readonly number[] = [];

/** Descriptors in the control data of the last message. */
function receivedDescriptors(): readonly number[] {
  if (view.getBigUint64(HEADER + 40, true) < 20n) return NONE;
  if (view.getInt32(CONTROL + 12, true) !== C.SCM_RIGHTS) return NONE;
  // struct cmsghdr: its length counts itself, 16 bytes.
  const isPair = view.getBigUint64(CONTROL, true) >= 24n;
  const first = view.getInt32(CONTROL + 16, true);
  return isPair ? [first, view.getInt32(CONTROL + 20, true)] : [first];
}
