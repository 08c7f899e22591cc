import { describe, expect, it } from "vitest";
import { KVM_GET_REGS, KVM_SET_USER_MEMORY_REGION } from "../abi/kvm/ioctl.js";
import { kvm_userspace_memory_region } from "../abi/kvm/structs.js";
import type { Client } from "./client.js";
import type { OpenFile } from "./files.js";
import { ioctlName, show, Tracer } from "./trace.js";

const clientWith = (bytes: Uint8Array) => ({ pid: 7, read: () => bytes }) as unknown as Client;
const open = { handle: 2 } as unknown as OpenFile;

describe("a traced call", () => {
  it("names the ioctl, shows the fields of its argument, and the result", () => {
    const lines: string[] = [];
    const tracer = new Tracer((line) => lines.push(line));
    const region = kvm_userspace_memory_region.encode({ slot: 1, memory_size: 0x10000n });
    tracer.before(clientWith(region), open, KVM_SET_USER_MEMORY_REGION, 0x1000n)(-22);
    expect(lines[0]?.replace(/<.*>/, "<t>")).toBe(
      "[pid 7] ioctl(#2, KVM_SET_USER_MEMORY_REGION, {slot=1, flags=0, guest_phys_addr=0, " +
        "memory_size=0x10000, userspace_addr=0}) = -1 EINVAL <t>",
    );
  });

  it("is summed up by name", () => {
    const tracer = new Tracer(undefined);
    tracer.before(clientWith(new Uint8Array(200)), open, KVM_GET_REGS, 0n)(0);
    tracer.before(clientWith(new Uint8Array(200)), open, KVM_GET_REGS, 0n)(-14);
    expect(tracer.summary()).toMatch(/KVM_GET_REGS\s+2\s+1\s/);
  });
});

describe("values in a trace", () => {
  it("are short", () => {
    expect(show({ a: 3, b: 16n, pad: 0, c: [1, 2, 3, 4, 5] })).toBe(
      "{a=3, b=0x10, c=[1, 2, 3, 4, ...]}",
    );
    expect(show(Uint8Array.of(1, 255))).toBe('"01ff"');
  });

  it("are numbers when an ioctl has no name", () => {
    expect(ioctlName(0xaefe)).toBe("0xaefe");
  });
});
