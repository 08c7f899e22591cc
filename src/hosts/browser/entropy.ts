import type { Entropy } from "../../ports/index.js";

/** What one call of the browser gives at most. */
const BYTES_A_CALL = 65536;

/** Random bytes of the browser. */
export const browserEntropy: Entropy = {
  fill(bytes) {
    for (let at = 0; at < bytes.length; at += BYTES_A_CALL) {
      crypto.getRandomValues(bytes.subarray(at, at + BYTES_A_CALL) as Uint8Array<ArrayBuffer>);
    }
  },
};
