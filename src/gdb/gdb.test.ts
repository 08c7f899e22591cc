import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seed } from "../base/seed.fixture.js";
import type { KvmGuestDebug, KvmRegs, KvmSregs } from "../kvm/index.js";
import type { DebugListener, DebugTarget } from "../vmm/machine/index.js";
import { GdbStub, MAX_PACKET } from "./index.js";
import { frame, PacketReader } from "./packets.js";

const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const segment = () => ({ selector: 8, base: 0n });

/** A machine of two vCPUs with a page of memory at 0x1000, which notes what is asked of it. */
function setUp() {
  const notes: string[] = [];
  const debugs: (KvmGuestDebug | undefined)[] = [];
  const memory = new Uint8Array(4096).fill(0x90);
  const all = { regs: {} as Record<string, bigint>, fpu: new Uint8Array(512) };
  const names = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "rip", "rflags"];
  for (const name of [...names, ...[8, 9, 10, 11, 12, 13, 14, 15].map((i) => `r${i}`)])
    all.regs[name] = 0n;
  all.regs["rip"] = 0x1234n;
  const sregs = {
    ...{ cs: segment(), ss: segment(), ds: segment(), es: segment(), fs: segment(), gs: segment() },
    ...{ cr0: 1n, cr2: 2n, cr3: 3n, cr4: 4n, cr8: 5n, efer: 6n },
  };
  let listener: DebugListener | undefined;
  const target = {
    cpus: 2,
    stop: () => Promise.resolve(void notes.push("stop")),
    go: (cpus?: number[]) => notes.push(`go ${cpus ?? "all"}`),
    setGuestDebug: (cpu: number, request: KvmGuestDebug) => {
      debugs[cpu] = request;
    },
    regs: () => ({ ...all.regs }) as unknown as KvmRegs,
    setRegs: (_: number, regs: KvmRegs) => Object.assign(all.regs, regs),
    sregs: () => sregs as unknown as KvmSregs,
    setSregs: () => notes.push("sregs"),
    fpu: () => all.fpu.slice(),
    setFpu: (_: number, image: Uint8Array) => all.fpu.set(image),
    read: (_: number, address: bigint, length: number) => {
      const at = Number(address) - 0x1000;
      return at < 0 || at >= 4096 ? new Uint8Array() : memory.slice(at, at + length);
    },
    write: (_: number, address: bigint, bytes: Uint8Array) => {
      const at = Number(address) - 0x1000;
      if (at < 0 || at + bytes.length > 4096) return false;
      memory.set(bytes, at);
      return true;
    },
  } as unknown as DebugTarget;
  const stub = new GdbStub({
    debug: (heard) => {
      listener = heard;
      return target;
    },
    stop: () => notes.push("ended"),
  });
  let sent = "";
  let gone = false;
  const connect = () =>
    stub.connect({
      send: (text) => {
        sent += text;
      },
      hangUp: () => {
        gone = true;
      },
    });
  connect();
  /** Sends packets, and gives all that is answered. */
  const ask = async (...packets: string[]): Promise<string> => {
    sent = "";
    for (const packet of packets) stub.receive(bytesOf(frame(packet)));
    await new Promise((resolve) => setImmediate(resolve));
    return sent.replaceAll(/\+|\$([^#]*)#../g, (_, data?: string) =>
      data === undefined ? "" : data,
    );
  };
  const hit = async (cpu: number, exception: number, pc: bigint, dr6 = 0n): Promise<string> => {
    sent = "";
    listener?.hit(cpu, { kind: "debug", exception, pc, dr6, dr7: 0n });
    await new Promise((resolve) => setImmediate(resolve));
    return sent.replaceAll(/\+|\$([^#]*)#../g, (_, data?: string) => data ?? "");
  };
  const raw = async (bytes: Uint8Array): Promise<string> => {
    sent = "";
    stub.receive(bytes);
    await new Promise((resolve) => setImmediate(resolve));
    return sent;
  };
  return {
    stub,
    ask,
    hit,
    raw,
    connect,
    notes,
    debugs,
    memory,
    all,
    listener: () => listener,
    gone: () => gone,
  };
}

describe("GdbStub", () => {
  it("tells of vCPUs as threads", async () => {
    const { ask } = setUp();
    expect(await ask("qfThreadInfo")).toBe("m1,2");
    expect(await ask("qsThreadInfo")).toBe("l");
    expect(await ask("qC")).toBe("QC1");
    expect(await ask("T2")).toBe("OK");
    expect(await ask("T3")).toBe("E01");
    expect(await ask("Hg2", "qC")).toBe("OKQC2");
    expect(await ask("qThreadExtraInfo,2")).toBe(Buffer.from("CPU 1").toString("hex"));
    expect(await ask("?")).toBe("T05thread:1;");
  });

  it("reads and writes registers", async () => {
    const { ask, all } = setUp();
    const whole = await ask("g");
    expect(whole.slice(16 * 16, 17 * 16)).toBe("3412000000000000");
    expect(await ask("p10")).toBe("3412000000000000");
    expect(await ask("P0=efcdab8967452301")).toBe("OK");
    expect(all.regs["rax"]).toBe(0x0123456789abcdefn);
    expect(await ask(`G${"01".repeat(8)}${(await ask("g")).slice(16)}`)).toBe("OK");
    expect(all.regs["rax"]).toBe(0x0101010101010101n);
    // xmm1 is number 41: 24 of the core, 8 and 8 of the FPU, xmm0.
    expect(await ask(`P29=${"ab".repeat(16)}`)).toBe("OK");
    expect([...all.fpu.subarray(176, 192)]).toEqual(new Array(16).fill(0xab));
    expect(await ask(`G${"00"}`)).toBe("E01");
    expect(await ask("p1000")).toBe("E01");
    // cr0 cannot be set.
    expect(await ask(`P3b=${"00".repeat(8)}`)).toBe("E01");
  });

  it("describes as many registers as it gives", async () => {
    const { ask } = setUp();
    let xml = "";
    for (let from = 0; ; from += 0x800) {
      const part = await ask(`qXfer:features:read:target.xml:${from.toString(16)},800`);
      xml += part.slice(1);
      if (part[0] === "l") break;
      expect(part[0]).toBe("m");
    }
    const bits = [...xml.matchAll(/bitsize="(\d+)"/g)].map(([, size]) => Number(size));
    expect(bits.reduce((sum, size) => sum + size, 0) / 4).toBe((await ask("g")).length);
  });

  it("hides its breakpoints in memory", async () => {
    const { ask, memory, debugs } = setUp();
    expect(await ask("Z0,1010,1")).toBe("OK");
    expect(memory[0x10]).toBe(0xcc);
    expect(await ask("m100f,3")).toBe("909090");
    expect(await ask("M1010,2:abcd")).toBe("OK");
    expect([...memory.subarray(0x10, 0x12)]).toEqual([0xcc, 0xcd]);
    expect(await ask("X1020,3:a}\x03b")).toBe("OK");
    expect([...memory.subarray(0x20, 0x23)]).toEqual([0x61, 0x23, 0x62]);
    await ask("vCont;c");
    expect(debugs[0]?.control).toBe(0x10001);
    expect(await ask("z0,1010,1")).toBe("");
  });

  it("takes a breakpoint out of memory again", async () => {
    const { ask, memory } = setUp();
    expect(await ask("Z0,1010,1", "z0,1010,1", "z0,1010,1")).toBe("OKOKOK");
    expect(memory[0x10]).toBe(0x90);
    expect(await ask("Z0,9010,1")).toBe("E28");
  });

  it("has the processor's four breakpoints", async () => {
    const { ask, debugs, hit } = setUp();
    expect(await ask("Z1,1000,1", "Z2,1008,8", "Z4,1004,4", "Z3,1002,2")).toBe("OKOKOKOK");
    expect(await ask("Z2,1010,1")).toBe("E28");
    expect(await ask("z3,1002,2", "Z2,1003,2")).toBe("OKE28");
    expect(await ask("Z2,1003,1")).toBe("OK");
    await ask("vCont;c");
    expect(debugs[1]?.debugreg.slice(0, 4)).toEqual([0x1000n, 0x1008n, 0x1004n, 0x1003n]);
    // Of the four, R/W and LEN: 0 and 0; 1 and 2 (8 bytes); 3 and 3; 1 and 0. All of them global.
    expect(debugs[1]?.debugreg[7]).toBe(0x1f900000n | 0x7aan);
    expect(await hit(1, 1, 0x1500n, 0b10n)).toBe("T05thread:2;watch:1008;");
    await ask("vCont;c");
    expect(await hit(0, 1, 0x1000n, 0b1n)).toBe("T05thread:1;hwbreak:;");
  });

  it("steps one vCPU, with the others or alone", async () => {
    const { ask, debugs, notes, hit } = setUp();
    expect(await ask("vCont?")).toBe("vCont;c;C;s;S");
    await ask("vCont;s:1;c");
    expect(debugs.map((one) => one?.control)).toEqual([0x100003, 0]);
    expect(notes.at(-1)).toBe("go 0,1");
    expect(await hit(0, 1, 0x1236n, 0x4000n)).toBe("T05thread:1;");
    await ask("vCont;s:2");
    expect(notes.at(-1)).toBe("go 1");
    expect(await ask("?")).toBe("");
    expect(await hit(1, 1, 0x1236n, 0x4000n)).toBe("T05thread:2;");
    expect(await ask("vCont;t", "vCont;c:9")).toBe("E01E01");
  });

  it("gives the guest what is its own", async () => {
    const { ask, hit, debugs, notes } = setUp();
    await ask("Z0,1010,1", "vCont;c");
    expect(await hit(0, 3, 0x1100n)).toBe("");
    expect(debugs[0]?.control).toBe(0x90001);
    expect(notes.at(-1)).toBe("go 0,1");
    expect(await hit(0, 3, 0x1010n)).toBe("T05thread:1;swbreak:;");
    // While all stand still: when it goes on.
    expect(await hit(1, 1, 0x1100n, 0x4000n)).toBe("");
    await ask("vCont;c");
    expect(debugs[1]?.control).toBe(0x50001);
  });

  it("tells of two vCPUs that stopped, one by one", async () => {
    const { ask, hit } = setUp();
    await ask("Z0,1010,1", "Z0,1020,1", "vCont;c");
    expect(await hit(0, 3, 0x1010n)).toBe("T05thread:1;swbreak:;");
    expect(await hit(1, 3, 0x1020n)).toBe("");
    expect(await ask("vCont;c")).toBe("T05thread:2;swbreak:;");
  });

  it("stops by Ctrl-C, and lets go when gdb goes", async () => {
    const { ask, raw, stub, notes, memory } = setUp();
    await ask("Z0,1010,1", "vCont;c");
    expect(await raw(Uint8Array.of(3))).toBe(frame("T02thread:1;"));
    stub.disconnected();
    await new Promise((resolve) => setImmediate(resolve));
    expect(memory[0x10]).toBe(0x90);
    expect(notes.at(-1)).toBe("go all");
  });

  it("ends the machine, and says that it has ended", async () => {
    const killed = setUp();
    await killed.ask("k");
    expect(killed.notes).toContain("ended");
    const { ask, stub, raw, gone } = setUp();
    await ask("QStartNoAckMode");
    await ask("vCont;c");
    stub.ended();
    expect(gone()).toBe(true);
    expect(await raw(bytesOf(frame("g")))).toBe("");
  });

  it("has one gdb at a time", () => {
    const { connect, stub } = setUp();
    expect(connect()).toBe(false);
    stub.disconnected();
    expect(connect()).toBe(true);
  });
});

describe("hostile packets", () => {
  it("hangs up on what is no gdb", async () => {
    for (const text of ["GET / HTTP/1.1\r\n", `$${"a".repeat(MAX_PACKET + 1)}`]) {
      const { raw, gone } = setUp();
      await raw(bytesOf(text));
      expect(gone(), text.slice(0, 10)).toBe(true);
    }
  });

  it("hangs up on who asks faster than it is answered", async () => {
    const { raw, gone } = setUp();
    await raw(bytesOf(frame("g").repeat(200)));
    expect(gone()).toBe(true);
  });

  it("refuses a packet whose checksum is wrong, and repeats what was not understood", async () => {
    const { raw, ask } = setUp();
    expect(await raw(bytesOf("$g#00"))).toBe("-");
    await ask("qC");
    expect(await raw(bytesOf("-"))).toBe(frame("QC1"));
  });

  it("answers anything with a packet, or not at all", async () => {
    const starts = [
      "m",
      "M",
      "X",
      "Z0,",
      "z1,",
      "vCont;",
      "P",
      "p",
      "G",
      "H",
      "T",
      "q",
      "qXfer:",
      "Q",
      "",
    ];
    const packet = fc.tuple(
      fc.constantFrom(...starts),
      fc.string({ unit: fc.constantFrom(..."0123456789abcdef,;:=-#$}*sc"), maxLength: 40 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(packet, { maxLength: 20 }), async (packets) => {
        const { ask, raw } = setUp();
        for (const [start, rest] of packets) await ask(start + rest);
        await raw(Uint8Array.of(3));
        expect(await ask("qC")).toMatch(/^(QC[12]|)$/);
      }),
      { seed, numRuns: 200 },
    );
  });

  it("takes bytes in any pieces", () => {
    const text = `+${frame("m1,2")}\x03-${frame("")}`;
    const whole = new PacketReader().push(bytesOf(text));
    const reader = new PacketReader();
    expect([...bytesOf(text)].flatMap((byte) => reader.push(Uint8Array.of(byte)))).toEqual(whole);
    expect(whole.map(({ kind }) => kind)).toEqual(["packet", "interrupt", "nak", "packet"]);
  });
});
