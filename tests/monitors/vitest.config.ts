import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/**
 * Real virtual machine monitors under `kvm-xen exec`. Two files at once: a guest keeps one processor busy, and its
 * monitor and the server's other threads need little. Time measures nothing here but that a test ends.
 */
export default defineConfig({
  root: fileURLToPath(new URL("../..", import.meta.url)),
  test: {
    // The host decides when what runs; what passes only when it is tried again is named at the end of `npm test`.
    retry: 1,
    include: ["tests/monitors/**/*.test.ts"],
    globalSetup: ["tests/monitors/support/fetch.ts"],
    maxWorkers: 2,
    testTimeout: 300_000,
    hookTimeout: 600_000,
  },
});
