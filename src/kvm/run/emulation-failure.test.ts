import { expect, it } from "vitest";
import { EngineExit } from "../../engine/bridge/port.js";
import { machine } from "../tests/machine.fixture.js";

it.each([
  [1, "it executes where there is no memory (RIP 0x1234)"],
  [2, "one instruction makes too many accesses to devices (RIP 0x1234)"],
])("says in words why a guest cannot go on (%i)", async (aux, message) => {
  const { vcpus, cpu } = await machine();
  cpu(0).rip = 0x1234n;
  cpu(0).script.push({ code: EngineExit.INTERNAL, aux, address: 0x1000 });
  expect(await vcpus[0]?.run()).toMatchObject({ kind: "internal-error", message });
});
