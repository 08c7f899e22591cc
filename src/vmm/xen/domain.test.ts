import { describe, expect, it } from "vitest";
import { apicId, Errno } from "../../base/index.js";
import { KvmError } from "../../kvm/api/index.js";
import { type DomainVcpu, formatUuid } from "./domain.js";
import { FakeVcpu, makeDomain } from "./kvm.fixture.js";
import { domainPath } from "./xenstore/path.js";
import { toText } from "./xenstore/wire.js";

const HOME = domainPath(1);

function setUp() {
  const test = makeDomain();
  const read = (path: string, domid = 1): string => {
    const value = test.domain.store.read(domid, 0, path);
    return typeof value === "string" ? value : toText(value);
  };
  const vcpu = (id: number): DomainVcpu => test.domain.vcpus.get(id) as DomainVcpu;
  return { ...test, read, vcpu };
}

describe("what the toolstack writes for a guest", () => {
  /** Paths of Xen's docs/misc/xenstore-paths.pandoc, with the values of this guest. */
  const uuid = "00010203-0405-0607-0809-0a0b0c0d0e0f";
  const rows: [string, string][] = [
    ["", ""],
    ["/vm", `/vm/${uuid}`],
    ["/name", "test"],
    ["/domid", "1"],
    ["/cpu", ""],
    ["/cpu/0", ""],
    ["/cpu/0/availability", "online"],
    ["/cpu/1", ""],
    ["/cpu/1/availability", "online"],
    ["/cpu/2", "ENOENT"],
    ["/memory", ""],
    ["/memory/static-max", "16384"],
    ["/memory/target", "16384"],
    ["/memory/videoram", "0"],
    ["/store", ""],
    ["/store/port", "1"],
    ["/store/ring-ref", `${0xfeff9}`],
    ["/console", ""],
    ["/console/backend-id", "0"],
    ["/console/port", "2"],
    ["/console/ring-ref", `${0xfeff8}`],
    ["/console/type", "xenconsoled"],
    ["/console/output", "pty"],
    ["/console/limit", "1048576"],
    ["/platform", ""],
    ["/platform/acpi", "1"],
    ["/platform/acpi_s3", "0"],
    ["/platform/acpi_s4", "0"],
    ["/platform/acpi_laptop_slate", "0"],
    ["/control", ""],
    ["/control/platform-feature-xs_reset_watches", "1"],
    ["/control/platform-feature-multiprocessor-suspend", "1"],
  ];
  it.each(rows)("~%s is %j, for the guest to read only", (path, value) => {
    const { read, domain } = setUp();
    expect(read(HOME + path)).toBe(value);
    if (value !== "ENOENT") {
      expect(domain.store.getPermissions(0, 0, HOME + path)).toEqual([
        { domid: 0, access: "n" },
        { domid: 1, access: "r" },
      ]);
    }
  });

  it.each([
    ["control/shutdown", ""],
    ["control/sysrq", ""],
    ["control/feature-poweroff", "1"],
    ["control/feature-reboot", "1"],
    ["control/feature-suspend", "0"],
    ["attr", ""],
    ["data", ""],
    ["device", ""],
    ["drivers", ""],
    ["error", ""],
    ["feature", ""],
  ])("~/%s is %j, and the guest's", (path, value) => {
    const { read, domain } = setUp();
    expect(read(`${HOME}/${path}`)).toBe(value);
    expect(domain.store.getPermissions(0, 0, `${HOME}/${path}`)).toEqual([
      { domid: 1, access: "n" },
    ]);
  });

  it("has the domain's name and UUID in /vm, too, for it to read", () => {
    const { read } = setUp();
    expect([read(`/vm/${uuid}`), read(`/vm/${uuid}/uuid`), read(`/vm/${uuid}/name`)]).toEqual([
      "",
      uuid,
      "test",
    ]);
    expect(read("/vm")).toBe("EACCES");
  });

  it("a UUID has its usual form: groups of 8, 4, 4, 4 and 12 digits", () => {
    expect(formatUuid(Uint8Array.from({ length: 16 }, (_, i) => 0xff - i))).toBe(
      "fffefdfc-fbfa-f9f8-f7f6-f5f4f3f2f1f0",
    );
  });
});

describe("what the host asks of a guest", () => {
  it("is written into its nodes by domain 0", () => {
    const { domain, read } = setUp();
    const heard: string[] = [];
    domain.store.watch({ domid: 1, path: HOME, token: "t", fire: (path) => heard.push(path) });
    domain.setMemoryTarget(3 * 2 ** 20 + 1500);
    domain.setConsoleSize(50, 132);
    domain.requestShutdown("reboot");
    expect(read(`${HOME}/memory/target`)).toBe("3073");
    expect(read(`${HOME}/console/winsize`)).toBe("50 132");
    expect(read(`${HOME}/control/shutdown`)).toBe("reboot");
    expect(heard).toEqual(
      ["memory/target", "console/winsize", "control/shutdown"].map((path) => `${HOME}/${path}`),
    );
  });

  it("knows itself by DOMID_SELF and by its own number", () => {
    const { domain } = setUp();
    expect([0x7ff0, 1, 0, 2, 0x7ff1].map((domid) => domain.isSelf(domid))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});

describe("a vcpu_info", () => {
  /** public/xen.h: upcall_pending u8, upcall_mask u8, then evtchn_pending_sel, a long. */
  it.each([
    [true, 8, 8],
    [false, 4, 4],
  ])("that is registered has all pending, in the mode of the guest (64 bits: %s)", (long, at, size) => {
    const { domain, vcpu } = setUp();
    domain.sharedInfo.latchLongMode(long);
    expect(domain.upcallPending(vcpu(1))).toBe(false);
    expect(domain.registerVcpuInfo(vcpu(1), 0x3040)).toBe(0);
    const content = domain.memory.read(0x3040, 64) ?? new Uint8Array(0);
    const wanted = new Uint8Array(64);
    wanted[0] = 1;
    wanted.fill(0xff, at, at + size);
    expect(content).toEqual(wanted);
    expect(vcpu(1).infoGpa).toBe(0x3040);
    expect(domain.upcallPending(vcpu(1))).toBe(true);
    domain.memory.write(0x3040, Uint8Array.of(0));
    expect(domain.upcallPending(vcpu(1))).toBe(false);
  });

  it("takes over what the old one held", () => {
    const { domain, vcpu } = setUp();
    expect(domain.mapSharedInfo(0x20, true)).toBe(0);
    const old = domain.sharedInfo.vcpuInfo(1);
    const bytes = Uint8Array.from({ length: 64 }, (_, i) => 0x80 + i);
    domain.config.vm.linear.u8.set(bytes, old);
    domain.registerVcpuInfo(vcpu(1), 0x3000);
    const content = domain.memory.read(0x3000, 64) ?? new Uint8Array(0);
    expect(content.subarray(16)).toEqual(bytes.subarray(16));
    expect(content[1]).toBe(0x81);
  });

  it("that is in shared_info counts when shared_info is there", () => {
    const { domain, vcpu } = setUp();
    const set = (): void => {
      domain.config.vm.linear.u8[domain.sharedInfo.vcpuInfo(1)] = 1;
    };
    set();
    expect(domain.upcallPending(vcpu(1))).toBe(false);
    domain.mapSharedInfo(0x20, true);
    set();
    expect([domain.upcallPending(vcpu(0)), domain.upcallPending(vcpu(1))]).toEqual([false, true]);
  });

  it("is not kept when KVM refuses it, and KVM has none then", () => {
    const { domain, vcpu, vcpus } = setUp();
    const attributes = vcpus[1]?.attributes as unknown as { set: (attr: { gpa?: bigint }) => void };
    const sets: unknown[] = [];
    attributes.set = (attr) => {
      sets.push(attr);
      if (attr.gpa === 0x3000n) throw new KvmError(Errno.EINVAL, "refused");
    };
    expect(domain.registerVcpuInfo(vcpu(1), 0x3000)).toBe(-Errno.EINVAL);
    expect(sets).toEqual([
      { type: "VCPU_INFO", gpa: 0x3000n },
      { type: "VCPU_INFO", gpa: 0xffffffffffffffffn },
    ]);
    expect(vcpu(1).infoGpa).toBeUndefined();
    expect(domain.registerVcpuInfo(vcpu(1), 0x7000000)).toBe(-Errno.EINVAL);
  });

  it("in shared_info is told to KVM when that is mapped or goes, but not in place of a registered one", () => {
    const { domain, vcpu, vcpus } = setUp();
    const told = (id: number): unknown => vcpus[id]?.attributes.values.get("VCPU_INFO_HVA");
    domain.registerVcpuInfo(vcpu(1), 0x3000);
    domain.mapSharedInfo(0x20, true);
    expect(told(0)).toEqual({ type: "VCPU_INFO_HVA", hva: BigInt(domain.sharedInfo.vcpuInfo(0)) });
    expect(told(1)).toBeUndefined();
    domain.mapSharedInfo(undefined, true);
    expect(told(0)).toEqual({ type: "VCPU_INFO_HVA", hva: 0n });
  });
});

describe("an upcall", () => {
  it("kicks a vCPU without a vector of its own, or is a message to its APIC", () => {
    const { domain, vcpu, vcpus, take } = setUp();
    take();
    domain.assertUpcall(vcpu(1));
    expect(take()).toEqual(["kick 4"]);
    vcpus[1]?.xen.setAttr({ type: "UPCALL_VECTOR", vector: 0xf3 });
    domain.assertUpcall(vcpu(1));
    // 0xfee00000, the APIC id in bits 12 to 19 (Intel SDM 3A, 11.11.1).
    expect(take()).toEqual([`msi ${(0xfee00000 + (4 << 12)).toString(16)} ${0xf3}`]);
  });

  it("to an APIC id of more than 8 bits has the others in the upper half of the address (x2APIC, KVM_CAP_X2APIC_API)", () => {
    const { domain, vcpu } = setUp();
    const sent: unknown[] = [];
    Object.assign(domain.config.vm, { signalMsi: (msi: unknown) => sent.push(msi) });
    const far = new FakeVcpu(apicId(0x1234), []);
    far.xen.setAttr({ type: "UPCALL_VECTOR", vector: 0x31 });
    domain.assertUpcall({ ...vcpu(1), kvm: far });
    expect(sent).toEqual([{ addressLo: 0xfee34000, addressHi: 0x1200, data: 0x31 }]);
  });
});

it("a domain's store knows this domain and domain 0: no other can own a node", () => {
  const { domain } = setUp();
  expect([0, 1, 2, 7, 0x7ff0].map((domid) => domain.store.exists(domid))).toEqual([
    ...[true, true, false, false, false],
  ]);
});

it("output of the console goes on when there is room for it again", () => {
  const { domain, written } = setUp();
  const page = 0xfeff8 * 4096;
  // struct xencons_interface: out at 1024, out_prod behind in_cons, in_prod and out_cons at 3072.
  domain.memory.write(page + 1024, Uint8Array.of(0x68, 0x69));
  domain.memory.writeU32(page + 3084, 2);
  expect(written).toEqual([]);
  domain.consoleRoom();
  expect(written).toEqual([0x68, 0x69]);
  expect(domain.memory.readU32(page + 3080)).toBe(2);
});

describe("a domain that ends", () => {
  it("stops all its timers", () => {
    const { domain, call, time, vcpu } = setUp();
    // SCHEDOP_watchdog: a timer of 10 s.
    domain.memory.write(0x5000, Uint8Array.of(0, 0, 0, 0, 10, 0, 0, 0));
    expect(call(29, [6, 0x5000])).toBe(1);
    vcpu(0).timers.setTimerOp(5000n);
    const armed = time.armed.size;
    expect(armed).toBeGreaterThan(0);
    domain.close();
    expect(time.armed.size).toBe(0);
  });
});
