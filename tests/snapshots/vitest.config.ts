import { defineConfig } from "vitest/config";

/** Machines that are saved and restored: `npx vitest run --config tests/snapshots/vitest.config.ts`. */
export default defineConfig({
  test: {
    // The host decides when what runs; what passes only when it is tried again is named at the end of `npm test`.
    retry: 1,
    include: ["tests/snapshots/**/*.test.ts"],
    testTimeout: 600_000,
    hookTimeout: 600_000,
    maxWorkers: 2,
  },
});
