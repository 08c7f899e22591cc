/** The store and its ring in an exact snapshot. */
import { XENSTORE_PAYLOAD_MAX, XSD_SOCKMSG_SIZE } from "../../../abi/xen/xs-wire.js";
import {
  bool,
  bytes,
  type Codec,
  damaged,
  integer,
  list,
  optional,
  struct,
  text,
  u32,
} from "../../snapshot/codec.js";
import { formatPermission, type Permission, PRIVILEGED, parsePermission } from "./node.js";
import { isXsError, parsePath } from "./path.js";

/**
 * Nodes of xenstore in a file, and nodes that a transaction has seen.
 * @limit file | xenstore nodes in an exact snapshot | nodes | SNAPSHOT_DAMAGED
 */
const MAX_NODES = 10_000;
/** @limit file | a value or path of xenstore in an exact snapshot | bytes | SNAPSHOT_DAMAGED */
const MAX_BYTES = 4096;
/** @limit file | permissions of a xenstore node in an exact snapshot | entries | SNAPSHOT_DAMAGED */
const MAX_PERMISSIONS = 256;
/** @limit file | watches in an exact snapshot | watches | SNAPSHOT_DAMAGED */
const MAX_WATCHES = 2000;
/** @limit file | transactions in an exact snapshot | transactions | SNAPSHOT_DAMAGED */
const MAX_TRANSACTIONS = 64;
/** @limit file | messages of xenstore that wait, in an exact snapshot | messages | SNAPSHOT_DAMAGED */
const MAX_WAITING = 200_000;
/** @nolimit a message of the protocol */
const MAX_MESSAGE = XSD_SOCKMSG_SIZE + XENSTORE_PAYLOAD_MAX;

const natural = integer(0, Number.MAX_SAFE_INTEGER);
const domid = integer(-(2 ** 31), 2 ** 31 - 1);

const permission: Codec<Permission> = {
  write: formatPermission,
  read(data, at) {
    const found = parsePermission(text(32).read(data, at));
    if (found === undefined) throw damaged(at);
    return found;
  },
};
const permissions = list(permission, MAX_PERMISSIONS, 1) as unknown as Codec<
  readonly [Permission, ...Permission[]]
>;

/** An absolute path of a node. */
const path: Codec<string> = {
  write: (value) => value,
  read(data, at) {
    const value = text(MAX_BYTES).read(data, at);
    if (!value.startsWith("/") || isXsError(parsePath(PRIVILEGED, value))) throw damaged(at);
    return value;
  },
};

const node = struct({
  value: bytes(0, MAX_BYTES),
  permissions,
  children: list(text(MAX_BYTES), MAX_NODES),
  generation: natural,
});

/** A node that a transaction has seen; there is always a root. */
function seenNode<F extends { readonly [name: string]: Codec<unknown> }>(more: F) {
  const codec = struct({ path, node: optional(node), ...more });
  return {
    ...codec,
    read(data, at) {
      const seen = codec.read(data, at);
      if (seen.path === "/" && seen.node === undefined) throw damaged(at);
      return seen;
    },
  } satisfies typeof codec;
}

const account = struct({ domid, count: integer(-(2 ** 40), 2 ** 40) });
const accounts: Codec<readonly (readonly [number, number])[]> = {
  write: (value) => value.map(([id, count]) => account.write({ domid: id, count })),
  read: (data, at) =>
    list(account, 1000)
      .read(data, at)
      .map(({ domid: id, count }) => [id, count] as const),
};

export const storeLayer = struct({
  nodes: list(
    struct({
      ...{ path, value: bytes(0, MAX_BYTES), generation: natural },
      permissions: list(permission, MAX_PERMISSIONS, 1),
    }),
    MAX_NODES,
    1,
  ),
  generation: natural,
  nextTransaction: u32,
  watches: list(
    struct({
      ...{ domid, path: text(MAX_BYTES), token: text(MAX_BYTES) },
      isRelative: bool,
    }),
    MAX_WATCHES,
  ),
  transactions: list(
    struct({
      ...{ id: integer(1, 0xffffffff), domid, failed: bool },
      view: struct({
        prefix: natural,
        seen: list(seenNode({ isCurrent: bool }), MAX_NODES),
        changed: list(seenNode({}), MAX_NODES),
        owned: accounts,
        copies: accounts,
      }),
      changes: list(
        struct({
          ...{ path, exact: bool },
          before: optional(permissions),
          parent: optional(permissions),
        }),
        MAX_NODES,
      ),
    }),
    MAX_TRANSACTIONS,
  ),
  accounts: struct({ nodes: accounts, bytes: accounts }),
});

export const storeRingLayer = struct({
  connection: struct({
    output: list(
      struct({
        event: optional(text(MAX_BYTES)),
        reply: optional(bytes(XSD_SOCKMSG_SIZE, MAX_MESSAGE)),
      }),
      MAX_WAITING,
    ),
    overflowed: bool,
  }),
  input: bytes(0, MAX_MESSAGE),
  sending: bytes(0, MAX_MESSAGE),
  message: optional(struct({ bytes: bytes(XSD_SOCKMSG_SIZE, MAX_MESSAGE), isReply: bool })),
  outstanding: integer(0, 1000),
  dead: bool,
});
