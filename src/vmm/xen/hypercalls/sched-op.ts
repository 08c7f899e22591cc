/**
 * sched_op (Xen's `public/sched.h`). KVM answers yield and poll itself at CPL 0; they are here for
 * multicalls, where a poll may return early. Not here: remote_shutdown and pin_override, which are
 * not for guests.
 */
import { KvmMpState } from "../../../abi/kvm/index.js";
import {
  NR_DOMAIN_WATCHDOG_TIMERS,
  Schedop,
  Shutdown,
  sched_shutdown,
  sched_watchdog,
} from "../../../abi/xen/sched.js";
import { Errno } from "../../../base/index.js";
import { arg, type Handler, type SubOps, u32 } from "./call.js";

/** What a suspended guest sees that goes on in the same domain. */
const SUSPEND_CANCELLED = 1;

const shutdown: Handler = (call) => {
  const request = call.guest.readStruct(arg(call, 1), sched_shutdown);
  if (request === undefined) return -Errno.EFAULT;
  switch (request.reason) {
    case Shutdown.poweroff:
    case Shutdown.reboot:
    case Shutdown.crash:
    case Shutdown.watchdog:
      call.domain.config.onShutdown(request.reason);
      return 0;
    case Shutdown.soft_reset:
      call.domain.log.debug("soft reset: the guest starts another kernel");
      call.domain.softReset();
      return 0;
    case Shutdown.suspend:
      call.domain.config.onSuspend();
      return SUSPEND_CANCELLED;
    default:
      return -Errno.EINVAL;
  }
};

/** Sleeps until an event, with KVM's halted state; not at all when one waits already. */
const block: Handler = (call) => {
  if (!call.domain.upcallPending(call.vcpu)) call.vcpu.kvm.setMpState(KvmMpState.HALTED);
  return 0;
};

const watchdog: Handler = (call) => {
  const request = call.guest.readStruct(arg(call, 1), sched_watchdog);
  if (request === undefined) return -Errno.EFAULT;
  const { id, timeout } = request;
  if (id > NR_DOMAIN_WATCHDOG_TIMERS) return -Errno.EINVAL;
  const { watchdogs } = call.domain;
  if (id !== 0) return watchdogs.set(id, timeout) ? 0 : -Errno.EINVAL;
  if (timeout === 0) return -Errno.EINVAL;
  return watchdogs.start(timeout) ?? -Errno.ENOSPC;
};

const shutdownCode: Handler = (call) =>
  call.guest.readStruct(arg(call, 1), sched_shutdown) === undefined ? -Errno.EFAULT : 0;

const subOps: SubOps = new Map<number, Handler>([
  [Schedop.yield, () => 0],
  [Schedop.block, block],
  [Schedop.shutdown, shutdown],
  [Schedop.poll, () => 0],
  [Schedop.remote_shutdown, () => -Errno.EPERM],
  [Schedop.shutdown_code, shutdownCode],
  [Schedop.watchdog, watchdog],
  [Schedop.pin_override, () => -Errno.EPERM],
]);

/** sched_op(cmd, arg). */
export const schedOp: Handler = (call) => subOps.get(u32(call.args[0]))?.(call) ?? -Errno.ENOSYS;
