import { expect, it } from "vitest";
import { type BootChoice, checkBootChoice } from "./direct-option.js";

it.each<[string, Partial<BootChoice>, boolean | RegExp]>([
  ["a kernel", { kernel: "k", initrd: ["i"] }, false],
  ["a kernel and a disk", { kernel: "k", disk: ["d"] }, false],
  ["a disk's kernel", { disk: ["d"], direct: true, append: "a" }, false],
  ["a disk, with GRUB,", { disk: ["d"] }, true],
  ["nothing", {}, /give --kernel FILE, or a --disk/],
  ["GRUB and an initrd", { disk: ["d"], initrd: ["i"] }, /^--initrd needs --kernel or --direct/],
  ["GRUB and words", { disk: ["d"], append: "a" }, /^--append needs --kernel or --direct/],
  ["two kernels", { kernel: "k", initrd: [], disk: ["d"], direct: true }, /give no others/],
  ["two initrds", { initrd: ["i"], disk: ["d"], direct: true }, /give no others/],
  ["no disk", { initrd: [], direct: true }, /needs a --disk/],
])("%s is enough, or what is wrong is said", (_, choice, refusal) => {
  const check = (): boolean => checkBootChoice({ initrd: [], append: "", ...choice });
  if (refusal instanceof RegExp) expect(check).toThrow(refusal);
  else expect(check()).toBe(refusal);
});
