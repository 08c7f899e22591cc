import { defineConfig } from "vitest/config";

/** Recorded scenarios: `npx vitest run --config tests/vectors/vitest.config.ts`. */
export default defineConfig({
  test: {
    include: ["tests/vectors/**/*.test.ts"],
    testTimeout: 60_000,
    maxWorkers: 2,
  },
});
