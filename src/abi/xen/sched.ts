import { pointer, struct, u32, u64 } from "../layout.js";

/** Sub-operations of sched_op (Xen's `public/sched.h`, `SCHEDOP_*`). */
export const Schedop = {
  yield: 0,
  block: 1,
  shutdown: 2,
  poll: 3,
  remote_shutdown: 4,
  shutdown_code: 5,
  watchdog: 6,
  pin_override: 7,
} as const;

/** Reasons of SCHEDOP_shutdown (`SHUTDOWN_*`). */
export const Shutdown = {
  poweroff: 0,
  reboot: 1,
  suspend: 2,
  crash: 3,
  watchdog: 4,
  soft_reset: 5,
} as const;

/** Ports to wait for, their number, and until when, in ns. */
export const sched_poll = struct("sched_poll", { ports: pointer, nr_ports: u32, timeout: u64 });
export const sched_shutdown = struct("sched_shutdown", { reason: u32 });
export const sched_watchdog = struct("sched_watchdog", { id: u32, timeout: u32 });

/** Watchdogs of a domain; ids are 1 to this. */
export const NR_DOMAIN_WATCHDOG_TIMERS = 2;
