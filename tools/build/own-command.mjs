// @ts-check
/**
 * `npx kvm-xen` in the checkout runs what was built. Without this link npx, the first time, makes a package of the
 * checkout first, and so builds everything again.
 */
import { chmodSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const link = fileURLToPath(new URL("../../node_modules/.bin/kvm-xen", import.meta.url));
mkdirSync(dirname(link), { recursive: true });
rmSync(link, { force: true });
symlinkSync("../../dist/cli/main.js", link);
chmodSync(fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url)), 0o755);
