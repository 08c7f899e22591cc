import { defineConfig } from "vitest/config";

/** Unit tests: `npx vitest run [folder]`. The boots have a configuration of their own. */
export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "tools/**/*.test.ts", "tests/**/*.test.ts"],
    exclude: ["node_modules/**", "tests/boot/**"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
