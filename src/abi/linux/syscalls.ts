/** Structures of Linux's system calls, as the C library has them. */
import { packed, pointer, s16, s32, struct, u32, u64, ulong } from "../layout.js";

/** `poll.h`. */
export const pollfd = struct("pollfd", { fd: s32, events: s16, revents: s16 });
/** `sys/epoll.h`; `data` is what the caller wants back. Packed on x86-64. */
export const epoll_event = packed("epoll_event", { events: u32, data: u64 });
/** `sys/uio.h`. */
export const iovec = struct("iovec", { iov_base: pointer, iov_len: ulong });
/** `sys/socket.h`. */
export const msghdr = struct("msghdr", {
  msg_name: pointer,
  msg_namelen: u32,
  msg_iov: pointer,
  msg_iovlen: ulong,
  msg_control: pointer,
  msg_controllen: ulong,
  msg_flags: s32,
});
export const cmsghdr = struct("cmsghdr", { cmsg_len: ulong, cmsg_level: s32, cmsg_type: s32 });
/** What SO_PEERCRED answers. */
export const ucred = struct("ucred", { pid: s32, uid: u32, gid: u32 });
