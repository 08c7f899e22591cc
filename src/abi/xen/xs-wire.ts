/** The xenstore protocol (Xen's `public/io/xs_wire.h` and `docs/misc/xenstore.txt`). */
import { bytes, struct, u32 } from "../layout.js";

/** Message types (`enum xsd_sockmsg_type`, `XS_*`). */
export const Xs = {
  CONTROL: 0,
  DIRECTORY: 1,
  READ: 2,
  GET_PERMS: 3,
  WATCH: 4,
  UNWATCH: 5,
  TRANSACTION_START: 6,
  TRANSACTION_END: 7,
  INTRODUCE: 8,
  RELEASE: 9,
  GET_DOMAIN_PATH: 10,
  WRITE: 11,
  MKDIR: 12,
  RM: 13,
  SET_PERMS: 14,
  WATCH_EVENT: 15,
  ERROR: 16,
  IS_DOMAIN_INTRODUCED: 17,
  RESUME: 18,
  SET_TARGET: 19,
  RESET_WATCHES: 21,
  DIRECTORY_PART: 22,
} as const;

/** The head of a message. */
export const xsd_sockmsg = struct("xsd_sockmsg", { type: u32, req_id: u32, tx_id: u32, len: u32 });
/** Its bytes. */
export const XSD_SOCKMSG_SIZE = xsd_sockmsg.size;
/**
 * Longest payload of a message, in bytes.
 * @limit guest | payload of a xenstore message | bytes | a longer request ends the connection, a longer reply
 *   is E2BIG
 */
export const XENSTORE_PAYLOAD_MAX = 4096;
/**
 * Longest absolute path of the protocol, in bytes.
 * @nolimit xenstored's own quota is less: XENSTORE_REL_PATH_MAX
 */
export const XENSTORE_ABS_PATH_MAX = 3072;
/**
 * Longest relative path, in bytes.
 * @limit guest | path in xenstore, /local/domain/N/ not counted | bytes | EINVAL, as xenstored
 */
export const XENSTORE_REL_PATH_MAX = 2048;

/** Error names that an XS_ERROR message may carry (`xsd_errors`). */
export const XSD_ERRORS = [
  "EINVAL",
  "EACCES",
  "EEXIST",
  "EISDIR",
  "ENOENT",
  "ENOMEM",
  "ENOSPC",
  "EIO",
  "ENOTEMPTY",
  "ENOSYS",
  "EROFS",
  "EBUSY",
  "EAGAIN",
  "EISCONN",
  "E2BIG",
  "EPERM",
] as const;
/** One of {@link XSD_ERRORS}. */
export type XsError = (typeof XSD_ERRORS)[number];

/** Bytes of each of the two rings in `struct xenstore_domain_interface`. */
export const XENSTORE_RING_SIZE = 1024;

/** The page that a guest shares with its xenstore. */
export const xenstore_domain_interface = struct("xenstore_domain_interface", {
  req: bytes(XENSTORE_RING_SIZE),
  rsp: bytes(XENSTORE_RING_SIZE),
  req_cons: u32,
  req_prod: u32,
  rsp_cons: u32,
  rsp_prod: u32,
  server_features: u32,
  connection: u32,
  error: u32,
  evtchn_port: u32,
});
const at = (field: string): number => xenstore_domain_interface.offset(field);
/** The same by offsets. */
export const XenstoreInterface = {
  req: at("req"),
  rsp: at("rsp"),
  req_cons: at("req_cons"),
  req_prod: at("req_prod"),
  rsp_cons: at("rsp_cons"),
  rsp_prod: at("rsp_prod"),
  server_features: at("server_features"),
  connection: at("connection"),
  error: at("error"),
  evtchn_port: at("evtchn_port"),
} as const;

/** `server_features`: the server reports errors in `error`. */
export const XENSTORE_SERVER_FEATURE_ERROR = 2;
/** Values of `error` (`XENSTORE_ERROR_*`). */
export const XenstoreError = { NONE: 0, COMM: 1, RINGIDX: 2, PROTO: 3 } as const;
