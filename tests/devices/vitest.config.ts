import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** Guests with paravirtual devices, checked with other people's tools: `npx vitest run --config tests/devices/vitest.config.ts`. */
export default defineConfig({
  root: fileURLToPath(new URL("../..", import.meta.url)),
  test: {
    include: ["tests/devices/**/*.test.ts"],
    testTimeout: 600_000,
    hookTimeout: 600_000,
    maxWorkers: 2,
  },
});
