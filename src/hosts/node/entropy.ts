import { randomFillSync } from "node:crypto";
import type { Entropy } from "../../ports/index.js";

/** Random bytes of the operating system. */
export const nodeEntropy: Entropy = {
  fill(bytes) {
    randomFillSync(bytes);
  },
};
