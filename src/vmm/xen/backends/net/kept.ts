/** A network card in an exact snapshot: what waits and what is on its way stays so. */

import { MAX_FRAME } from "../../../../ports/index.js";
import {
  bool,
  bytes,
  finite,
  integer,
  list,
  oneOf,
  optional,
  struct,
  text,
  u32,
  type ValueOf,
} from "../../../snapshot/codec.js";
import { grantLayer } from "../kept-grant.js";

/** @limit file | frames that wait for a guest, in an exact snapshot | frames | SNAPSHOT_DAMAGED */
const MAX_FRAMES = 1 << 16;
/** @limit file | records of what a network is in the middle of, in an exact snapshot | records | SNAPSHOT_DAMAGED */
const MAX_RECORDS = 1 << 17;
/** @limit file | numbers of such a record | numbers | SNAPSHOT_DAMAGED */
const MAX_NUMBERS = 64;
/** @limit file | bytes of such a record: a TCP window or a frame, with what belongs to it | bytes | SNAPSHOT_DAMAGED */
const MAX_RECORD = 1 << 17;

const connectionLayer = struct({
  ...{ tx: u32, rx: u32, port: u32, txPage: grantLayer, rxPage: grantLayer },
  takes: struct({
    ...{ sg: bool, gso4: bool, gso6: bool, checksum4: bool, checksum6: bool, notifies: bool },
  }),
  /** Everything that was taken is answered. */
  txAt: u32,
  rxAt: u32,
  waiting: list(
    struct({
      bytes: bytes(14, MAX_FRAME),
      checksum: oneOf("valid", "blank", "unknown"),
      segmentSize: optional(integer(1, 0xffff)),
    }),
    MAX_FRAMES,
  ),
});

/** Values of a connection's layer. */
export type KeptNetConnection = ValueOf<typeof connectionLayer>;

/** What a card keeps beside what xenbus does: its connection, and what its network says. */
export const netLayer = struct({
  connection: optional(connectionLayer),
  network: list(
    struct({
      what: text(20),
      numbers: list(finite, MAX_NUMBERS),
      bytes: bytes(0, MAX_RECORD),
      timer: optional(struct({ atNs: finite, order: integer(0, Number.MAX_SAFE_INTEGER) })),
    }),
    MAX_RECORDS,
  ),
});
