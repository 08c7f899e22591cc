import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { patched, readPatches } from "../../spec/kvm/patches.mjs";
import { type DecodePath, Engine } from "../../src/engine/bridge/index.js";
import { HeapTimers, VirtualClock } from "../../src/hosts/sim/index.js";
import type { LinuxRelease } from "../../src/kvm/index.js";
import { playScenario } from "../../src/play/index.js";

const here = new URL(".", import.meta.url).pathname;
const core = readFileSync(join(here, "../../dist/engine/core.wasm"));
const only = process.env["ONLY"] ?? "";

const time = () => {
  const clock = new VirtualClock();
  return { clock, timers: new HeapTimers(clock) };
};

async function play(engine: Engine, scenario: string, linux: LinuxRelease): Promise<string[]> {
  const lines: string[] = [];
  const around = { engine, time, linux };
  for await (const line of playScenario(readFileSync(scenario), around)) lines.push(line);
  return lines;
}

/** The first line that differs, with its number. */
function difference(answers: readonly string[], recorded: readonly string[]): string | undefined {
  const count = Math.max(answers.length, recorded.length);
  const at = Array.from({ length: count }, (_, i) => i).find((i) => answers[i] !== recorded[i]);
  if (at === undefined) return undefined;
  return `line ${at + 1}\nrecorded: ${recorded[at]}\nhere:     ${answers[at]}`;
}

/** The lines that a release answered otherwise than 6.12, by folder and name of the scenario. */
function patchesOf(linux: LinuxRelease): ReturnType<typeof readPatches> {
  if (linux === "6.12") return new Map();
  return readPatches(readFileSync(join(here, `linux-${linux}.txt`), "latin1"));
}

/** On the compiled path everything is compiled at once. */
const AT_ONCE = { sample: 1, threshold: 1, record: 12, batch: 1 };

/**
 * Plays every recorded scenario on one path of the engine: each line must be what that release of Linux printed.
 * The environment's `ONLY=text` plays those whose name holds the text.
 */
export function replayAll(decode: DecodePath, linux: LinuxRelease = "6.12"): void {
  const patches = patchesOf(linux);
  const engine = Engine.compile(core, { decode, compile: AT_ONCE, single32: 0 });
  const folders = readdirSync(here, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  it("what is recorded of the release belongs to a scenario", () => {
    const missing = [...patches.keys()].filter((name) => !existsSync(join(here, `${name}.scn`)));
    expect(missing).toEqual([]);
  });
  describe.each(folders.map((folder) => folder.name))("%s", (folder) => {
    const names = readdirSync(join(here, folder))
      .filter((file) => file.endsWith(".scn") && file.includes(only))
      .map((file) => file.slice(0, -4));
    it.each(names)("%s", async (name) => {
      const path = join(here, folder, name);
      const answers = await play(await engine, `${path}.scn`, linux);
      const lines = readFileSync(`${path}.out`, "latin1").split("\n").slice(0, -1);
      const recorded = patched(lines, patches.get(`${folder}/${name}`));
      expect(difference(answers, recorded)).toBeUndefined();
    });
  });
}
