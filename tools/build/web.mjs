// @ts-check
/** Builds the page of `kvm-xen web` into dist/web: static files that work below any path. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync } from "node:zlib";
import { inlineConstants } from "./inline-constants.mjs";

/**
 * Puts `NAME.br` beside each file, as small as brotli makes it: that takes a second or two, which is too long for a
 * server that shares its thread with a guest. Other servers can use them, too.
 * @param {string} folder
 */
function compress(folder) {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const plain = readFileSync(path);
    const packed = brotliCompressSync(plain);
    if (packed.length < plain.length) writeFileSync(`${path}.br`, packed);
  }
}

const root = fileURLToPath(new URL("../../", import.meta.url));
if (
  ["vite", "@xterm/xterm", "uplot"].some((name) => !existsSync(join(root, "node_modules", name)))
) {
  console.error("web: the page is left out, what it is made of is not installed: npm ci");
} else {
  const { build } = await import("vite");
  const constants = () => [inlineConstants(join(root, "src"))];
  await build({
    configFile: false,
    root: join(root, "src/page"),
    base: "./",
    logLevel: "warn",
    plugins: constants(),
    worker: {
      format: "es",
      plugins: constants,
      rollupOptions: { checks: { pluginTimings: false } },
    },
    build: {
      outDir: join(root, "dist/web"),
      emptyOutDir: true,
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      target: "es2023",
      rollupOptions: { checks: { pluginTimings: false } },
      license: { fileName: "licenses.md" },
      chunkSizeWarningLimit: 1000,
    },
  });
  compress(join(root, "dist/web"));
}
