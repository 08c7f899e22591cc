import { defineConfig } from "vitest/config";

/** Unit tests: `npx vitest run [folder]`. Boots, exec and vectors have configurations of their own. */
export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "tools/**/*.test.ts", "tests/**/*.test.ts"],
    exclude: [
      "node_modules/**",
      "tests/boot/**",
      "tests/browser/**",
      "tests/devices/**",
      "tests/exec/**",
      "tests/monitors/**",
      "tests/package/**",
      "tests/selftests/**",
      "tests/snapshots/**",
      "tests/vectors/**",
    ],
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
