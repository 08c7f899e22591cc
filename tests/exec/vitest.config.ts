import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** Tests of `kvm-xen exec` with real programs: one after the other, they measure processes. */
export default defineConfig({
  root: fileURLToPath(new URL("../..", import.meta.url)),
  test: {
    // The host decides when what runs; what passes only when it is tried again is named at the end of `npm test`.
    retry: 1,
    include: ["tests/exec/**/*.test.ts"],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
