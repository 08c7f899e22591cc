import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** The kernel's KVM tests through `kvm-xen exec`; the first run builds them. */
export default defineConfig({
  root: fileURLToPath(new URL("../..", import.meta.url)),
  test: {
    include: ["tests/selftests/**/*.test.ts"],
    maxConcurrency: 2,
    testTimeout: 300_000,
    hookTimeout: 900_000,
  },
});
