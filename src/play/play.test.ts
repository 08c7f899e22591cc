import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { Engine } from "../engine/bridge/index.js";
import { HeapTimers, VirtualClock } from "../hosts/sim/index.js";
import { playScenario } from "./index.js";

const engine = await Engine.compile(
  readFileSync(new URL("../../dist/engine/core.wasm", import.meta.url)),
);

async function play(text: string): Promise<string[]> {
  const time = () => {
    const clock = new VirtualClock();
    return { clock, timers: new HeapTimers(clock) };
  };
  const lines: string[] = [];
  const file = Buffer.from(text, "latin1");
  for await (const line of playScenario(file, { engine, time })) lines.push(line);
  return lines;
}

/** Plays a recording: each line as it was printed on Linux. */
async function replay(recorded: string): Promise<void> {
  const lines = recorded.trim().split("\n");
  const steps = lines.filter((line) => !line.startsWith("!!")).map((line) => line.split(" = ")[0]);
  const ends = lines.at(-1)?.startsWith("!!") ? "\nsleep\nvm" : "";
  expect(await play(`${steps.join("\n")}${ends}\n`)).toEqual(lines);
}

it("answers as a process without VM and vCPUs does", async () => {
  await replay(`
cap 38 = 511
hvm get LONG_MODE = -EBADF
slot 0 0 0x1000 = -EBADF
vcpu 0 = -EBADF
v0 run 5 = -EBADF
v0 mpstate = -EBADF
v3 run 10 = -ENOTTY
v3 get VCPU_INFO = -ENOTTY
v3 msr 0x10 = -ENOTTY
v3 set VCPU_INFO 00 = -ENOTTY
v3 runstate = -ENOTTY
irqchip = -EBADF
irqfd 0 3 = -EBADF
signal 3 = -EBADF
drain 3 = -EBADF
dirty 0 = -EBADF
routing 3:4:5:6 = -EBADF
evtchn_fd 3 2 0 3 = -EBADF
!! status 0xb`);
});

it("does not know what is no step", async () => {
  await replay(`
\tfoo = ?
vm = 0
vfoo set 3 00 = -ENOTTY
v-1 = ?
v-1 foo = ?
constructor = ?
vm\r = ?
config 08 010 = 0
config 0b10 -1 = 0
!! status 0xb`);
});

it("ends where a C program would", async () => {
  await replay(`
vm = 0
irqchip = 0
slot 0 0 0x200000 = 0
vcpu 0 = 0
vcpu 64 = 0
vcpu 0 = -EEXIST
v0 mpstate = -EBADF
v64 mpstate = -EBADF
v0 result 5 = 0
v1 mode64 = -ENOTTY
v1 idt 5 6 = -ENOTTY
!! status 0xb`);
});

it("has a page at address 0 once a scenario puts one there", async () => {
  await replay(`
vm = 0
slot 0 0 0x200000 = 0
remap 0x900000 = 0
sleep = 0
peek 0x10 4 = 00000000
hvm set = 0`);
});

it("plays the same twice", async () => {
  const text = readFileSync(
    new URL("../../tests/vectors/topics/upcall_wakes_hlt.scn", import.meta.url),
    "latin1",
  );
  expect(await play(text)).toEqual(await play(text));
});
