/** Structures of shim/protocol.h, which the preload library and the server share. */
import { array, bytes, s64, struct, u8, u32, u64 } from "../abi/layout.js";
import { ARGUMENT_MAX } from "./protocol-limits.js";

/** One message at a socket, or in a mailbox. */
export const message = struct("message", {
  type: u32,
  handle: u32,
  a: u64,
  b: u64,
  c: u64,
  d: u64,
});

/** A connection's mailbox. */
export const mailbox = struct("mailbox", {
  state: u32,
  waiting: u32,
  request: message,
  result: s64,
  sent: u32,
  told: u32,
  wants_delay: u32,
  reserved: u32,
  argument: bytes(ARGUMENT_MAX),
});

/** Interrupt lines of a VM that are low. */
export const vm_lines = struct("vm_lines", {
  handle: u32,
  reserved: u32,
  skipped: array(u32, 2),
  answers: array(u8, 240),
});
