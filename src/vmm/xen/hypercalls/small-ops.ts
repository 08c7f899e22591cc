/** Hypercalls without a table of their own: set_timer_op, vm_assist, console_io. */
import {
  CONSOLEIO_read,
  CONSOLEIO_write,
  VMASST_CMD_disable,
  VMASST_CMD_enable,
  VMASST_TYPE_runstate_update_flag,
} from "../../../abi/xen/xen.js";
import { Errno } from "../../../base/index.js";
import { attempt } from "../kvm-objects.js";
import { arg, Continuation, type Handler, u32 } from "./call.js";

/** Bytes that are read at once, as Xen does. */
const CONSOLE_PIECE = 127;

/** set_timer_op(deadline): a u64, in two arguments of a 32-bit guest. */
export const setTimerOp: Handler = (call) => {
  const low = arg(call, 0);
  const wide = call.guest.width === 64 ? low : low | (arg(call, 1) << 32n);
  return call.vcpu.timers.setTimerOp(wide);
};

/** vm_assist(cmd, type). */
export const vmAssist: Handler = (call) => {
  const cmd = u32(call.args[0]);
  if (cmd !== VMASST_CMD_enable && cmd !== VMASST_CMD_disable) return -Errno.ENOSYS;
  if (u32(call.args[1]) !== VMASST_TYPE_runstate_update_flag) return -Errno.EINVAL;
  const runstateUpdateFlag = cmd === VMASST_CMD_enable;
  const { vm } = call.domain.config;
  return attempt(() => vm.xen.setAttr({ type: "RUNSTATE_UPDATE_FLAG", runstateUpdateFlag }));
};

/** console_io(cmd, count, buffer): what a guest says before it has a console goes to the log. */
export const consoleIo: Handler = (call) => {
  const cmd = u32(call.args[0]);
  if (cmd === CONSOLEIO_read) return 0;
  if (cmd !== CONSOLEIO_write) return -Errno.ENOSYS;
  const count = u32(call.args[1]);
  for (let done = 0; done < count; done += CONSOLE_PIECE) {
    const at = arg(call, 2) + BigInt(done);
    if (call.effort.isEnough) return new Continuation([arg(call, 0), BigInt(count - done), at]);
    call.effort.add(1);
    const bytes = call.guest.read(at, Math.min(count - done, CONSOLE_PIECE));
    if (bytes === undefined) return -Errno.EFAULT;
    call.domain.debugText.write(bytes);
  }
  return 0;
};
