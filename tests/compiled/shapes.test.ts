import { expect, it } from "vitest";
import { EngineExit } from "../../src/engine/bridge/port.js";
import { At, GuestCpu, type GuestCpuOptions } from "../../src/engine/tests/guest-cpu.fixture.js";

/** Regions that have seen both ways of each jump. */
const LATE: GuestCpuOptions = {
  decode: "compiled",
  compile: { sample: 1, threshold: 7, record: 60, batch: 1 },
};
const TURNS = 1000;

/** R15 counts turns of `body`; then HLT. All jumps in the text are relative and short. */
function looped(body: string): string {
  const bytes = body.replace(/\s+/g, "").length / 2;
  const turns = Buffer.from([TURNS & 0xff, TURNS >> 8, 0, 0]).toString("hex");
  const back = Buffer.alloc(4);
  back.writeInt32LE(-(bytes + 9));
  return `41bf ${turns} ${body} 41ffcf 0f85 ${back.toString("hex")} f4`;
}

const SHAPES: readonly [name: string, body: string][] = [
  // test r13b,1; mov r12d,3; jnz middle; loop: inc rax; middle: add rbx,rax; inc r13d; dec r12d; jnz loop
  [
    "a loop that is entered in its middle",
    "41f6c501 41bc03000000 7503 48ffc0 4801c3 41ffc5 41ffcc 75f2",
  ],
  // call f; inc rax; call f; inc rcx; jmp over; f: add rbx,rax; ret
  ["a routine that two places call", "e80d000000 48ffc0 e805000000 48ffc1 eb04 4801c3 c3"],
  // mov r12d,5; outer: mov r14d,4; inner: add rax,rbx; dec r14d; jnz inner; inc rbx; dec r12d; jnz outer
  ["a loop in a loop", "41bc05000000 41be04000000 4801d8 41ffce 75f8 48ffc3 41ffcc 75ea"],
  // test r15b,1; jz even; add rax,3; jmp join; even: sub rbx,1; join: adc rcx,rax
  ["ways that meet with different flags", "41f6c701 7406 4883c003 eb04 4883eb01 4811c1"],
  // r12d = r15d % 8 == 1 ? 2 : 1, so that the loop gets hot after what is before it;
  // sub rbx,1; jmp loop; loop: adc rcx,rax; cmp r14,r15; dec r12d; jnz loop
  [
    "flags that come into a loop from before and from its end",
    "4589fc 4183e407 4183fc01 410f94c4 450fb6e4 41ffc4 4883eb01 eb00 4811c1 4d39fe 41ffcc 75f5",
  ],
  // six calls, one of each routine; jmp over; routines: inc rax, rcx, rdx, rbx, rsi, rdi; jmp common; common: ret
  [
    "calls of routines that end with a jump to one return",
    "e81b000000 e81b000000 e81b000000 e81b000000 e81b000000 e81b000000 eb1f 48ffc0 eb19 48ffc1 eb14 48ffc2 eb0f 48ffc3 eb0a 48ffc6 eb05 48ffc7 eb00 c3",
  ],
  // lea rdx,[rip+f]; call rdx; inc ecx; jmp over; f: xor rax,r15; ret
  ["a call through a register", "488d1507000000 ffd2 ffc1 eb04 4c31f8 c3"],
  // mov rdi,DATA; mov ecx,200; rep stosb; inc rax: it uses up more than one instruction of the budget
  ["a repeated string instruction", "48bf0000100000000000 b9c8000000 f3aa 48ffc0"],
  // mov rsi,DATA; mov rdi,DATA+0x500; mov rcx,DATA+0x40; inc qword [rsi]; loop: movsb; cmp rsi,rcx; jne loop; movsq; movsd;
  // stosb; stosq; stosd; std; movsb; cld; add rbx,[rdi-0x58]
  [
    "strings that are not repeated",
    "48be0000100000000000 48bf0005100000000000 48c7c140001000 48ff06 a4 4839ce 75fa 48a5 a5 aa 48ab ab fd a4 fc 48035fa8",
  ],
  // cli; inc rax; sti; inc rcx
  ["interrupts off and on", "fa 48ffc0 fb 48ffc1"],
  // add rax,rbx; lfence; adc rcx,rdx; pushfq; pop rdx
  ["flags over a complete handler", "4801d8 0faee8 4811c1 9c 5a"],
  // lfence; inc rax; jmp over; over: lfence; mov rcx,r15; loop: lfence; dec ecx; jnz loop
  [
    "loops that begin with a complete handler",
    "0faee8 48ffc0 eb00 0faee8 b903000000 0faee8 ffc9 75f9",
  ],
  // mov rcx,rsp; mov eax,ss; push; push rcx; pushfq; mov eax,cs; push; lea rax,[rip+3]; push; iretq; inc rbx
  [
    "handlers that end their block, of which one knows what comes next",
    "4889e1 8cd0 50 51 9c 8cc8 50 488d0503000000 50 48cf 48ffc3",
  ],
  // inc byte [rip+3] (the immediate of the next); mov al,0; add rbx,rax
  ["an instruction that is written in each turn", "fe0501000000 b000 4801c3"],
];

const timesLeft = (counters: Readonly<Record<string, number>>): number =>
  Object.entries(counters).reduce((sum, [name, n]) => sum + (name.startsWith("LEFT_") ? n : 0), 0);

async function run(options: GuestCpuOptions, code: string, piece: number) {
  const t = await GuestCpu.create("long64", options);
  t.code(code);
  let exit: number = EngineExit.BUDGET;
  while (exit === EngineExit.BUDGET) exit = t.run(piece);
  const registers = Array.from({ length: 16 }, (_, i) => t.reg(i));
  const { instructions, rflags } = t.cpu;
  const state = [exit, t.rip - At.CODE, instructions, rflags, ...registers];
  return { state, counters: t.vm.counters() };
}

it.each(SHAPES)("%s is compiled, and gives the same", async (name, body) => {
  const code = looped(body);
  const expected = await run({ decode: "each" }, code, 1e6);
  for (const piece of [1e6, 1000, 61, 9]) {
    const { state, counters } = await run(LATE, code, piece);
    expect(state, `pieces of ${piece}`).toEqual(expected.state);
    // Code is compiled between runs; what is written in each turn is made anew, and does not get that old.
    if (piece === 61 && !name.includes("written"))
      expect(counters.COMPILED / Number(state[2])).toBeGreaterThan(0.4);
    expect(timesLeft(counters)).toBe(counters.REGION);
    // Each of them goes on where it was called, inside of the region.
    if (piece === 1000) expect(counters.LEFT_RETURN).toBeLessThan(TURNS / 4);
    // A short budget leaves regions in the middle, each way by its kind of jump.
    if (piece !== 9) continue;
    expect(counters.LEFT_RETURN > 0).toBe(/call/.test(name));
    expect(counters.LEFT_INDIRECT > 0).toBe(/through a register/.test(name));
  }
});

/**
 * Turns of eight jumps on one page, and a call of `mov al, imm8; add rbx, rax; ret` on the next, whose immediate is counted up
 * in each 64th turn.
 */
const CALLED = 0x1000;
// test r15b,63; jnz over; inc byte [rip + (CALLED + 1)]; over: eight times jmp +0; call CALLED
const hops = (): string => {
  const rip = (from: number, to: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(to - from);
    return bytes.toString("hex");
  };
  // The body begins behind the 6 bytes that set R15.
  const written = `41f6c73f 7506 fe05 ${rip(6 + 12, CALLED + 1)}`;
  const jumps = "eb00 ".repeat(8);
  return looped(`${written} ${jumps} e8 ${rip(6 + 12 + 16 + 5, CALLED)}`);
};

it("a region that another leads to looks at blocks of a page that was written meanwhile", async () => {
  const called = "b000 4801c3 c3";
  const code = hops().replace(/\s+/g, "");
  const whole = code.padEnd(CALLED * 2, "90") + called;
  const expected = await run({ decode: "each" }, whole, 1e6);
  // So few blocks are written down that each region is of two.
  const compile = { sample: 1, threshold: 3, record: 2, batch: 1 };
  for (const piece of [1000, 200, 61]) {
    const { state, counters } = await run({ decode: "compiled", compile }, whole, piece);
    expect(state, `pieces of ${piece}`).toEqual(expected.state);
    expect(counters.LEFT_NEAR + counters.LEFT_FAR).toBeGreaterThan(counters.TO_BLOCK + TURNS / 2);
  }
});

it("all entries of a region go with it when a page of its code was written", async () => {
  const rip = (from: number, to: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(to - from);
    return bytes.toString("hex");
  };
  // test r15b,63; jnz over; inc byte [rip + (CALLED + 1)]; over: mov r12d,9; again: call CALLED; jmp +0; dec r12d; jnz again
  const written = `41f6c73f 7506 fe05 ${rip(6 + 12, CALLED + 1)}`;
  const inner = `41bc09000000 e8 ${rip(6 + 12 + 6 + 5, CALLED)} eb00 41ffcc 75f4`;
  const code = looped(`${written} ${inner}`).replace(/\s+/g, "");
  const whole = `${code.padEnd(CALLED * 2, "90")}b0004801c3c3`;
  const expected = await run({ decode: "each" }, whole, 1e6);
  for (const threshold of [7, 30, 200]) {
    const compile = { sample: 1, threshold, record: 60, batch: 1 };
    for (const piece of [1e6, 1000, 200, 61]) {
      const { state } = await run({ decode: "compiled", compile }, whole, piece);
      expect(state, `${threshold}, pieces of ${piece}`).toEqual(expected.state);
    }
  }
});
