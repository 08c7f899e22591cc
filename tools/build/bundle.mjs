// @ts-check
/**
 * Puts the modules of the command into a few files, dist/bundle: Node takes a third of a millisecond for each of the 400 that a
 * guest needs. `src/cli/bundle.ts` says when the command uses them.
 */
import { existsSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const dist = join(root, "dist");
const out = join(dist, "bundle");

/** A module finds files by its own place: it has to be told the one it had. */
const places = {
  name: "places",
  enforce: /** @type {const} */ ("pre"),
  /** The command begins with this module before it loads the bundle: it has to stay the same one. @param {string} id */
  resolveId(id) {
    if (!id.endsWith("/early-core.js")) return undefined;
    return { id: "../hosts/node/machine/early-core.js", external: /** @type {const} */ (true) };
  },
  /** @param {string} code @param {string} id */
  transform(code, id) {
    if (!id.startsWith(dist) || !code.includes("import.meta.url")) return undefined;
    // The server of `exec` is in here, too.
    const worker = id === join(dist, "exec/index.js");
    const from = worker ? code.replaceAll('"./worker.js"', '"../bundle/exec-worker.js"') : code;
    const place = relative(out, id).split(sep).join("/");
    return {
      code: from.replaceAll(
        "import.meta.url",
        `new URL(${JSON.stringify(place)}, import.meta.url).href`,
      ),
      map: null,
    };
  },
};

if (!existsSync(join(root, "node_modules/vite"))) {
  console.error("bundle: the command stays in many files, vite is not installed: npm ci");
} else {
  const { build } = await import("vite");
  // Each of its own: a module of both would else be in the worker's file, which is for a thread only.
  // What such a thread loads later has its name, too.
  for (const { input, chunks } of [
    { input: { command: join(dist, "cli/command.js") }, chunks: "" },
    { input: { "exec-worker": join(dist, "exec/worker.js") }, chunks: "exec-worker-" },
  ]) {
    await build({
      configFile: false,
      root: dist,
      logLevel: "warn",
      publicDir: false,
      plugins: [places],
      build: {
        ssr: true,
        outDir: out,
        emptyOutDir: chunks === "",
        minify: false,
        target: "node20",
        rollupOptions: {
          input,
          output: { entryFileNames: "[name].js", chunkFileNames: `${chunks}[name]-[hash].js` },
          checks: { pluginTimings: false },
        },
      },
    });
  }
}
