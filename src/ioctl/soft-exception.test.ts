import { beforeEach, describe, expect, it } from "vitest";
import {
  KvmExitReason as Exit,
  KVM_GET_REGS,
  KVM_SET_GUEST_DEBUG,
  KVM_SET_VCPU_EVENTS,
  KvmGuestDbg,
  kvm_guest_debug,
  kvm_regs,
  kvm_vcpu_events,
} from "../kvm/index.js";
import { Door, field } from "./door.fixture.js";

const CODE = 0x1000;
const HANDLERS = 0x2000;

/**
 * #BP and #OF that a client injects, at an instruction in real mode. Answers of Linux 6.12.117 on an AMD processor: which
 * handler ran and where it returns to, or where the guest went on to its HLT or OUT without any.
 */
const rows: readonly [code: string, vector: number, answer: string][] = [
  ["cc 90 f4", 3, "handler 3, back to 0x1001"],
  ["66 cc 90 f4", 3, "handler 3, back to 0x1002"],
  ["cd 03 90 f4", 3, "handler 3, back to 0x1002"],
  ["ce 90 f4", 4, "handler 4, back to 0x1001"],
  // Another instruction's: the event is forgotten, and the instruction executed.
  ["cc 90 f4", 4, "handler 3, back to 0x1001"],
  ["cd 03 90 f4", 4, "handler 3, back to 0x1002"],
  ["90 90 f4", 3, "HLT, rip 0x1003"],
  ["90 90 f4", 4, "HLT, rip 0x1003"],
  ["ce 90 f4", 3, "HLT, rip 0x1003"],
  ["0f 1f 00 90 f4", 3, "HLT, rip 0x1005"],
  ["e7 80 f4", 3, "OUT to 0x80"],
  // Faults and traps are where they are.
  ["cc 90 f4", 5, "handler 5, back to 0x1000"],
  ["90 90 f4", 5, "handler 5, back to 0x1000"],
];

describe("an exception that KVM_SET_VCPU_EVENTS injects", () => {
  let door: Door;
  let ram: bigint;
  let vcpu: ReturnType<Door["vcpu"]>;

  beforeEach(async () => {
    door = await Door.open();
    const vm = door.vm();
    ram = door.slot(vm, 0, 0, 0x10000);
    for (let vector = 0; vector < 16; vector++) {
      const port = (0x10 + vector).toString(16);
      // pop ax; out PORT, ax; hlt, and its entry in the interrupt vector table.
      door.put(ram + BigInt(HANDLERS + 16 * vector), `58 e7${port} f4`);
      door.put(ram + BigInt(4 * vector), `${vector.toString(16)}020 0000`);
    }
    vcpu = door.vcpu(vm);
    door.realMode(vcpu.fd, CODE, { rsp: 0x8000n });
  });

  const inject = (nr: number) => {
    const events = kvm_vcpu_events.encode({ exception: { injected: 1, nr } });
    expect(door.call(vcpu.fd, KVM_SET_VCPU_EVENTS, events)).toBe(0);
  };
  const run = async (): Promise<string> => {
    expect(await door.run(vcpu.fd)).toBe(0);
    const { view } = vcpu;
    const registers = new Uint8Array(kvm_regs.size);
    expect(door.call(vcpu.fd, KVM_GET_REGS, registers)).toBe(0);
    const { rip } = kvm_regs.decode(registers);
    const reason = view.getUint32(field("exit_reason"), true);
    if (reason === Exit.HLT) return `HLT, rip 0x${rip.toString(16)}`;
    if (reason === Exit.DEBUG) return `INT3 at 0x${rip.toString(16)}`;
    expect(reason).toBe(Exit.IO);
    const port = view.getUint16(field("io.port"), true);
    if (port >= 0x20) return `OUT to 0x${port.toString(16)}`;
    const at = Number(view.getBigUint64(field("io.data_offset"), true));
    return `handler ${port - 0x10}, back to 0x${view.getUint16(at, true).toString(16)}`;
  };

  it.each(rows)("at %s, vector %i: %s", async (code, vector, answer) => {
    door.put(ram + BigInt(CODE), code);
    inject(vector);
    expect(await run()).toBe(answer);
  });

  it("gives the guest back its own INT3, of which a debugger has heard", async () => {
    door.put(ram + BigInt(CODE), "66 cc 90 f4");
    const control = KvmGuestDbg.ENABLE | KvmGuestDbg.USE_SW_BP;
    const request = kvm_guest_debug.encode({ control, arch: { debugreg: new Array(8).fill(0n) } });
    expect(door.call(vcpu.fd, KVM_SET_GUEST_DEBUG, request)).toBe(0);
    expect(await run()).toBe("INT3 at 0x1000");
    inject(3);
    expect(await run()).toBe("handler 3, back to 0x1002");
  });
});
