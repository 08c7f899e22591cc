import { defineConfig } from "vitest/config";

/** Whole guests, booted by the real command: `npx vitest run --config tests/boot/vitest.config.ts`. */
export default defineConfig({
  test: {
    include: ["tests/boot/**/*.test.ts"],
    testTimeout: 600_000,
    hookTimeout: 600_000,
    maxWorkers: 2,
  },
});
