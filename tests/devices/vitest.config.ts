import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/**
 * Guests with paravirtual devices, checked with other people's tools: `npx vitest run --config tests/devices/vitest.config.ts`.
 */
export default defineConfig({
  root: fileURLToPath(new URL("../..", import.meta.url)),
  test: {
    // The host decides when what runs; what passes only when it is tried again is named at the end of `npm test`.
    retry: 1,
    include: ["tests/devices/**/*.test.ts"],
    testTimeout: 240_000,
    hookTimeout: 240_000,
    maxWorkers: 2,
  },
});
