/** The compiler of a page: it is loaded when there is code to compile. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Engine, type EngineOptions } from "../bridge/index.js";
import { LaterCompiler } from "../bridge/later-compiler.js";
import { JitWord } from "../bridge/state.gen.js";
import { At, COMPILE_AT_ONCE, GuestCpu, le } from "./guest-cpu.fixture.js";

const CORE = new URL("../../../dist/engine/core.wasm", import.meta.url);

/** The compiler's code is transformed first, which takes a second of a busy machine. */
const SOON = { timeout: 20_000 };

/** A guest that counts RBX down, and has a compiler that comes later. */
async function counting(
  times: number,
  compile: NonNullable<EngineOptions["compile"]>,
): Promise<GuestCpu> {
  const engine = await Engine.compile(readFileSync(CORE), { compile, compilerLater: true });
  const t = await GuestCpu.create("long64", { engine });
  t.code(`bb ${le(times)} ff cb 75 fc f4`);
  return t;
}

describe("a compiler that comes later", () => {
  it("has the guest interpreted until it is there, and compiles what was hot then", async () => {
    const t = await counting(100_000, COMPILE_AT_ONCE);
    t.run(500);
    t.run(500);
    expect(t.vm.counters().REGIONS).toBe(0);
    await expect
      .poll(() => {
        t.run(10);
        return t.vm.counters().REGIONS;
      }, SOON)
      .toBeGreaterThan(0);
    t.run(1_000_000);
    expect(t.rip).toBe(At.CODE + 10);
    expect(t.vm.counters().COMPILED).toBeGreaterThan(0);
  });

  it("is not loaded for a guest without hot code", async () => {
    const t = await counting(1, {});
    const before = t.vm.compiler;
    t.runToHandler();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(t.vm.compiler).toBe(before);
  });

  it("that cannot be loaded leaves everything interpreted", async () => {
    const { vm } = await counting(1, {});
    const { view } = vm.linear;
    view.setUint32(JitWord.LOG_COUNT, 1, true);
    new LaterCompiler(vm.linear, () => Promise.reject(new Error("no such file"))).compileHot();
    await expect.poll(() => view.getUint32(JitWord.SAMPLE, true), SOON).toBe(0);
  });
});
