/** vcpu_op by public/vcpu.h, as Xen carries it out for a guest of its own kind. */
import { describe, expect, it } from "vitest";
import { KvmMpState } from "../../../abi/kvm/index.js";
import { Errno, gpa } from "../../../base/index.js";
import type { DomainVcpu } from "../domain.js";
import { makeDomain } from "../kvm.fixture.js";
import { AT, type Field, put } from "./arguments.fixture.js";

const { EFAULT, EINVAL, ENOENT, ENOSYS } = Errno;
const { RUNNABLE, UNINITIALIZED, INIT_RECEIVED, HALTED } = KvmMpState;

function setUp() {
  const test = makeDomain();
  const { call, domain } = test;
  const op = (cmd: number, vcpu: number, fields: Field[] = []): number =>
    call(24, [cmd, vcpu, put(domain, fields)]);
  return { ...test, op };
}

it("every operation names a vCPU that there is", () => {
  const { call } = setUp();
  for (let cmd = 0; cmd < 16; cmd++) expect(call(24, [cmd, 2, 0])).toBe(-ENOENT);
  for (const cmd of [16, 17, 99]) expect(call(24, [cmd, 0, 0])).toBe(-ENOSYS);
});

it("VCPUOP_get_physid is for vCPUs that cannot leave their processor", () => {
  expect(setUp().call(24, [12, 0, AT])).toBe(-EINVAL);
});

describe("VCPUOP_send_nmi", () => {
  it("has no argument, and reaches the vCPU that it names", () => {
    const { call, take } = setUp();
    expect([call(24, [11, 1, AT]), take()]).toEqual([-EINVAL, []]);
    expect([call(24, [11, 1, 0]), take()]).toEqual([0, ["nmi 4"]]);
  });
});

describe("timers of one shot", () => {
  it("are a vCPU's own: nobody sets or stops another's", () => {
    const { op, call } = setUp();
    const at: Field[] = [
      [8, 5000],
      [4, 0],
    ];
    expect([op(8, 1, at), call(24, [9, 1, 0])]).toEqual([-EINVAL, -EINVAL]);
    expect([op(8, 0, at), call(24, [9, 0, 0])]).toEqual([0, 0]);
  });
});

describe("a deadline of 0", () => {
  it("has passed: it is not the 0 with which KVM's timer is off", () => {
    const { op, call, domain, vcpus } = setUp();
    const virq: Field[] = [
      [4, 0],
      [4, 0],
      [4, 0],
    ];
    expect(call(32, [1, put(domain, virq)])).toBe(0);
    expect(
      op(8, 0, [
        [8, 0],
        [4, 0],
      ]),
    ).toBe(0);
    const timer = vcpus[0]?.attributes.values.get("TIMER") as { expiresNs: bigint };
    expect(timer.expiresNs).toBeGreaterThan(0n);
    expect(timer.expiresNs).toBeLessThanOrEqual(1000n);
  });
});

describe("periodic timers", () => {
  it("may be set for another vCPU, from a millisecond to less than 2^62 nanoseconds", () => {
    const { op, call, time } = setUp();
    for (const [period, result] of [
      [999_999, -EINVAL],
      [1_000_000, 0],
      [2n ** 62n - 1n, 0],
      [2n ** 62n, -EINVAL],
    ] as const)
      expect(op(6, 1, [[8, period]])).toBe(result);
    expect(time.armed.size).toBe(1);
    expect(call(24, [7, 1, 0])).toBe(0);
    expect(time.armed.size).toBe(0);
  });
});

describe("VCPUOP_get_runstate_info", () => {
  const times = (domain: ReturnType<typeof makeDomain>["domain"]): bigint[] =>
    [8, 16, 24, 32, 40].map((offset) => domain.memory.readU64(AT + offset) as bigint);

  it("gives the state, since when, and the four times, the present one up to now", () => {
    const { call, domain, time } = setUp();
    time.now = 1000;
    expect(call(24, [4, 1, AT])).toBe(0);
    expect(domain.memory.readU32(AT)).toBe(0);
    // The fake vCPU runs since 400, ran 100 before, and was offline for 300.
    expect(times(domain)).toEqual([400n, 700n, 0n, 0n, 300n]);
    time.now = 401;
    expect(call(24, [4, 1, AT])).toBe(0);
    expect(times(domain)).toEqual([400n, 101n, 0n, 0n, 300n]);
    time.now = 1500;
    expect(call(24, [4, 1, AT])).toBe(0);
    expect(times(domain)).toEqual([400n, 1200n, 0n, 0n, 300n]);
  });

  it("does not count backwards when the clock is behind", () => {
    const { call, domain, time } = setUp();
    time.now = 399;
    expect(call(24, [4, 0, AT])).toBe(0);
    expect(times(domain)).toEqual([400n, 100n, 0n, 0n, 300n]);
  });
});

describe("areas that are given by address", () => {
  const last = ({ vcpus }: ReturnType<typeof setUp>, vcpu: number): unknown =>
    vcpus[vcpu]?.attributes.sets.at(-1);
  const NONE = 2n ** 64n - 1n;

  it("may be any vCPU's, and null takes them away", () => {
    const test = setUp();
    expect(test.op(5, 1, [[8, 0x8000]])).toBe(0);
    expect(last(test, 1)).toEqual({ type: "RUNSTATE_ADDR", gpa: 0x8000n });
    expect(test.op(13, 1, [[8, 0x8100]])).toBe(0);
    expect(last(test, 1)).toEqual({ type: "VCPU_TIME_INFO", gpa: 0x8100n });
    expect(test.op(13, 1, [[8, 0]])).toBe(0);
    expect(last(test, 1)).toEqual({ type: "VCPU_TIME_INFO", gpa: NONE });
    expect(test.vcpus[0]?.attributes.sets).toEqual([]);
  });

  it("a 32-bit guest's addresses have 32 bits", () => {
    const test = setUp();
    const { call, domain } = test;
    const at = put(domain, [[8, 0xffffffff_00008000n]]);
    expect(call(24, [5, 0, at], { compat: true })).toBe(0);
    expect(last(test, 0)).toEqual({ type: "RUNSTATE_ADDR", gpa: 0x8000n });
  });

  it("by physical address: aligned to a long, on one page, in memory", () => {
    const test = setUp();
    const { call, domain } = test;
    const phys = (cmd: number, gpa: number | bigint, compat = false): number =>
      call(24, [cmd, 0, put(domain, [[8, gpa]])], { compat });
    for (const cmd of [14, 15]) {
      const size = cmd === 14 ? 48 : 32;
      expect(phys(cmd, 0x9000 - size)).toBe(0);
      expect(phys(cmd, 0x9000 - size + 8)).toBe(-Errno.ENXIO);
      expect(phys(cmd, 0x8004)).toBe(-Errno.ENXIO);
      expect(phys(cmd, 0x8004, true)).toBe(0);
      expect(phys(cmd, 0x8002, true)).toBe(-Errno.ENXIO);
      expect(phys(cmd, (16 << 20) - 64)).toBe(0);
      expect(phys(cmd, 16 << 20)).toBe(-EINVAL);
      expect(phys(cmd, 2n ** 52n)).toBe(-EINVAL);
    }
    // A 32-bit guest's runstate has 44 bytes.
    expect(phys(14, 0x9000 - 44, true)).toBe(0);
    expect(phys(14, 0x9000 - 40, true)).toBe(-Errno.ENXIO);
    expect(phys(14, NONE)).toBe(0);
    expect(last(test, 0)).toEqual({ type: "RUNSTATE_ADDR", gpa: NONE });
  });
});

describe("VCPUOP_register_vcpu_info", () => {
  it("is 64 bytes on one page, aligned to a long, at an offset below 4096", () => {
    const info = (mfn: number, offset: number): Field[] => [
      [8, mfn],
      [4, offset],
      [4, 0],
    ];
    const { op, domain } = setUp();
    expect(op(10, 1, info(8, 4096))).toBe(-EINVAL);
    expect(op(10, 1, info(8, 4032 + 8))).toBe(-Errno.ENXIO);
    expect(op(10, 1, info(4096, 0))).toBe(-EINVAL);
    expect(op(10, 1, info(4095, 4032))).toBe(0);
    expect(domain.vcpus.get(1)?.infoGpa).toBe((16 << 20) - 64);
    expect(op(10, 1, info(8, 0))).toBe(-Errno.EBUSY);
    expect(op(10, 0, info(8, 0))).toBe(0);
  });
});

describe("VCPUOP_up and _down", () => {
  it("stop the domain when no vCPU is up any more", () => {
    const { call, vcpus, shutdowns, take } = setUp();
    (vcpus[1] as { mpState: number }).mpState = 3;
    expect([call(24, [3, 0, 0]), call(24, [3, 1, 0])]).toEqual([1, 1]);
    expect([call(24, [2, 1, 0]), take()]).toEqual([0, ["kick 4"]]);
    expect([call(24, [3, 1, 0]), shutdowns]).toEqual([0, []]);
    expect(call(24, [1, 1, 0])).toBe(0);
    expect(call(24, [3, 1, 0])).toBe(1);
    expect([call(24, [2, 1, 0]), call(24, [2, 0, 0]), shutdowns]).toEqual([0, 0, [0]]);
  });

  it("lets a vCPU run that was initialised, wherever it had stopped, and wakes it", () => {
    const { call, domain, vcpus } = setUp();
    const vcpu = vcpus[1] as { mpState: number };
    const target = domain.vcpus.get(1) as DomainVcpu;
    let woken = 0;
    target.wake = () => woken++;
    // Never started: neither runs nor wakes.
    expect([call(24, [1, 1, 0]), vcpu.mpState, woken]).toEqual([-EINVAL, UNINITIALIZED, 0]);
    vcpu.mpState = INIT_RECEIVED;
    expect([call(24, [1, 1, 0]), call(24, [3, 1, 0]), woken]).toEqual([-EINVAL, 0, 0]);
    // Started by INIT and SIPI, and halted: stays so.
    vcpu.mpState = HALTED;
    expect([call(24, [1, 1, 0]), vcpu.mpState, woken]).toEqual([0, HALTED, 1]);
    // By VCPUOP_initialise.
    target.initialised = true;
    expect([call(24, [1, 1, 0]), vcpu.mpState, woken]).toEqual([0, HALTED, 2]);
    vcpu.mpState = UNINITIALIZED;
    expect([call(24, [1, 1, 0]), vcpu.mpState, woken]).toEqual([0, RUNNABLE, 3]);
  });
});

describe("VCPUOP_initialise", () => {
  // public/xen.h: shared_info has room for 32 vCPUs; others register their vcpu_info first.
  it.each([31, 32])("vCPU %i needs a vcpu_info", (id) => {
    const { call, domain } = makeDomain(
      [],
      Array.from({ length: 33 }, (_, i) => 2 * i),
    );
    const initialise = (): number => call(24, [0, id, 2 ** 30]);
    expect(initialise()).toBe(id < 32 ? -EFAULT : -EINVAL);
    const fields: Field[] = [
      [8, 8],
      [4, 0],
      [4, 0],
    ];
    expect(call(24, [10, id, put(domain, fields)])).toBe(0);
    expect(initialise()).toBe(-EFAULT);
  });
});

describe("areas that are given by virtual address", () => {
  /** Pages of guest-virtual memory from 0x8000 on, and where they are. */
  const translateWith = (pages: readonly (number | undefined)[]) => (address: bigint) => {
    const page = pages[Number(address >> 12n) - 8];
    return page === undefined ? undefined : gpa(page * 4096 + Number(address & 0xfffn));
  };
  const [RUNSTATE, TIME] = [5, 13] as const;
  it.each([
    ["on one page", [0x20, undefined], 0x8fc0, [0x20fc0n, 0x20fc0n]],
    // Of 48 bytes, of 32.
    ["up to its end", [0x20, undefined], 0x8fe0, [-EFAULT, 0x20fe0n]],
    ["on two pages that follow each other", [0x20, 0x21], 0x8ff0, [0x20ff0n, -EFAULT]],
    ["on two pages that do not", [0x20, 0x22], 0x8ff0, [-EFAULT, -EFAULT]],
    ["on two pages in the other order", [0x21, 0x20], 0x8ff0, [-EFAULT, -EFAULT]],
    ["whose first page is nowhere", [undefined, 0x21], 0x8ff0, [-EFAULT, -EFAULT]],
    ["whose page is no memory", [0x9000, 0x9001], 0x8000, [-EFAULT, -EFAULT]],
  ] as const)("%s", (_, pages, address, results) => {
    for (const [i, cmd] of [RUNSTATE, TIME].entries()) {
      const test = setUp();
      const [vcpu] = test.vcpus;
      if (vcpu === undefined) throw new Error("no vCPU");
      // The argument itself is at 0x5000.
      const areas = translateWith(pages);
      vcpu.translate = (at) => (at < 0x8000n ? gpa(Number(at)) : areas(at));
      const result = results[i];
      const isThere = typeof result === "bigint";
      expect(test.op(cmd, 0, [[8, address]])).toBe(isThere ? 0 : result);
      expect(vcpu.attributes.sets).toEqual(
        isThere ? [{ type: i === 0 ? "RUNSTATE_ADDR" : "VCPU_TIME_INFO", gpa: result }] : [],
      );
    }
  });
});
