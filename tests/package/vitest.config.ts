import { defineConfig } from "vitest/config";

/** The package that is published, as its users have it: `npx vitest run --config tests/package/vitest.config.ts`. */
export default defineConfig({
  test: {
    // The registry and the host decide when what runs; what passes only when it is tried again is named by `npm test`.
    retry: 1,
    include: ["tests/package/**/*.test.ts"],
    testTimeout: 300_000,
    hookTimeout: 300_000,
    maxWorkers: 1,
  },
});
