import { cmsghdr, iovec, msghdr } from "../abi/linux/syscalls.js";
import { C, close, fixedBuffer, recvmsg, sendmsg } from "./libc.js";
import { ARGUMENT_MAX, READ_MAX } from "./protocol-limits.js";
import { message } from "./shim-structures.js";

export { ARGUMENT_MAX, READ_MAX };

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
  LINES: 12,
  PLACE: 13,
  ANSWER: 100,
} as const;

/** `PROTOCOL_VERSION`. */
export const PROTOCOL_VERSION = 1;
/** `HANDLE_DEVICE`: in handles of /dev/kvm itself. */
export const HANDLE_DEVICE = 0x4000_0000;
/** `struct message`. */
export interface Message {
  readonly type: number;
  readonly handle: number;
  readonly a: bigint;
  readonly b: bigint;
  readonly c: bigint;
  readonly d: bigint;
}

const SIZE = message.size;
/** The index of `a` as a 64-bit word. */
const FIRST_WORD = message.offset("a") / 8;

/** What an ioctl's number says of its argument (`_IOC`). */
const IOC_READ = 2;

/** How many bytes of its argument the answer to an ioctl may bring. */
export function answerRoom(request: number): number {
  const size = (request >>> 16) & 0x3fff;
  return ((request >>> 30) & IOC_READ) !== 0 && size <= ARGUMENT_MAX ? size : 0;
}

/** Memory for one message, with the `struct msghdr` that describes it. */
class Envelope {
  /** Of the header; and all of it as text for the kernel. */
  readonly address: number;
  readonly words: Int32Array;
  readonly body: BigUint64Array;
  readonly bytes: Uint8Array;

  constructor(room: number) {
    const { address, u8 } = fixedBuffer(At.BODY + SIZE + room);
    this.address = address;
    this.words = new Int32Array(u8.buffer, u8.byteOffset, At.BODY + SIZE / 4);
    this.body = new BigUint64Array(u8.buffer, u8.byteOffset + At.BODY, SIZE / 8);
    this.bytes = u8.subarray(At.BODY + SIZE);
    const view = new DataView(u8.buffer, u8.byteOffset, At.BODY);
    const pointer = (at: number, to: number) => view.setBigUint64(at, BigInt(address + to), true);
    pointer(At.IOV_POINTER, At.IOV);
    this.words[At.IOV_COUNT / 4] = 1;
    pointer(At.CONTROL_POINTER, At.CONTROL);
    pointer(At.IOV, At.BODY);
  }

  /** Bytes of the message, and of its control data. */
  describe(length: number, control: number): void {
    this.words[At.LENGTH / 4] = length;
    this.words[At.CONTROL_LENGTH / 4] = control;
  }
}

/** Where an envelope has its parts behind the struct msghdr at its beginning: their order and gaps are ours. */
const IOV = 64;
const CONTROL = 96;
const BODY = 128;
/** Offsets in an envelope: of struct msghdr, its one iovec, struct cmsghdr, struct message. */
const At = {
  IOV_POINTER: msghdr.offset("msg_iov"),
  IOV_COUNT: msghdr.offset("msg_iovlen"),
  CONTROL_POINTER: msghdr.offset("msg_control"),
  CONTROL_LENGTH: msghdr.offset("msg_controllen"),
  IOV,
  LENGTH: IOV + iovec.offset("iov_len"),
  CONTROL,
  CONTROL_LEVEL: CONTROL + cmsghdr.offset("cmsg_level"),
  CONTROL_TYPE: CONTROL + cmsghdr.offset("cmsg_type"),
  DESCRIPTORS: CONTROL + cmsghdr.size,
  BODY,
} as const;
/** CMSG_SPACE of two descriptors, or of one. */
const CONTROL_SIZE = cmsghdr.size + 8;
/** CMSG_LEN of one. */
const ONE_DESCRIPTOR = cmsghdr.size + 4;

const outgoing = new Envelope(READ_MAX);
// A byte more than any message has: one that fills it is too long.
const incoming = new Envelope(ARGUMENT_MAX + 1);

/** An ANSWER: numbers are sign-extended. */
export interface Answer {
  readonly a: number;
  readonly b?: number;
  readonly c?: number;
  readonly d?: number;
  readonly descriptor?: number;
  /** Those beyond {@link READ_MAX} are left out. */
  readonly bytes?: Uint8Array | undefined;
}

function put(index: number, value: number): void {
  const at = At.BODY / 4 + 2 * (FIRST_WORD + index);
  outgoing.words[at] = value;
  outgoing.words[at + 1] = Math.floor(value / 2 ** 32);
}

/** Answers a client; false when the other end is gone, or takes no answers. */
export function send(fd: number, answer: Answer): boolean {
  const { descriptor, bytes } = answer;
  const { words } = outgoing;
  const extra = Math.min(bytes?.length ?? 0, READ_MAX);
  outgoing.describe(SIZE + extra, descriptor === undefined ? 0 : CONTROL_SIZE);
  words[At.BODY / 4] = Msg.ANSWER;
  words[At.BODY / 4 + 1] = 0;
  put(0, answer.a);
  put(1, answer.b ?? 0);
  put(2, answer.c ?? 0);
  put(3, answer.d ?? 0);
  if (bytes !== undefined)
    outgoing.bytes.set(extra < bytes.length ? bytes.subarray(0, extra) : bytes);
  if (descriptor !== undefined) {
    words[At.CONTROL / 4] = ONE_DESCRIPTOR;
    words[At.CONTROL_LEVEL / 4] = C.SOL_SOCKET;
    words[At.CONTROL_TYPE / 4] = C.SCM_RIGHTS;
    words[At.DESCRIPTORS / 4] = descriptor;
  }
  return sendmsg(fd, outgoing.address, C.MSG_NOSIGNAL | C.MSG_DONTWAIT) === SIZE + extra;
}

/** What {@link receive} found. */
export type Received =
  | {
      readonly kind: "message";
      readonly message: Message;
      /** Two at most. */
      readonly descriptors: readonly number[];
      /** What the argument of an ioctl points to, as far as it came along. */
      readonly bytes: Uint8Array | undefined;
    }
  /** Nothing is there now, or the connection is broken: epoll tells. */
  | { readonly kind: "nothing" }
  /** End of file, or bytes that are no message. */
  | { readonly kind: "closed" };

const NOTHING: Received = { kind: "nothing" };
const CLOSED: Received = { kind: "closed" };

/** Takes the next message if there is one. */
export function receive(fd: number): Received {
  incoming.describe(SIZE + ARGUMENT_MAX + 1, CONTROL_SIZE);
  const got = recvmsg(fd, incoming.address, C.MSG_DONTWAIT | C.MSG_CMSG_CLOEXEC);
  if (got < 0) return NOTHING;
  const descriptors = receivedDescriptors();
  const { words, body } = incoming;
  const type = (words[At.BODY / 4] as number) >>> 0;
  const extra = got - SIZE;
  if (extra < 0 || extra > ARGUMENT_MAX || (extra > 0 && type !== Msg.IOCTL)) {
    for (const descriptor of descriptors) close(descriptor);
    return CLOSED;
  }
  const message = {
    type,
    handle: (words[At.BODY / 4 + 1] as number) >>> 0,
    a: body[FIRST_WORD] as bigint,
    b: body[FIRST_WORD + 1] as bigint,
    c: body[FIRST_WORD + 2] as bigint,
    d: body[FIRST_WORD + 3] as bigint,
  };
  const bytes = extra > 0 ? incoming.bytes.slice(0, extra) : undefined;
  return { kind: "message", message, descriptors, bytes };
}

const NONE: readonly number[] = [];

/** Descriptors in the control data of the last message. */
function receivedDescriptors(): readonly number[] {
  const { words } = incoming;
  const word = (at: number): number => words[at / 4] as number;
  if (word(At.CONTROL_LENGTH) < ONE_DESCRIPTOR) return NONE;
  if (word(At.CONTROL_TYPE) !== C.SCM_RIGHTS) return NONE;
  const first = word(At.DESCRIPTORS);
  return word(At.CONTROL) > ONE_DESCRIPTOR ? [first, word(At.DESCRIPTORS + 4)] : [first];
}
