import { defineConfig } from "vitest/config";

/** Whole guests, booted by the real command: `npx vitest run --config tests/boot/vitest.config.ts`. */
export default defineConfig({
  test: {
    // The host decides when what runs; what passes only when it is tried again is named at the end of `npm test`.
    retry: 1,
    include: ["tests/boot/**/*.test.ts"],
    testTimeout: 600_000,
    hookTimeout: 600_000,
    maxWorkers: 2,
  },
});
