import { describe, expect, it } from "vitest";
import { KvmExitReason as Exit, KVM_GET_REGS, KVM_SET_REGS, kvm_regs } from "../kvm/index.js";
import { Door, err, field } from "./door.fixture.js";

const DF = 0x400n;
const GUEST = 0x1000;

interface Given {
  readonly code: string;
  readonly cx: number;
  readonly di: number;
  readonly down?: boolean;
}

/** Plays a guest until HLT, answering with 0x40, 0x41, ... : "count RCX RDI" of each exit. */
async function play(given: Given): Promise<{ exits: string[]; memory: (at: number) => number }> {
  const door = await Door.open();
  const vm = door.vm();
  const ram = door.slot(vm, 0, 0, 0x10000);
  door.put(ram + BigInt(GUEST), `${given.code} f4`);
  const { fd, page, view } = door.vcpu(vm);
  const rflags = 2n | (given.down === true ? DF : 0n);
  const registers = { rflags, rcx: BigInt(given.cx), rdi: BigInt(given.di), rdx: 0x80n };
  door.realMode(fd, GUEST, registers);
  const exits: string[] = [];
  for (let i = 0; i < 20; i++) {
    expect(await door.run(fd)).toBe(0);
    if (view.getUint32(field("exit_reason"), true) !== Exit.IO) break;
    const regs = registersOf(door, fd);
    const count = view.getUint32(field("io.count"), true);
    exits.push(`${count} ${regs.rcx} ${regs.rdi.toString(16)}`);
    const size = view.getUint8(field("io.size"));
    for (let j = 0; j < count * size; j++) page[4096 + j] = 0x40 + i + (j % 16);
  }
  const { rcx, rdi } = registersOf(door, fd);
  exits.push(`end ${rcx} ${rdi.toString(16)}`);
  const memory = (at: number) => door.process.read(ram + BigInt(at), 1)?.[0] ?? -1;
  return { exits, memory };
}

function registersOf(door: Door, fd: number) {
  const bytes = new Uint8Array(kvm_regs.size);
  expect(door.call(fd, KVM_GET_REGS, bytes)).toBe(0);
  return kvm_regs.decode(bytes);
}

const INSB = "f3 6c";
const INSW = "f3 6d";

// What Linux 6.12 answered.
describe("REP INS asks for many elements at once", () => {
  it("all that are left", async () => {
    const { exits, memory } = await play({ code: INSB, cx: 5, di: 0x2000 });
    expect(exits).toEqual(["5 5 2000", "end 0 2005"]);
    expect([0, 1, 2, 3, 4, 5].map((i) => memory(0x2000 + i))).toEqual([64, 65, 66, 67, 68, 0]);
  });

  it("up to the border of a page, and 1024 bytes", async () => {
    const { exits } = await play({ code: INSB, cx: 3000, di: 0x2ff0 });
    expect(exits).toEqual([
      "16 3000 2ff0",
      "1024 2984 3000",
      "1024 1960 3400",
      "936 936 3800",
      "end 0 3ba8",
    ]);
    const words = await play({ code: INSW, cx: 600, di: 0x2000 });
    expect(words.exits).toEqual(["512 600 2000", "88 88 2400", "end 0 24b0"]);
  });

  it("elements for bytes, at the border", async () => {
    const { exits } = await play({ code: INSW, cx: 20, di: 0x2ffb });
    expect(exits).toEqual(["5 20 2ffb", "15 15 3005", "end 0 3023"]);
  });

  it("downwards", async () => {
    const { exits, memory } = await play({ code: INSB, cx: 20, di: 0x2003, down: true });
    expect(exits).toEqual(["3 20 2003", "1 17 2000", "16 16 1fff", "end 0 1fef"]);
    expect([memory(0x2003), memory(0x2002), memory(0x2001)]).toEqual([64, 65, 66]);
  });

  it("REPNE too; without a prefix one", async () => {
    expect((await play({ code: "f2 6c", cx: 5, di: 0x2000 })).exits[0]).toBe("5 5 2000");
    expect((await play({ code: "6c", cx: 5, di: 0x2000 })).exits).toEqual([
      "1 5 2000",
      "end 5 2001",
    ]);
  });

  it("a client that lowers RCX gets no more than that stored", async () => {
    const { door, ram, fd, page } = await stopped();
    const regs = registersOf(door, fd);
    expect(door.call(fd, KVM_SET_REGS, kvm_regs.encode({ ...regs, rcx: 1n }))).toBe(0);
    page.fill(0xaa, 4096, 8192);
    expect(await door.run(fd)).toBe(0);
    expect(registersOf(door, fd)).toMatchObject({ rcx: 0n, rdi: 0x2001n, rip: 0x1003n });
    expect([...(door.process.read(ram + 0x2000n, 2) ?? [])]).toEqual([0xaa, 0]);
  });

  it("immediate_exit stores all that the client gave", async () => {
    const { door, fd, page, view } = await stopped();
    page.fill(0xaa, 4096, 8192);
    view.setUint8(field("immediate_exit"), 1);
    expect(await door.run(fd)).toBe(err("EINTR"));
    expect(registersOf(door, fd)).toMatchObject({ rcx: 0n, rdi: 0x2003n });
  });
});

/** A vCPU that asked for three bytes. */
async function stopped() {
  const door = await Door.open();
  const vm = door.vm();
  const ram = door.slot(vm, 0, 0, 0x10000);
  door.put(ram + BigInt(GUEST), `${INSB} f4`);
  const vcpu = door.vcpu(vm);
  door.realMode(vcpu.fd, GUEST, { rflags: 2n, rcx: 3n, rdi: 0x2000n, rdx: 0x80n });
  expect(await door.run(vcpu.fd)).toBe(0);
  expect(vcpu.view.getUint32(field("io.count"), true)).toBe(3);
  return { door, ram, ...vcpu };
}
