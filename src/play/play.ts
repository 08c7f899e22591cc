import { type EngineFactory, Kvm, type LinuxRelease } from "../kvm/index.js";
import type { Clock, Timers } from "../ports/index.js";
import { attributeStep, hvmAttributes } from "./attributes.js";
import { argument, Client, MAX_VCPUS, Segfault } from "./client.js";
import { strtoul } from "./numbers.js";
import { parseScenario, type Step } from "./scenario.js";
import { eventSteps } from "./steps-events.js";
import { moreVcpuSteps, moreVmSteps } from "./steps-more.js";
import { vcpuSteps } from "./steps-vcpu.js";
import { vmSteps } from "./steps-vm.js";
import { PlayTime } from "./time.js";

/** What scenarios are played with. */
export interface PlaySurroundings {
  readonly engine: EngineFactory;
  /** The release of Linux whose answers are given (KvmOptions.linux). */
  readonly linux?: LinuxRelease;
  /** A virtual clock of its own for each scenario, and timers that go by it. */
  time(): { readonly clock: Clock; readonly timers: Timers };
}

/** Printed when the program that a scenario speaks of would have ended by a signal: SIGSEGV. */
const ENDED_BY_SIGNAL = "!! status 0xb";

/**
 * Plays a scenario file, with a system of its own, and gives the lines that it prints: each step,
 * repeated, and what came of it. Nothing in a file is an error; an unknown step answers ` = ?`.
 */
export async function* playScenario(
  file: Uint8Array,
  around: PlaySurroundings,
): AsyncGenerator<string, void> {
  const { clock, timers } = around.time();
  const time = new PlayTime(clock, timers);
  const { engine, linux } = around;
  const kvm = await Kvm.open({ engine, clock: time.clock, timers, ...(linux && { linux }) });
  const client = new Client(kvm, time);
  try {
    for (const step of parseScenario(file)) {
      time.step();
      yield step.text + (await playStep(client, step));
    }
  } catch (error) {
    if (!(error instanceof Segfault)) throw error;
    yield ENDED_BY_SIGNAL;
  } finally {
    client.close();
  }
}

function playStep(client: Client, step: Step): string | Promise<string> {
  const { words } = step;
  const name = words[0] ?? "";
  const play = vmSteps.get(name) ?? eventSteps.get(name) ?? moreVmSteps.get(name);
  if (play !== undefined) return play(client, words);
  if (name === "hvm") {
    const set = argument(client, words, 1) === "set";
    return attributeStep(client, client.vm, hvmAttributes, set, words, 2);
  }
  const place = name.startsWith("v") ? strtoul(name.slice(1)) % BigInt(MAX_VCPUS) : undefined;
  const vcpu = place === undefined ? undefined : client.vcpus[Number(place)];
  const operation = words[1] ?? "";
  const vcpuStep = vcpuSteps.get(operation) ?? moreVcpuSteps.get(operation);
  if (vcpu === undefined || vcpuStep === undefined) return " = ?";
  return vcpuStep(client, vcpu, step);
}
