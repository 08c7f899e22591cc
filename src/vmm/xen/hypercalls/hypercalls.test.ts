import { describe, expect, it } from "vitest";
import { Errno, grantRef } from "../../../base/index.js";
import { makeDomain } from "../kvm.fixture.js";
import { AT, addToPhysmap, type Field, put, SELF } from "./arguments.fixture.js";

const { EFAULT, EINVAL, ENOENT, ENOSYS, EPERM, ESRCH, EBUSY, ENXIO, EOPNOTSUPP, ENOSPC } = Errno;

describe("dispatch", () => {
  it("refuses user mode, unknown numbers and bad pointers", () => {
    const { call, lines } = makeDomain();
    expect(call(17, [0], { cpl: 3 })).toBe(-EPERM);
    expect(call(99, [])).toBe(-ENOSYS);
    expect(call(99, [])).toBe(-ENOSYS);
    expect(call(33, [13, AT])).toBe(-ENOSYS);
    expect(lines.filter((line) => line.includes("number 99"))).toHaveLength(1);
    expect(call(17, [6, 2n ** 63n])).toBe(-EFAULT);
    expect(call(12, [7, 16 << 20])).toBe(-EFAULT);
    expect(call(17, [0])).toBe(0x40011);
  });

  it("runs multicalls, in both widths, but none inside another", () => {
    const { call, domain } = makeDomain();
    const fields: Field[] = [17, 0, 0, 0, 0, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0].map((v) => [8, v]);
    expect(call(13, [put(domain, fields), 2])).toBe(0);
    expect(domain.memory.readU64(AT + 8)).toBe(0x40011n);
    expect(domain.memory.readU64(AT + 72)).toBe(2n ** 64n - BigInt(EINVAL));
    const compat: Field[] = [17, 0, 0, 0, 0, 0, 0, 0].map((v) => [4, v]);
    expect(call(13, [put(domain, compat), 1], { compat: true })).toBe(0);
    expect(domain.memory.readU32(AT + 4)).toBe(0x40011);
  });
});

describe("xen_version", () => {
  it("answers all sub-operations", () => {
    const { call, domain } = makeDomain();
    const text = (): string => {
      const bytes = domain.memory.read(AT, 64) ?? new Uint8Array();
      return String.fromCharCode(...bytes.subarray(0, bytes.indexOf(0)));
    };
    expect(call(17, [1, AT])).toBe(0);
    expect(text()).toBe(".0");
    expect(call(17, [3, AT])).toBe(0);
    expect(text()).toContain("hvm-3.0-x86_64");
    expect(call(17, [9, AT])).toBe(0);
    expect(text()).toBe("<denied>");
    expect(call(17, [7, 0])).toBe(4096);
    expect(call(17, [7, AT])).toBe(-EINVAL);
    expect(call(17, [8, AT])).toBe(0);
    expect(domain.memory.readU32(AT)).toBe(0x03020100);
    expect(call(17, [10, AT])).toBe(-Errno.ENODATA);
    put(domain, [[4, 1]]);
    expect(call(17, [6, AT])).toBe(-EINVAL);
    put(domain, [[4, 0]]);
    expect(call(17, [6, AT])).toBe(0);
    const features = domain.memory.readU32(AT + 4) ?? 0;
    expect([2, 8, 9].every((bit) => (features & (1 << bit)) !== 0)).toBe(true);
    expect(features & (1 << 10)).toBe(0);
    expect(call(17, [13, 0])).toBe(7);
    put(domain, [[4, 7]]);
    expect(call(17, [13, AT])).toBe(7);
    expect(call(17, [99, AT])).toBe(-ENOSYS);
  });
});

describe("memory_op", () => {
  it("maps shared_info, adopting the caller's mode first, and moves it", () => {
    const test = makeDomain();
    expect(addToPhysmap(test, 0, 0, 0x10)).toBe(0);
    expect(test.hvm.sets.map((attr) => attr.type)).toEqual(["LONG_MODE", "SHARED_INFO_HVA"]);
    for (const vcpu of test.vcpus) expect(vcpu.attributes.values.has("VCPU_INFO_HVA")).toBe(true);
    test.domain.memory.writeU32(0x10000 + 0xd00, 77);
    expect(addToPhysmap(test, 0, 0, 0x2000000)).toBe(0);
    expect(test.domain.memory.readU32(0x10000 + 0xd00)).toBe(0);
    expect(test.domain.memory.readU32(0x2000000 * 4096 + 0xd00)).toBe(77);
    expect(addToPhysmap(test, 0, 0, 2n ** 64n - 1n)).toBe(0);
    expect(test.domain.sharedInfo.active).toBe(false);
    expect(addToPhysmap(test, 0, 1, 0x10)).toBe(-EINVAL);
    expect(addToPhysmap(test, 0, 0, 0x10, 7)).toBe(-ESRCH);
  });

  it("maps grant frames outside RAM, and refuses the other spaces", () => {
    const test = makeDomain();
    expect(addToPhysmap(test, 1, 0, 0x100000)).toBe(0);
    expect(test.domain.memory.readU32(0x100000 * 4096)).toBe(1);
    expect(addToPhysmap(test, 1, 64, 0x100001)).toBe(-EINVAL);
    expect(addToPhysmap(test, 1, 0x80000000, 0x100001)).toBe(-EINVAL);
    expect(addToPhysmap(test, 2, 0, 5)).toBe(-EOPNOTSUPP);
    expect(addToPhysmap(test, 4, 0, 5)).toBe(-EPERM);
    expect(addToPhysmap(test, 9, 0, 5)).toBe(-ENOSYS);
    const remove: Field[] = [
      [2, SELF],
      [8, 0x100000],
    ];
    expect(test.call(12, [15, put(test.domain, remove)])).toBe(0);
    expect(test.call(12, [15, put(test.domain, remove)])).toBe(-ENOENT);
  });

  it("gives the memory map and sizes", () => {
    const { call, domain } = makeDomain();
    put(domain, [
      [4, 2],
      [8, 0x6000],
    ]);
    expect(call(12, [9, AT])).toBe(0);
    expect(domain.memory.readU32(AT)).toBe(2);
    expect(domain.memory.readU64(0x6000 + 20)).toBe(0xa0000n);
    put(domain, [[2, SELF]]);
    expect(call(12, [4, AT])).toBe(4096);
    expect(call(12, [2, 0])).toBe(4096);
    expect(call(12, [14, AT])).toBe(0xfeff9);
    expect(call(12, [10, AT])).toBe(-ENOSYS);
    put(domain, [[2, 0]]);
    expect(call(12, [3, AT])).toBe(-EPERM);
    put(domain, [[2, 9]]);
    expect(call(12, [3, AT])).toBe(-ESRCH);
    expect(call(12, [28, AT])).toBe(-EPERM);
  });

  it("adds in batches, each entry with its own error, in compat layout too", () => {
    const { call, domain } = makeDomain();
    const fields: Field[] = [
      [2, SELF],
      [2, 1],
      [2, 2],
      [2, 0],
      [4, 0x6000],
      [4, 0x6100],
      [4, 0x6200],
    ];
    domain.memory.writeU32(0x6000, 0);
    domain.memory.writeU32(0x6004, 99);
    domain.memory.writeU32(0x6100, 0x9000);
    domain.memory.writeU32(0x6104, 0x9001);
    expect(call(12, [23, put(domain, fields)], { compat: true })).toBe(0);
    expect(domain.memory.readU32(0x6200)).toBe(0);
    expect(domain.memory.readU32(0x6204)).toBe(2 ** 32 - EINVAL);
    expect(domain.physmap.isBacked(0x9000)).toBe(true);
  });
});

describe("hvm_op", () => {
  const param = (index: number, value: number | bigint = 0, domid = SELF): Field[] => [
    [2, domid],
    [2, 0],
    [4, index],
    [8, value],
  ];

  it("tells the time, and what is in a frame", () => {
    const { call, domain, time } = makeDomain();
    time.now = 123456;
    expect(call(34, [10, AT])).toBe(0);
    expect(domain.memory.readU64(AT)).toBe(123456n);
    const typeOf = (pfn: number, domid = SELF): number => {
      const fields: Field[] = [
        [2, domid],
        [8, pfn],
      ];
      const result = call(34, [15, put(domain, fields)]);
      return result === 0 ? (domain.memory.readU16(AT + 2) ?? 0) : result;
    };
    expect([typeOf(0x20), typeOf(0x99999), typeOf(2 ** 45)]).toEqual([0, 2, 2]);
    expect(typeOf(0x20, 0)).toBe(-ESRCH);
  });

  it("flushes the TLBs of all vCPUs; the argument is null (public/hvm/hvm_op.h)", () => {
    const { call, vcpus } = makeDomain();
    const flushed = (): boolean[] => vcpus.map(({ sregs, sregsSet }) => sregsSet.includes(sregs));
    expect([call(34, [5, AT]), flushed()]).toEqual([-EINVAL, [false, false]]);
    expect([call(34, [5, 0], { vcpu: 1 }), flushed()]).toEqual([0, [true, true]]);
  });

  it("gets and sets parameters by Xen's rules", () => {
    const { call, domain } = makeDomain();
    const get = (index: number): number => call(34, [1, put(domain, param(index))]);
    const set = (index: number, value: number): number =>
      call(34, [0, put(domain, param(index, value))]);
    expect(get(1)).toBe(0);
    expect(domain.memory.readU64(AT + 8)).toBe(0xfeff9n);
    expect(get(17)).toBe(0);
    expect(domain.memory.readU64(AT + 8)).toBe(0xfeff8n);
    expect(get(36)).toBe(0);
    expect(domain.memory.readU64(AT + 8)).toBe(0n);
    expect([get(39), get(4), get(5)]).toEqual([-EINVAL, -EINVAL, -EPERM]);
    expect([set(39, 0), set(4, 0), set(1, 0), set(35, 0)]).toEqual([
      -EINVAL,
      -EINVAL,
      -EPERM,
      -Errno.EEXIST,
    ]);
    expect(call(34, [0, put(domain, param(0, 0, 3))])).toBe(-ESRCH);
    expect(set(15, 0x1234)).toBe(0);
    expect(get(15)).toBe(0);
    expect(domain.memory.readU64(AT + 8)).toBe(0x1234n);
  });

  it("sets the callback vector; lines change nothing", () => {
    const { call, domain, hvm } = makeDomain();
    const vector = (2n << 56n) | 0xf3n;
    expect(call(34, [0, put(domain, param(0, vector))])).toBe(0);
    expect(hvm.values.get("UPCALL_VECTOR")).toEqual({ type: "UPCALL_VECTOR", vector: 0xf3 });
    expect(call(34, [0, put(domain, param(0, 1))])).toBe(0);
    expect(hvm.values.get("UPCALL_VECTOR")).toEqual({ type: "UPCALL_VECTOR", vector: 0xf3 });
  });

  it("sets a vCPU's own vector and raises what waits already", () => {
    const test = makeDomain();
    const { call, domain, take } = test;
    const set = (vcpu: number, vector: number): number =>
      call(34, [
        23,
        put(domain, [
          [4, vcpu],
          [1, vector],
        ]),
      ]);
    expect(set(0, 0xf)).toBe(-EINVAL);
    expect(set(2, 0xf3)).toBe(-ENOENT);
    addToPhysmap(test, 0, 0, 0x10);
    take();
    expect(set(1, 0xf3)).toBe(0);
    expect(take()).toEqual([]);
    domain.memory.writeU8(0x10000 + 64, 1);
    expect(set(1, 0xf3)).toBe(0);
    expect(take()).toEqual(["msi fee04000 243"]);
  });
});

describe("vcpu_op", () => {
  const info = (mfn: number | bigint, offset: number): Field[] => [
    [8, mfn],
    [4, offset],
    [4, 0],
  ];

  it("registers a vcpu_info once, moving the old content and marking all pending", () => {
    const test = makeDomain();
    const { call, domain, take, vcpus } = test;
    addToPhysmap(test, 0, 0, 0x10);
    domain.memory.writeU32(0x10000 + 64 + 32, 1234);
    take();
    const register = (id: number, fields: Field[]): number =>
      call(24, [10, id, put(domain, fields)]);
    expect(register(2, info(8, 0))).toBe(-ENOENT);
    expect(register(1, info(8, 4096))).toBe(-EINVAL);
    expect(register(1, info(8, 4096 - 56))).toBe(-ENXIO);
    expect(register(1, info(8, 4))).toBe(-ENXIO);
    expect(register(1, info(0x100000, 0))).toBe(-EINVAL);
    expect(register(1, info(2n ** 60n, 0))).toBe(-EINVAL);
    expect(register(1, info(8, 0x40))).toBe(0);
    expect(vcpus[1]?.attributes.values.get("VCPU_INFO")).toEqual({
      type: "VCPU_INFO",
      gpa: 0x8040n,
    });
    expect(domain.memory.readU8(0x8040)).toBe(1);
    expect(domain.memory.readU64(0x8048)).toBe(2n ** 64n - 1n);
    expect(domain.memory.readU32(0x8040 + 32)).toBe(1234);
    expect(take()).toEqual(["kick 4"]);
    expect(register(1, info(9, 0))).toBe(-EBUSY);
  });

  it("registers areas by virtual and physical address", () => {
    const { call, domain, vcpus } = makeDomain();
    const register = (cmd: number, pointer: number | bigint): number =>
      call(24, [cmd, 0, put(domain, [[8, pointer]])]);
    const last = (): unknown => vcpus[0]?.attributes.sets.at(-1);
    expect(register(5, 0x8ff0)).toBe(0);
    expect(last()).toEqual({ type: "RUNSTATE_ADDR", gpa: 0x8ff0n });
    expect(register(5, 0x40000000)).toBe(-EFAULT);
    expect(register(5, 0)).toBe(0);
    expect(last()).toEqual({ type: "RUNSTATE_ADDR", gpa: 2n ** 64n - 1n });
    expect(register(13, 0x8ff0)).toBe(-EFAULT);
    expect(register(13, 0x8fe0)).toBe(0);
    expect(register(14, 0x8ff8)).toBe(-ENXIO);
    expect(register(15, 0x8fe1)).toBe(-ENXIO);
    expect(register(15, 0x8fe0)).toBe(0);
    expect(register(15, 2n ** 64n - 1n)).toBe(0);
  });

  it("keeps timers until the timer interrupt is bound", () => {
    const test = makeDomain();
    const { call, domain, take, time, vcpus } = test;
    addToPhysmap(test, 0, 0, 0x10);
    const oneShot = (id: number, at: number): number =>
      call(24, [
        8,
        id,
        put(domain, [
          [8, at],
          [4, 0],
        ]),
      ]);
    expect(oneShot(1, 5000)).toBe(-EINVAL);
    expect(oneShot(0, 5000)).toBe(0);
    const bind: Field[] = [
      [4, 0],
      [4, 0],
      [4, 0],
    ];
    expect(call(32, [1, put(domain, bind)])).toBe(0);
    const port = domain.memory.readU32(AT + 8);
    take();
    time.now = 5000;
    time.runDue();
    expect(take()).toEqual([`send ${port} to 0`]);
    expect(oneShot(0, 9000)).toBe(0);
    expect(vcpus[0]?.attributes.values.get("TIMER")).toMatchObject({ port, expiresNs: 9000n });
    expect(call(24, [9, 0, 0])).toBe(0);
    expect(vcpus[0]?.attributes.values.get("TIMER")).toMatchObject({ port, expiresNs: 0n });
    expect(call(15, [-1])).toBe(0);
    expect(vcpus[0]?.attributes.values.get("TIMER")).toMatchObject({ expiresNs: 100_005_000n });
  });

  it("has periodic timers", () => {
    const { call, domain, time } = makeDomain();
    const set = (period: number | bigint): number => call(24, [6, 0, put(domain, [[8, period]])]);
    expect(set(999_999)).toBe(-EINVAL);
    expect(set(2n ** 63n)).toBe(-EINVAL);
    expect(set(1_000_000)).toBe(0);
    time.now += 3_500_000;
    expect(time.runDue()).toBe(1);
    expect([...time.armed].map((timer) => timer.deadline)).toEqual([4_001_000]);
    expect(call(24, [7, 0, 0])).toBe(0);
    expect(time.armed.size).toBe(0);
    expect(call(24, [7, 0, 0])).toBe(0);
  });

  it("tells which vCPUs are up, and what they did", () => {
    const { call, domain, vcpus, shutdowns } = makeDomain();
    expect([call(24, [3, 0]), call(24, [3, 1])]).toEqual([1, 0]);
    expect(call(24, [1, 1])).toBe(-EINVAL);
    (vcpus[1] as { mpState: number }).mpState = 3;
    expect(call(24, [3, 1])).toBe(1);
    expect(call(24, [2, 1])).toBe(0);
    expect(call(24, [3, 1])).toBe(0);
    expect(call(24, [1, 1])).toBe(0);
    expect(call(24, [4, 0, AT])).toBe(0);
    expect(domain.memory.readU64(AT + 16)).toBe(700n);
    expect(call(24, [4, 0, AT], { compat: true })).toBe(0);
    expect(domain.memory.readU64(AT + 12)).toBe(700n);
    expect(call(24, [2, 0])).toBe(0);
    expect(shutdowns).toEqual([]);
    expect(call(24, [2, 1])).toBe(0);
    expect(shutdowns).toEqual([0]);
    expect(call(24, [12, 0, AT])).toBe(-EINVAL);
  });
});

describe("sched_op", () => {
  it("shuts down and suspends", () => {
    const { call, domain, shutdowns, take } = makeDomain();
    const shutdown = (reason: number): number => call(29, [2, put(domain, [[4, reason]])]);
    expect([0, 1, 3].map(shutdown)).toEqual([0, 0, 0]);
    expect(shutdowns).toEqual([0, 1, 3]);
    expect([2, 9].map(shutdown)).toEqual([1, -EINVAL]);
    expect(take()).toEqual(["suspend"]);
  });

  it("has two watchdogs", () => {
    const { call, domain, time, shutdowns } = makeDomain();
    const watchdog = (id: number, timeout: number): number =>
      call(29, [
        6,
        put(domain, [
          [4, id],
          [4, timeout],
        ]),
      ]);
    expect([watchdog(0, 5), watchdog(0, 9), watchdog(0, 9)]).toEqual([1, 2, -ENOSPC]);
    expect([watchdog(3, 1), watchdog(0, 0)]).toEqual([-EINVAL, -EINVAL]);
    expect([watchdog(2, 0), watchdog(2, 1)]).toEqual([0, -EINVAL]);
    time.now += 4e9;
    expect(watchdog(1, 5)).toBe(0);
    time.now += 4e9;
    time.runDue();
    expect(shutdowns).toEqual([]);
    time.now += 2e9;
    time.runDue();
    expect(shutdowns).toEqual([4]);
  });
});

describe("event_channel_op", () => {
  it("keeps events until there is a shared_info", () => {
    const test = makeDomain();
    const { domain, take } = test;
    domain.consoleInput(Uint8Array.of(65));
    expect(take()).toEqual([]);
    addToPhysmap(test, 0, 0, 0x10);
    expect(take()).toEqual(["send 2 to 0"]);
  });

  it("binds IPIs with a shortcut that names the APIC id", () => {
    const { call, domain, hvm } = makeDomain();
    const bind: Field[] = [
      [4, 1],
      [4, 0],
    ];
    expect(call(32, [7, put(domain, bind)])).toBe(0);
    expect(domain.memory.readU32(AT + 4)).toBe(3);
    expect(hvm.sets.at(-1)).toEqual({
      type: "EVTCHN",
      sendPort: 3,
      evtchnType: 5,
      flags: 0,
      deliver: { port: 3, vcpu: 4, priority: 0xffffffff },
    });
    expect(call(32, [3, put(domain, [[4, 3]])])).toBe(0);
    expect(hvm.sets.at(-1)).toMatchObject({ sendPort: 3, flags: 1 });
  });

  it("unmasks: a port that was masked and pending is raised anew", () => {
    const test = makeDomain();
    const { call, domain, take } = test;
    expect(call(32, [9, put(domain, [[4, 1]])])).toBe(-EOPNOTSUPP);
    addToPhysmap(test, 0, 0, 0x10);
    take();
    expect(call(32, [9, put(domain, [[4, 1]])])).toBe(0);
    domain.memory.writeU8(0x10000 + 0xa00, 2);
    expect(call(32, [9, put(domain, [[4, 1]])])).toBe(0);
    expect(take()).toEqual([]);
    domain.memory.writeU8(0x10000 + 0xa00, 2);
    domain.memory.writeU8(0x10000 + 0x800, 2);
    expect(call(32, [9, put(domain, [[4, 1]])])).toBe(0);
    expect(take()).toEqual(["send 1 to 0"]);
    expect(domain.memory.readU8(0x10000 + 0xa00)).toBe(0);
  });

  it("reports status and refuses what is not there", () => {
    const { call, domain } = makeDomain();
    const status = (port: number, dom = SELF): number =>
      call(32, [
        5,
        put(domain, [
          [2, dom],
          [4, port],
        ]),
      ]);
    expect(status(1)).toBe(0);
    expect(domain.memory.readU32(AT + 8)).toBe(2);
    expect(status(5000)).toBe(-EINVAL);
    expect(status(1, 9)).toBe(-ESRCH);
    expect(call(32, [11, AT])).toBe(-ENOSYS);
  });
});

describe("the rest", () => {
  it("vm_assist, console_io and backends", () => {
    const test = makeDomain();
    const { call, domain, hvm, lines } = test;
    expect(call(21, [0, 5])).toBe(0);
    expect(hvm.values.get("RUNSTATE_UPDATE_FLAG")).toMatchObject({ runstateUpdateFlag: true });
    expect(call(21, [0, 4])).toBe(-EINVAL);
    expect(call(21, [2, 5])).toBe(-ENOSYS);
    domain.memory.write(AT, new TextEncoder().encode("hello\n"));
    expect(call(18, [0, 6, AT])).toBe(0);
    expect(lines).toContain("console_io: hello");
    addToPhysmap(test, 1, 0, 0x100000);
    domain.memory.write(0x100000 * 4096 + 64, Uint8Array.of(1, 0, 0, 0, 0x20, 0, 0, 0));
    const mapping = domain.grants.map(grantRef(8), false);
    if (typeof mapping === "number") throw new Error("not mapped");
    mapping.page?.writeU32(0, 99);
    expect(domain.memory.readU32(0x20000)).toBe(99);
    mapping.unmap();
    expect(domain.memory.readU16(0x100000 * 4096 + 64)).toBe(1);
    expect(domain.grants.map(grantRef(9), true)).toBe(-1);
  });
});
