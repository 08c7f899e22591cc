import { defineConfig } from "vitest/config";

/** Machines in Chromium: `npx vitest run --config tests/browser/vitest.config.ts`. */
export default defineConfig({
  test: {
    // The host decides when what runs; what passes only when it is tried again is named at the end of `npm test`.
    retry: 1,
    include: ["tests/browser/**/*.test.ts"],
    testTimeout: 240_000,
    hookTimeout: 240_000,
    maxWorkers: 1,
  },
});
