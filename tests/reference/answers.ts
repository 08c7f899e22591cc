/** Scenarios of spec/kvm with the answers that Linux recorded, and how this library plays them. */
import { readFileSync } from "node:fs";
import { patched, readPatches } from "../../spec/kvm/patches.mjs";
import { loadEngine } from "../../src/engine/tests/guest-cpu.fixture.js";
import { HeapTimers, VirtualClock } from "../../src/hosts/sim/index.js";
import type { LinuxRelease } from "../../src/kvm/index.js";
import { playScenario } from "../../src/play/index.js";

/** The lines of each part of a file of recorded answers, by the name after `== `. */
export function recordedAnswers(file: string): Map<string, string[]> {
  const text = readFileSync(new URL(`../../spec/kvm/${file}`, import.meta.url), "utf8");
  const parts = text.trimEnd().split(/^== /m).slice(1);
  return new Map(
    parts.map((part) => {
      const [name = "", ...lines] = part.trimEnd().split("\n");
      return [name, lines];
    }),
  );
}

/** What Linux 7.2 answered: the lines of a file, and those of its `-7.2` that are other. */
export function recordedBy72(name: string): Map<string, string[]> {
  const file = new URL(`../../spec/kvm/${name}-7.2.out`, import.meta.url);
  const patches = readPatches(readFileSync(file, "utf8"));
  const parts = [...recordedAnswers(`${name}.out`)];
  return new Map(parts.map(([title, lines]) => [title, patched(lines, patches.get(title))]));
}

/** The lines that a scenario gives here, as a release of Linux. */
export async function play(scenario: string, linux: LinuxRelease = "6.12"): Promise<string[]> {
  const time = () => {
    const clock = new VirtualClock();
    return { clock, timers: new HeapTimers(clock) };
  };
  const around = { engine: await loadEngine(), time, linux };
  const lines: string[] = [];
  for await (const line of playScenario(new TextEncoder().encode(scenario), around)) {
    lines.push(line);
  }
  return lines;
}
