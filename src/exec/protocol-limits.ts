/** Sizes of shim/protocol.h. */

/**
 * `READ_MAX`: bytes that follow the answer to a READ at most.
 * @limit client | bytes that one read() of a descriptor of KVM gives | bytes | a short read: the client reads
 *   on
 */
export const READ_MAX = 16_384;
/**
 * `ARGUMENT_MAX`: bytes of an ioctl's argument that travel with request or answer at most.
 * @limit client | argument of an ioctl that travels inside the message | bytes | what is longer is read from
 *   the client's memory
 */
export const ARGUMENT_MAX = 4096;
