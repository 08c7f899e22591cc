import { JitWord } from "../bridge/state.gen.js";

/** How a VM's code is compiled. */
export interface CompilerSettings {
  /** After how many interpreted instructions at a stretch a block is looked at. Default 4096. */
  readonly sample: number;
  /** How often a block has to be met that way until its region is compiled, 1 to 65534. Default 64. */
  readonly threshold: number;
  /** How many blocks are written down from a hot one on, 2 to 192: what a region is made of. Default 192. */
  readonly record: number;
  /** How many regions make a module, if they become hot soon one after another. Default 16. */
  readonly batch: number;
}

/**
 * A sample costs 0.1 µs, a region 0.5 ms here and five times that of V8's other threads. Less than 64 made boots slower than
 * without compiled code, more than 64 what runs for seconds only.
 */
export const DEFAULT_SETTINGS: CompilerSettings = {
  sample: 4096,
  threshold: 64,
  record: 192,
  batch: 16,
};

/** Tells the core when a block is hot, and what to write down of it then. */
export function writeSettings(view: DataView, settings: CompilerSettings): void {
  view.setUint32(JitWord.SAMPLE, settings.sample, true);
  view.setUint32(JitWord.THRESHOLD, settings.threshold, true);
  view.setUint32(JitWord.RECORD, settings.record, true);
}

/** Has the core look at no block any more. */
export function stopSampling(view: DataView): void {
  view.setUint32(JitWord.SAMPLE, 0, true);
}
