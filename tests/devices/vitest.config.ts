import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/**
 * A whole Debian and a hundred rounds of SIGKILL take five minutes each, and the first needs packages
 * (mmdebstrap, fdisk, openssh-client) that continuous integration does not install: it runs neither.
 */
const slow = ["tests/devices/debian.test.ts", "tests/devices/kill.test.ts"];
const isFull = process.env["KVM_XEN_DEVICES"] === "all";

/** Guests with paravirtual devices, checked with other people's tools: `npx vitest run --config tests/devices/vitest.config.ts`, with KVM_XEN_DEVICES=all for all. */
export default defineConfig({
  root: fileURLToPath(new URL("../..", import.meta.url)),
  test: {
    // The host decides when what runs; what passes only when it is tried again is named at the end of `npm test`.
    retry: 1,
    include: ["tests/devices/**/*.test.ts"],
    exclude: isFull ? [] : slow,
    testTimeout: 240_000,
    hookTimeout: 240_000,
    maxWorkers: 2,
  },
});
