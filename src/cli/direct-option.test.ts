import { expect, it } from "vitest";
import { checkBootChoice } from "./direct-option.js";

it.each<[string, Parameters<typeof checkBootChoice>[0], RegExp | undefined]>([
  ["a kernel", { kernel: "k", initrd: ["i"] }, undefined],
  ["a kernel and a disk", { kernel: "k", initrd: [], disk: ["d"] }, undefined],
  ["a disk's kernel", { initrd: [], disk: ["d"], direct: true }, undefined],
  ["nothing", { initrd: [] }, /give --kernel FILE, or --direct/],
  ["a disk alone", { initrd: [], disk: ["d"] }, /give --kernel FILE, or --direct/],
  ["two kernels", { kernel: "k", initrd: [], disk: ["d"], direct: true }, /give no others/],
  ["two initrds", { initrd: ["i"], disk: ["d"], direct: true }, /give no others/],
  ["no disk", { initrd: [], direct: true }, /needs a --disk/],
])("%s is enough, or what is wrong is said", (_, choice, refusal) => {
  const check = (): void => checkBootChoice(choice);
  if (refusal === undefined) check();
  else expect(check).toThrow(refusal);
});
