/** The xenstore protocol (Xen's `public/io/xs_wire.h` and `docs/misc/xenstore.txt`). */

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

/** `struct xsd_sockmsg`: type, req_id, tx_id, len, u32 each. */
export const XSD_SOCKMSG_SIZE = 16;
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

/** Offsets in `struct xenstore_domain_interface`. */
export const XenstoreInterface = {
  req: 0,
  rsp: 1024,
  req_cons: 2048,
  req_prod: 2052,
  rsp_cons: 2056,
  rsp_prod: 2060,
  server_features: 2064,
  connection: 2068,
  error: 2072,
  evtchn_port: 2076,
} as const;

/** `server_features`: the server reports errors in `error`. */
export const XENSTORE_SERVER_FEATURE_ERROR = 2;
/** Values of `error` (`XENSTORE_ERROR_*`). */
export const XenstoreError = { NONE: 0, COMM: 1, RINGIDX: 2, PROTO: 3 } as const;
