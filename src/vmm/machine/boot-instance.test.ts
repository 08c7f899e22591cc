import { expect, it } from "vitest";
import type { VcpuApi } from "../../kvm/api/index.js";
import type { BootPlan } from "../loader/boot.js";
import { bootInstance } from "./boot-instance.js";

const MIB = 1 << 20;

/** Bytes that were written between two turns of the host's other work, and whether the guest was entered. */
async function turnsOf(plan: BootPlan, isOver: (turns: number) => boolean) {
  const turns = [0];
  let entered = false;
  const write = (_at: number, bytes: Uint8Array): boolean => {
    turns[turns.length - 1] = (turns.at(-1) ?? 0) + bytes.length;
    return true;
  };
  const sregs = { cs: {}, ds: {}, es: {}, ss: {}, fs: {}, gs: {}, tr: {}, ldt: {} };
  const vcpu = {
    id: 0,
    getSregs: () => sregs,
    setSregs: () => undefined,
    getRegs: () => ({}),
    setRegs: () => {
      entered = true;
    },
  } as unknown as VcpuApi;
  const loop = {
    yieldNow: async () => void turns.push(0),
    after: () => () => undefined,
  };
  const host = { loop, isOver: () => isOver(turns.length) };
  const generation = { id: new Uint8Array(16), gsi: 9 };
  await bootInstance({ memory: { write }, vcpus: [vcpu], generation }, plan, host);
  return { turns, entered };
}

const module = (paddr: number, size: number) => ({
  ...{ paddr, bytes: new Uint8Array(size), memSize: size },
});
const plan: BootPlan = {
  placements: [...Array(40).keys()].map((i) => module(i * MIB, MIB)).concat(module(0, 100 * MIB)),
  ...{ entry: 0, startInfoPaddr: 0 },
};

it("writes what it boots in pieces: signals and time-outs have their turn between them", async () => {
  const { turns, entered } = await turnsOf(plan, () => false);
  const written = turns.reduce((sum, bytes) => sum + bytes, 0);
  expect(written).toBeGreaterThan(140 * MIB);
  expect(written).toBeLessThan(141 * MIB);
  expect(Math.max(...turns)).toBeLessThan(17 * MIB);
  expect(entered).toBe(true);
});

it("leaves the rest out when the machine is stopped meanwhile", async () => {
  const { turns, entered } = await turnsOf(plan, (turns) => turns === 4);
  expect([turns.length, turns.at(-1), entered]).toEqual([4, 0, false]);
});
