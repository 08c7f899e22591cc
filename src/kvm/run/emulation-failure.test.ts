import { expect, it } from "vitest";
import { EngineExit } from "../../engine/bridge/port.js";
import { machine } from "../tests/machine.fixture.js";

it.each([
  [1, "it executes where there is no memory (RIP 0x1234)"],
  [3, "KVM does not emulate this instruction, whose operand is in no memory (RIP 0x1234)"],
  [2, "one instruction makes too many accesses to devices (RIP 0x1234)"],
])("says in words why a guest cannot go on (%i)", async (aux, message) => {
  const { vcpus, cpu } = await machine();
  cpu(0).rip = 0x1234n;
  cpu(0).script.push({ code: EngineExit.INTERNAL, aux, address: 0x1000 });
  expect(await vcpus[0]?.run()).toMatchObject({ kind: "internal-error", message });
});

// As Linux 6.12 answers for STMXCSR and LDMXCSR with RBX = 0x400000.
it.each([
  ["0fae1b", true, 0x1_0000_0006n, 0xf4f4f4f4_1bae0f0fn],
  ["0fae13", false, 0x1_0000_0004n, 0xf4f4f4f4_13ae0f0fn],
])("tells the code and the access (%s)", async (code, write, access, start) => {
  const { vcpus, cpu, view, at } = await machine();
  const bytes = [...code.matchAll(/../g)].map(([hex]) => Number.parseInt(hex, 16));
  for (let i = 0; i < 16; i++) view().setUint8(at(0x1000 + i), bytes[i] ?? 0xf4);
  cpu(0).rip = 0x1000n;
  cpu(0).script.push({ code: EngineExit.INTERNAL, aux: 3, address: 0x400000, write });
  expect(await vcpus[0]?.run()).toMatchObject({
    data: [1n, start, 0xf4f4f4f4_f4f4f4f4n, 0x400n, access, 0x400000n, 0n, 0n],
  });
});
