import { expect, it } from "vitest";
import { EngineExit } from "../bridge/port.js";
import { GuestCpu, type GuestCpuOptions } from "./guest-cpu.fixture.js";

const PATHS: readonly GuestCpuOptions[] = [
  { decode: "each" },
  { decode: "cached" },
  { decode: "compiled", compile: { sample: 1, threshold: 1, batch: 1 } },
];
const RAX = 0;

/** Runs `mov edx, port; mov rax, -256`, the instruction and HLT. */
async function access(options: GuestCpuOptions, port: number, instruction: string) {
  const t = await GuestCpu.create("long64", options);
  t.vm.setFloating(0x40, 4, true);
  t.vm.setFloating(0x42, 1, false);
  t.vm.setFloating(0xfffe, 2, true);
  const dx = Buffer.from([port & 0xff, port >> 8]).toString("hex");
  t.code(`ba${dx}0000 48c7c000ffffff ${instruction} f4`);
  return { exit: t.run(100), rax: t.reg(RAX), instructions: t.cpu.instructions };
}

it.each(PATHS)("IN from ports where nothing is gives ones, on the path %j", async (options) => {
  const done = { exit: EngineExit.HLT, instructions: 4 };
  expect(await access(options, 0x40, "ec")).toEqual({ ...done, rax: 0xffffffffffffffffn });
  expect(await access(options, 0x43, "e440")).toEqual({ ...done, rax: 0xffffffffffffffffn });
  expect(await access(options, 0x40, "66ed")).toMatchObject({ ...done });
  expect(await access(options, 0xfffe, "66ed")).toEqual({ ...done, rax: 0xffffffffffffffffn });
});

it.each([
  ["one of the ports is another's", 0x41, "66ed"],
  ["all four are not", 0x40, "ed"],
  ["it was taken back", 0x42, "ec"],
  ["it ends behind the last port", 0xffff, "66ed"],
  ["it is a write", 0x40, "ee"],
  ["it is INS", 0x40, "6c"],
] as const)("an access leaves when %s", async (_, port, instruction) => {
  for (const options of PATHS)
    expect(await access(options, port, instruction)).toMatchObject({ exit: EngineExit.IO });
});
