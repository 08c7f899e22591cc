import { beforeEach, describe, expect, it } from "vitest";
import {
  KvmExitReason as Exit,
  KVM_GET_DIRTY_LOG,
  KVM_GET_REGS,
  KVM_SET_GUEST_DEBUG,
  KVM_SET_REGS,
  KvmGuestDbg,
  kvm_guest_debug,
  kvm_regs,
} from "../kvm/index.js";
import { Door, field } from "./door.fixture.js";

/*
 * What debuggers do through KVM_SET_GUEST_DEBUG, on a loop that counts in memory, with vCPUs that run at
 * the same time:
 *
 *   1000 mov ecx,N · 1006 L: inc dword [si] · 1009 dec ecx · 100b jnz L · 1012 hlt
 */
const ROUNDS = 100;
const CODE = "66b964000000 66ff04 6649 660f85f4ffffff f4";
const INC = 0x1006;
const DEC = 0x1009;
const JNZ = 0x100b;
const HLT = 0x1012;
const CELL = 0x6000;

const RF = 1n << 16n;
const DB = 1;
const BP = 3;
const DR6_FIXED = 0xffff0ff0n;
/** DR7 for breakpoint 0: on code, on four bytes that are written. */
const ON_CODE = 0x402n;
const ON_WRITE = 0xd0402n;

interface Vcpu {
  readonly fd: number;
  readonly view: DataView;
}

describe("KVM_SET_GUEST_DEBUG", () => {
  let door: Door;
  let vm: number;
  let ram: bigint;
  let vcpus: Vcpu[];

  beforeEach(async () => {
    door = await Door.open();
    vm = door.vm();
    ram = door.slot(vm, 0, 0, 0x10000, 1);
    door.put(ram + 0x1000n, CODE);
    vcpus = [0, 1, 2].map((id) => {
      const vcpu = door.vcpu(vm, id);
      door.realMode(vcpu.fd, 0x1000, { rsi: BigInt(CELL + id * 4) });
      return vcpu;
    });
  });

  const vcpu = (id: number): Vcpu => vcpus[id] as Vcpu;
  const debug = (id: number, control: number, address = 0, dr7 = 0n): void => {
    const debugreg = [BigInt(address), 0n, 0n, 0n, 0n, 0n, 0n, dr7];
    const all = control === 0 ? 0 : control | KvmGuestDbg.ENABLE;
    const request = kvm_guest_debug.encode({ control: all, arch: { debugreg } });
    expect(door.call(vcpu(id).fd, KVM_SET_GUEST_DEBUG, request)).toBe(0);
  };
  const registers = (id: number) => {
    const bytes = new Uint8Array(kvm_regs.size);
    expect(door.call(vcpu(id).fd, KVM_GET_REGS, bytes)).toBe(0);
    return kvm_regs.decode(bytes);
  };
  const setRegisters = (id: number, regs: Parameters<typeof kvm_regs.encode>[0]): void => {
    expect(door.call(vcpu(id).fd, KVM_SET_REGS, kvm_regs.encode(regs))).toBe(0);
  };
  /** KVM_RUN: where it stopped, with exception and DR6; 0 for HLT. */
  const run = async (id: number): Promise<readonly [number, number?, bigint?]> => {
    const { fd, view } = vcpu(id);
    expect(await door.run(fd)).toBe(0);
    const reason = view.getUint32(field("exit_reason"), true);
    if (reason === Exit.HLT) return [0];
    expect(reason).toBe(Exit.DEBUG);
    const at = field("debug.arch.exception");
    return [
      Number(view.getBigUint64(field("debug.arch.pc"), true)),
      view.getUint32(at, true),
      view.getBigUint64(field("debug.arch.dr6"), true),
    ];
  };
  const cell = (id: number): number => {
    const bytes = door.process.read(ram + BigInt(CELL + id * 4), 4) ?? new Uint8Array(4);
    return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  };
  /** Continues until HLT: how often it stopped, and where. */
  const stops = async (id: number, pass: () => void = () => undefined) => {
    const places = new Map<number, number>();
    for (;;) {
      const [pc] = await run(id);
      if (pc === 0) return Object.fromEntries(places);
      places.set(pc, (places.get(pc) ?? 0) + 1);
      pass();
    }
  };

  it("hbreak, continue: each time, on the vCPUs that ask for it, while others run", async () => {
    const pass = (id: number) => () => {
      const regs = registers(id);
      setRegisters(id, { ...regs, rflags: regs.rflags | RF });
    };
    debug(0, KvmGuestDbg.USE_HW_BP, DEC, ON_CODE);
    debug(1, KvmGuestDbg.USE_HW_BP, JNZ, ON_CODE);
    const all = await Promise.all([stops(0, pass(0)), stops(1, pass(1)), stops(2)]);
    expect(all).toEqual([{ [DEC]: ROUNDS }, { [JNZ]: ROUNDS }, {}]);
    expect([0, 1, 2].map(cell)).toEqual([ROUNDS, ROUNDS, ROUNDS]);
  });

  it("a hardware breakpoint that is not passed stops again, before the instruction", async () => {
    debug(0, KvmGuestDbg.USE_HW_BP, INC, ON_CODE);
    for (let i = 0; i < 2; i++) expect(await run(0)).toEqual([INC, DB, DR6_FIXED | 1n]);
    expect(cell(0)).toBe(0);
    debug(0, 0);
    expect(await run(0)).toEqual([0]);
    expect(cell(0)).toBe(ROUNDS);
  });

  it("break, stepi, continue: INT3 in the guest's code is taken out and put back", async () => {
    const seen: number[] = [];
    for (let i = 0; i < 5; i++) {
      door.put(ram + BigInt(DEC), "cc");
      debug(0, KvmGuestDbg.USE_SW_BP);
      expect((await run(0)).slice(0, 2)).toEqual([DEC, BP]);
      seen.push(Number(registers(0).rip));
      door.put(ram + BigInt(DEC), "66");
      debug(0, KvmGuestDbg.SINGLESTEP | KvmGuestDbg.USE_SW_BP);
      expect(await run(0)).toEqual([JNZ, DB, DR6_FIXED | 0x4000n]);
    }
    expect(seen).toEqual([DEC, DEC, DEC, DEC, DEC]);
    expect(cell(0)).toBe(5);
    debug(0, 0);
    expect(await run(0)).toEqual([0]);
    expect(cell(0)).toBe(ROUNDS);
  });

  it("an INT3 that is not the debugger's can be given to the guest", async () => {
    door.put(ram + BigInt(HLT), "cc f4");
    door.put(ram + 12n, "0020 0000");
    door.put(ram + 0x2000n, "f4");
    debug(0, KvmGuestDbg.USE_SW_BP);
    expect((await run(0)).slice(0, 2)).toEqual([HLT, BP]);
    debug(0, KvmGuestDbg.USE_SW_BP | KvmGuestDbg.INJECT_BP);
    expect(await run(0)).toEqual([0]);
    expect(registers(0).rip).toBe(0x2001n);
  });

  it("watch: behind each write, of the vCPU that asks, on a page that others write, with dirty logging", async () => {
    const log = () => {
      const argument = new Uint8Array(16);
      const bitmap = door.process.mapAnonymous(4096);
      new DataView(argument.buffer).setBigUint64(8, bitmap, true);
      expect(door.call(vm, KVM_GET_DIRTY_LOG, argument)).toBe(0);
      const bytes = door.process.read(bitmap, 2) ?? new Uint8Array(2);
      return ((bytes[0] ?? 0) | ((bytes[1] ?? 0) << 8)) & 0x40;
    };
    log();
    debug(0, KvmGuestDbg.USE_HW_BP, CELL, ON_WRITE);
    debug(1, KvmGuestDbg.USE_HW_BP, CELL, ON_WRITE);
    const dirty = new Set<number>();
    const all = await Promise.all([
      stops(0, () => {
        dirty.add(log());
      }),
      stops(1),
      stops(2),
    ]);
    expect(all).toEqual([{ [DEC]: ROUNDS }, {}, {}]);
    expect([0, 1, 2].map(cell)).toEqual([ROUNDS, ROUNDS, ROUNDS]);
    // Each of the writes was logged before the debugger heard of it.
    expect([...dirty]).toEqual([0x40]);
  });

  it("stepi: one instruction each, to the end", async () => {
    debug(0, KvmGuestDbg.SINGLESTEP);
    const places = await stops(0);
    expect(places).toEqual({ [INC]: ROUNDS, [DEC]: ROUNDS, [JNZ]: ROUNDS, [HLT]: 1 });
  });
});
