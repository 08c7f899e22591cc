/** The server's side of DHCP (RFC 2131, RFC 2132), for one client that always gets the same address. */
import { join, viewOf } from "./packets.js";

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;

const Message = { DISCOVER: 1, OFFER: 2, REQUEST: 3, ACK: 5, NAK: 6 } as const;
const Option = {
  MASK: 1,
  ROUTER: 3,
  REQUESTED: 50,
  LEASE: 51,
  MESSAGE: 53,
  SERVER: 54,
  END: 255,
} as const;
/** Bytes before the options, with the magic cookie. */
const FIXED = 240;
const COOKIE = 0x63825363;
const LEASE_SECONDS = 86400;

/** Addresses as numbers. */
export interface Lease {
  readonly client: number;
  readonly mask: number;
  readonly server: number;
}

const address = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, value);
  return bytes;
};

const option = (kind: number, value: Uint8Array): Uint8Array =>
  join(Uint8Array.of(kind, value.length), value);

function readOptions(bytes: Uint8Array): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (let at = 0; at < bytes.length; ) {
    const kind = bytes[at] as number;
    if (kind === Option.END) break;
    if (kind === 0) {
      at += 1;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    options.set(kind, bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return options;
}

/** The answer to a client's message; undefined when there is none. */
export function answerDhcp(message: Uint8Array, lease: Lease): Uint8Array | undefined {
  if (message.length < FIXED || message[0] !== 1) return undefined;
  if (viewOf(message).getUint32(236) !== COOKIE) return undefined;
  const options = readOptions(message.subarray(FIXED));
  const kind = options.get(Option.MESSAGE)?.[0];
  if (kind !== Message.DISCOVER && kind !== Message.REQUEST) return undefined;
  const asked = options.get(Option.REQUESTED);
  const isRight = asked?.length !== 4 || viewOf(asked).getUint32(0) === lease.client;
  const type = kind === Message.DISCOVER ? Message.OFFER : isRight ? Message.ACK : Message.NAK;
  const head = message.slice(0, FIXED);
  head[0] = 2;
  viewOf(head).setUint32(16, type === Message.NAK ? 0 : lease.client);
  viewOf(head).setUint32(20, lease.server);
  // The names of server and file are the client's own bytes.
  head.fill(0, 44, 236);
  return join(
    head,
    option(Option.MESSAGE, Uint8Array.of(type)),
    option(Option.SERVER, address(lease.server)),
    option(Option.LEASE, address(LEASE_SECONDS)),
    option(Option.MASK, address(lease.mask)),
    option(Option.ROUTER, address(lease.server)),
    Uint8Array.of(Option.END),
  );
}
