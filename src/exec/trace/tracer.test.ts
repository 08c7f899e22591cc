import { describe, expect, it } from "vitest";
import { KvmExitReason } from "../../abi/kvm/exit.js";
import {
  KVM_CHECK_EXTENSION,
  KVM_GET_MSRS,
  KVM_GET_REGS,
  KVM_GET_SUPPORTED_CPUID,
  KVM_IRQ_LINE,
  KVM_RUN,
  KVM_SET_CPUID2,
  KVM_SET_GSI_ROUTING,
  KVM_SET_IDENTITY_MAP_ADDR,
  KVM_SET_USER_MEMORY_REGION,
  KVM_XEN_HVM_SET_ATTR,
  KVM_XEN_VCPU_GET_ATTR,
} from "../../abi/kvm/ioctl.js";
import {
  kvm_cpuid_entry2,
  kvm_cpuid2,
  kvm_irq_level,
  kvm_irq_routing,
  kvm_irq_routing_entry,
  kvm_msr_entry,
  kvm_msrs,
  kvm_run,
  kvm_userspace_memory_region,
  kvm_xen_hvm_attr,
  kvm_xen_vcpu_attr,
} from "../../abi/kvm/structs.js";
import { HostError } from "../../base/index.js";
import { parseTraceFilter } from "./filter.js";
import { ioctlName } from "./names.js";
import { show } from "./text.js";
import { asJson, asText, type Caller, type TraceForm, Tracer } from "./tracer.js";

const AT = 0x1000n;

/** A program whose memory from AT on is this. */
const callerWith = (...parts: Uint8Array[]): Caller => ({
  pid: 7,
  tid: 9,
  read(address, length) {
    const at = Number(address - AT);
    const memory = Buffer.concat(parts);
    return at >= 0 && at + length <= memory.length
      ? new Uint8Array(memory.subarray(at, at + length))
      : undefined;
  },
});
const vcpu = (pages?: Uint8Array) => ({ name: "#2<kvm-vcpu:0>", pages: () => pages });

function trace(
  request: number,
  caller: Caller,
  result = 0,
  { form = asText, pages }: { form?: TraceForm; pages?: Uint8Array } = {},
): string {
  const lines: string[] = [];
  const tracer = new Tracer({ print: (line) => lines.push(line), form });
  tracer.before(caller, vcpu(pages), request, request === KVM_RUN ? 0n : AT)(result);
  expect(lines).toHaveLength(1);
  return (lines[0] ?? "").replace(/ <[\d.]+>$/, "");
}

const exit = (reason: number, member: object, data = new Uint8Array(0)) => {
  const pages = new Uint8Array(12288);
  pages.set(kvm_run.encode({ exit_reason: reason, $exit: member }));
  pages.set(data, 4096);
  return pages;
};

describe("a traced call", () => {
  it("names who called, the ioctl, the fields of its argument, and the result", () => {
    const region = kvm_userspace_memory_region.encode({ slot: 1, memory_size: 0x10000n });
    expect(trace(KVM_SET_USER_MEMORY_REGION, callerWith(region), -22)).toBe(
      "[pid 7 tid 9] ioctl(#2<kvm-vcpu:0>, KVM_SET_USER_MEMORY_REGION, {slot=1, flags=0, " +
        "guest_phys_addr=0, memory_size=0x10000, userspace_addr=0}) = -1 EINVAL",
    );
  });

  it("names the flags of a slot and of an entry of CPUID, and shows what a pointer points to", () => {
    const region = kvm_userspace_memory_region.encode({ flags: 0x13 });
    expect(trace(KVM_SET_USER_MEMORY_REGION, callerWith(region))).toContain(
      "flags=KVM_MEM_LOG_DIRTY_PAGES|KVM_MEM_READONLY|0x10,",
    );
    const entry = kvm_cpuid_entry2.encode({ function: 4, index: 2, flags: 1, eax: 0x121 });
    const table = callerWith(kvm_cpuid2.encode({ nent: 1 }), entry);
    expect(trace(KVM_SET_CPUID2, table)).toContain(
      "entries=[{function=4, index=2, flags=KVM_CPUID_FLAG_SIGNIFCANT_INDEX, eax=0x121, ebx=0, ecx=0, edx=0}]",
    );
    const eight = Uint8Array.of(0, 0xc0, 0xff, 0xfe, 0, 0, 0, 0);
    expect(trace(KVM_SET_IDENTITY_MAP_ADDR, callerWith(eight))).toContain(
      "ADDR, [0xfeffc000]) = 0",
    );
  });

  it("shows a union without a name as C names its member", () => {
    const line = kvm_irq_level.encode({ $line: { irq: 4 }, level: 1 });
    expect(trace(KVM_IRQ_LINE, callerWith(line))).toContain("KVM_IRQ_LINE, {irq=4, level=1})");
    const json = JSON.parse(trace(KVM_IRQ_LINE, callerWith(line), 0, { form: asJson }));
    expect(json.argument).toEqual({ irq: 4, level: 1 });
  });

  it("shows no elements of a list that had no room for them", () => {
    const list = callerWith(kvm_cpuid2.encode({ nent: 1 }), kvm_cpuid_entry2.encode({}));
    expect(trace(KVM_GET_SUPPORTED_CPUID, list, -7)).toContain(
      "CPUID, {nent=1, entries=[]}) = -1 E2BIG",
    );
    expect(trace(KVM_GET_SUPPORTED_CPUID, list)).toContain("{nent=1, entries=[{function=0,");
  });

  it("shows an address when nothing is there", () => {
    expect(trace(KVM_GET_REGS, callerWith(), -14)).toContain("KVM_GET_REGS, 0x1000) = -1 EFAULT");
  });

  it("shows the member of a union that its type names", () => {
    const gfn = kvm_xen_hvm_attr.encode({ type: 1, u: { shared_info: { gfn: 0x7fn } } });
    expect(trace(KVM_XEN_HVM_SET_ATTR, callerWith(gfn))).toContain(
      "{type=KVM_XEN_ATTR_TYPE_SHARED_INFO, gfn=0x7f}",
    );
    const port = { send_port: 3, type: 2, deliver: { port: { port: 4, vcpu: 1, priority: 5 } } };
    const evtchn = kvm_xen_hvm_attr.encode({ type: 3, u: { evtchn: port } });
    expect(trace(KVM_XEN_HVM_SET_ATTR, callerWith(evtchn))).toContain(
      "evtchn={send_port=3, type=2, flags=0, port={port=4, vcpu=1, priority=5}}",
    );
    const timer = kvm_xen_vcpu_attr.encode({ type: 7, u: { timer: { port: 6, priority: 1 } } });
    expect(trace(KVM_XEN_VCPU_GET_ATTR, callerWith(timer))).toContain(
      "{type=KVM_XEN_VCPU_ATTR_TYPE_TIMER, timer={port=6, priority=1, expires_ns=0}}",
    );
  });

  it("shows what follows a head: MSRs and routes", () => {
    const msrs = [kvm_msrs.encode({ nmsrs: 1 }), kvm_msr_entry.encode({ index: 0x10, data: 5n })];
    expect(trace(KVM_GET_MSRS, callerWith(...msrs), 1)).toContain(
      "{nmsrs=1, entries=[{index=0x10, data=5}]}) = 1",
    );
    const u = { xen_evtchn: { port: 2, vcpu: 1, priority: 0xffffffff } };
    const route = kvm_irq_routing_entry.encode({ gsi: 4, type: 5, u });
    const table = [kvm_irq_routing.encode({ nr: 1 }), route];
    expect(trace(KVM_SET_GSI_ROUTING, callerWith(...table))).toContain(
      "entries=[{gsi=4, flags=0, type=KVM_IRQ_ROUTING_XEN_EVTCHN, xen_evtchn={port=2, vcpu=1, priority=0xffffffff}}]",
    );
  });

  it("reads no more elements than a call takes, whatever the count says", () => {
    const text = trace(KVM_GET_MSRS, callerWith(kvm_msrs.encode({ nmsrs: 0xffffffff })), -14);
    expect(text).toContain("{nmsrs=0xffffffff, entries=[]}");
  });

  it("shows the exit of KVM_RUN with its fields", () => {
    const io = { io: { direction: 1, size: 2, port: 0x80, count: 1, data_offset: 4096n } };
    const pages = exit(KvmExitReason.IO, io, Uint8Array.of(0x34, 0x12));
    expect(trace(KVM_RUN, callerWith(), 0, { pages })).toContain(
      'KVM_RUN, 0) = 0 (KVM_EXIT_IO {direction=KVM_EXIT_IO_OUT, size=2, port=0x80, count=1, data="3412"})',
    );
    const hcall = { longmode: 1, cpl: 0, input: 29n, params: [2n] };
    const xen = exit(KvmExitReason.XEN, { xen: { type: 1, u: { hcall } } });
    expect(trace(KVM_RUN, callerWith(), 0, { pages: xen })).toContain(
      "(KVM_EXIT_XEN {type=KVM_EXIT_XEN_HCALL, longmode=1, cpl=0, input=__HYPERVISOR_sched_op, params=[2, 0, 0, 0, 0, 0]})",
    );
    const tpr = exit(KvmExitReason.TPR_ACCESS, { tpr_access: { rip: 0x1000n, is_write: 1 } });
    expect(trace(KVM_RUN, callerWith(), 0, { pages: tpr })).toContain(
      "(KVM_EXIT_TPR_ACCESS {rip=0x1000, is_write=1})",
    );
    const hlt = exit(KvmExitReason.HLT, {});
    expect(trace(KVM_RUN, callerWith(), 0, { pages: hlt })).toContain("= 0 (KVM_EXIT_HLT)");
  });

  it("is an object of JSON, with 64-bit numbers as texts", () => {
    const pages = exit(KvmExitReason.MMIO, {
      mmio: { phys_addr: 0xfee00000n, data: [1, 2], len: 2, is_write: 1 },
    });
    const run = JSON.parse(trace(KVM_RUN, callerWith(), 0, { form: asJson, pages }));
    expect(run).toMatchObject({ pid: 7, tid: 9, file: "#2<kvm-vcpu:0>", ioctl: "KVM_RUN" });
    expect(run.exit).toEqual({
      reason: "KVM_EXIT_MMIO",
      phys_addr: "0xfee00000",
      len: 2,
      is_write: 1,
      data: "0102",
    });
    const refused = JSON.parse(trace(KVM_CHECK_EXTENSION, callerWith(), -22, { form: asJson }));
    expect(refused).toMatchObject({ argument: 0x1000, result: -1, errno: "EINVAL" });
  });

  it("is summed up by name", () => {
    const tracer = new Tracer(undefined);
    tracer.before(callerWith(), vcpu(), KVM_GET_REGS, 0n)(0);
    tracer.before(callerWith(), vcpu(), KVM_GET_REGS, 0n)(-14);
    expect(tracer.summary()).toMatch(/KVM_GET_REGS\s+2\s+1\s/);
  });
});

describe("a filter", () => {
  it("shows what it names, or all others", () => {
    const some = parseTraceFilter("kvm_run, XEN_*");
    expect(["KVM_RUN", "KVM_XEN_HVM_CONFIG", "KVM_GET_REGS"].map(some)).toEqual([
      true,
      true,
      false,
    ]);
    const others = parseTraceFilter("!KVM_RUN");
    expect(["KVM_RUN", "KVM_GET_REGS"].map(others)).toEqual([false, true]);
  });

  it("is refused when a name fits nothing", () => {
    for (const text of ["", "KVM_RUNS", "KVM_RUN,", "KVM_(RUN"])
      expect(() => parseTraceFilter(text)).toThrow(HostError);
  });

  it("leaves the table of all calls whole", () => {
    const lines: string[] = [];
    const filter = parseTraceFilter("KVM_RUN");
    const tracer = new Tracer({ print: (line) => lines.push(line), form: asText, filter });
    tracer.before(callerWith(), vcpu(), KVM_GET_REGS, 0n)(0);
    expect(lines).toEqual([]);
    expect(tracer.summary()).toContain("KVM_GET_REGS");
  });
});

describe("values in a trace", () => {
  it("are short", () => {
    expect(show({ a: 3, b: 16n, pad: 0, c: Array.from({ length: 9 }, () => 1) })).toBe(
      "{a=3, b=0x10, c=[1, 1, 1, 1, 1, 1, 1, 1, ...]}",
    );
    expect(show(Uint8Array.of(1, 255))).toBe('"01ff"');
  });

  it("are numbers when an ioctl has no name", () => {
    expect(ioctlName(0xaefe)).toBe("0xaefe");
  });
});
