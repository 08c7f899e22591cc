import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** Real virtual machine monitors under `kvm-xen exec`: one after the other, each has two threads that work. */
export default defineConfig({
  root: fileURLToPath(new URL("../..", import.meta.url)),
  test: {
    include: ["tests/monitors/**/*.test.ts"],
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 600_000,
  },
});
