import { describe, expect, it } from "vitest";
import { KvmMpState } from "../../../abi/kvm/index.js";
import { Errno } from "../../../base/index.js";
import { makeDomain } from "../kvm.fixture.js";
import { AT, put } from "./arguments.fixture.js";

const [SET_TIMER_OP, CONSOLE_IO, VM_ASSIST, SCHED_OP] = [15, 18, 21, 29] as const;
const { EFAULT, EINVAL, ENOSYS, EPERM } = Errno;

describe("set_timer_op", () => {
  const timer = (test: ReturnType<typeof makeDomain>): unknown =>
    test.vcpus[0]?.attributes.values.get("TIMER");

  it("has a 64-bit deadline in one argument, or in two of a 32-bit guest: low, then high", () => {
    const deadline = 0x12_3456_789an;
    for (const compat of [false, true]) {
      const test = makeDomain();
      const virq = put(test.domain, [
        [4, 0],
        [4, 0],
        [4, 0],
      ]);
      expect(test.call(32, [1, virq])).toBe(0);
      const args = compat ? [0x3456789a, 0x12] : [deadline, 0x55];
      expect(test.call(SET_TIMER_OP, args, { compat })).toBe(0);
      expect(timer(test)).toMatchObject({ type: "TIMER", expiresNs: deadline });
    }
  });
});

describe("console_io", () => {
  it("logs what is written, 127 bytes at a time, from memory that is there", () => {
    const { call, domain, lines, vcpus } = makeDomain();
    const text = `${"a".repeat(200)}\n`;
    domain.memory.write(AT, Buffer.from(text));
    expect(call(CONSOLE_IO, [0, text.length, AT])).toBe(0);
    expect(lines).toEqual([`console_io: ${"a".repeat(200)}`]);
    expect(vcpus[0]?.work).toBe(2 * 100);
    expect(call(CONSOLE_IO, [0, 1, 0x40000000])).toBe(-EFAULT);
    expect(call(CONSOLE_IO, [0, 0, 0x40000000])).toBe(0);
    expect([call(CONSOLE_IO, [1, 10, AT]), call(CONSOLE_IO, [2, 1, AT])]).toEqual([0, -ENOSYS]);
  });
});

describe("vm_assist", () => {
  it("knows the runstate flag (5) only, on and off", () => {
    const { call, hvm } = makeDomain();
    const flag = (): unknown => hvm.values.get("RUNSTATE_UPDATE_FLAG");
    expect([call(VM_ASSIST, [2, 5]), call(VM_ASSIST, [0, 4]), flag()]).toEqual([
      -ENOSYS,
      -EINVAL,
      undefined,
    ]);
    expect(call(VM_ASSIST, [0, 5])).toBe(0);
    expect(flag()).toEqual({ type: "RUNSTATE_UPDATE_FLAG", runstateUpdateFlag: true });
    expect(call(VM_ASSIST, [1, 5])).toBe(0);
    expect(flag()).toEqual({ type: "RUNSTATE_UPDATE_FLAG", runstateUpdateFlag: false });
  });
});

describe("sched_op", () => {
  it("block halts a vCPU, unless its upcall waits", () => {
    const { call, domain, vcpus } = makeDomain();
    domain.mapSharedInfo(0x20, true);
    domain.config.vm.linear.u8[domain.sharedInfo.vcpuInfo(1)] = 1;
    expect([call(SCHED_OP, [1, 0]), call(SCHED_OP, [1, 0], { vcpu: 1 })]).toEqual([0, 0]);
    expect(vcpus.map((vcpu) => vcpu.mpState)).toEqual([
      KvmMpState.HALTED,
      KvmMpState.UNINITIALIZED,
    ]);
  });

  it("shutdown ends the domain for the reasons of public/sched.h, and tells a suspended guest 1", () => {
    const { call, domain, shutdowns, take } = makeDomain();
    const shutdown = (reason: number): number => call(SCHED_OP, [2, put(domain, [[4, reason]])]);
    expect([0, 1, 3, 4, 6, 7, 0xffffffff].map(shutdown)).toEqual([
      0,
      0,
      0,
      0,
      -EINVAL,
      -EINVAL,
      -EINVAL,
    ]);
    expect(shutdowns).toEqual([0, 1, 3, 4]);
    take();
    expect(shutdown(2)).toBe(1);
    expect(take()).toEqual(["suspend"]);
    expect(call(SCHED_OP, [2, 0x40000000])).toBe(-EFAULT);
  });

  it("answers what is not for guests, and what is nothing here", () => {
    const { call, domain } = makeDomain();
    expect([call(SCHED_OP, [0, 0]), call(SCHED_OP, [3, 0])]).toEqual([0, 0]);
    expect([call(SCHED_OP, [4, 0]), call(SCHED_OP, [7, 0])]).toEqual([-EPERM, -EPERM]);
    expect([call(SCHED_OP, [5, put(domain, [[4, 0]])]), call(SCHED_OP, [5, 0x40000000])]).toEqual([
      0,
      -EFAULT,
    ]);
    expect([call(SCHED_OP, [8, 0]), call(SCHED_OP, [0xffffffff, 0])]).toEqual([-ENOSYS, -ENOSYS]);
  });

  it("watchdog: two timers, which end the domain when they are not wound again", () => {
    const { call, domain, time, shutdowns } = makeDomain();
    const watchdog = (id: number, timeout: number): number =>
      call(SCHED_OP, [
        6,
        put(domain, [
          [4, id],
          [4, timeout],
        ]),
      ]);
    expect([watchdog(0, 0), watchdog(1, 5), watchdog(3, 5)]).toEqual([-EINVAL, -EINVAL, -EINVAL]);
    expect([watchdog(0, 10), watchdog(0, 20), watchdog(0, 5)]).toEqual([1, 2, -Errno.ENOSPC]);
    expect(call(SCHED_OP, [6, 0x40000000])).toBe(-EFAULT);
    time.now += 9e9;
    time.runDue();
    expect([watchdog(1, 10), shutdowns.length]).toEqual([0, 0]);
    time.now += 9.9e9;
    time.runDue();
    expect(shutdowns).toEqual([]);
    expect(watchdog(2, 0)).toBe(0);
    time.now += 0.2e9;
    time.runDue();
    expect(shutdowns).toEqual([4]);
    time.now += 10e9;
    time.runDue();
    expect(shutdowns).toEqual([4]);
  });
});
