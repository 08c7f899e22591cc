// @ts-check
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { repositoryFiles, root } from "../check/files.mjs";
import { folders } from "./folders.mjs";
import { messageTexts, ownMutators } from "./mutators.mjs";
import { buildFolder, install, packages } from "./toolbox.mjs";

/**
 * A mutant, as far as it is kept.
 * @typedef {object} Mutant
 * @property {string} id the name by which it is switched on
 * @property {string} key the same for the same change of the same line, wherever the line moved
 * @property {string} file
 * @property {number} line counted from 1
 * @property {string} text the line
 * @property {string} mutator
 * @property {string} before
 * @property {string} after
 *
 * @typedef {object} Build one file of code that holds every mutant of a folder, each behind a switch
 * @property {string} bundle its path
 * @property {string} digest of the code that the cases try, theirs left out
 * @property {Mutant[]} mutants
 * @property {Record<string, string>} digests of the mutated files
 * @property {Record<string, string>} tests digests of the files of unit tests, with all that they import
 * @property {number} ignored mutants of texts of messages
 *
 * @typedef {import("./packages.js").Inputs} Inputs
 */

export const digest = (/** @type {string | Uint8Array} */ data) =>
  createHash("sha256").update(data).digest("hex").slice(0, 12);

const read = (/** @type {string} */ path) => readFileSync(join(root, path), "utf8");
/** @type {Map<string, string>} */
const fileDigests = new Map();
/** @param {string} path */
function fileDigest(path) {
  const known = fileDigests.get(path) ?? digest(readFileSync(join(root, path)));
  fileDigests.set(path, known);
  return known;
}
const oneLine = (/** @type {string} */ text) => text.replaceAll(/\s+/g, " ").trim();

/**
 * The part of a text between two positions, lines and columns counted from 0.
 * @param {string[]} lines
 * @param {import("./packages.js").Range} range
 */
function cut(lines, { start, end }) {
  if (start.line === end.line) return (lines[start.line] ?? "").slice(start.column, end.column);
  const middle = lines.slice(start.line + 1, end.line);
  const first = (lines[start.line] ?? "").slice(start.column);
  return [first, ...middle, (lines[end.line] ?? "").slice(0, end.column)].join("\n");
}

/**
 * @param {import("./packages.js").InstrumentedMutant[]} found
 * @returns {Mutant[]}
 */
function describe(found) {
  /** @type {Map<string, number>} */
  const seen = new Map();
  /** @type {Map<string, string[]>} */
  const texts = new Map();
  return found.map((mutant) => {
    const file = mutant.fileName;
    const lines = texts.get(file) ?? read(file).split("\n");
    texts.set(file, lines);
    const before = oneLine(cut(lines, mutant.location));
    const after = oneLine(mutant.replacement);
    const line = mutant.location.start.line + 1;
    const text = (lines[line - 1] ?? "").trim();
    const base = digest([file, mutant.mutatorName, text, before, after].join("\0"));
    const nth = seen.get(base) ?? 0;
    seen.set(base, nth + 1);
    return {
      id: mutant.id,
      key: nth === 0 ? base : `${base}.${nth}`,
      file,
      line,
      text,
      mutator: mutant.mutatorName,
      before,
      after,
    };
  });
}

/** @param {string} folder */
export const mutatedFiles = (folder) =>
  repositoryFiles().filter(
    (path) =>
      path.startsWith(`src/${folder}/`) &&
      path.endsWith(".ts") &&
      !/\.(test|fixture|gen|d)\.ts$/.test(path),
  );

/**
 * The unit tests that a folder's mutants are shown. Those that need vitest's own machinery (`vi`) cannot be run here.
 * @param {string} folder
 */
export const unitTests = (folder) =>
  repositoryFiles().filter(
    (path) =>
      path.endsWith(".test.ts") &&
      (folders[folder]?.tests ?? []).some((part) => path.startsWith(`${part}/`)) &&
      !/import \{[^}]*\bvi\b[^}]*\} from "vitest"/.test(read(path)),
  );

/**
 * @param {string} folder
 * @param {import("./packages.js").Packages} tools
 */
async function instrument(folder, { Instrumenter, createParser, print, transform, ...tools }) {
  const { babel, allMutators } = tools;
  for (const mutator of ownMutators(babel))
    if (!allMutators.some((known) => known.name === mutator.name)) allMutators.push(mutator);
  const quiet = () => {};
  const logger = { debug: quiet, info: quiet, warn: quiet, isDebugEnabled: () => false };
  const instrumenter = new Instrumenter(logger, createParser, print, transform);
  const files = mutatedFiles(folder).map((name) => ({ name, mutate: true, content: read(name) }));
  return instrumenter.instrument(files, {
    plugins: null,
    excludedMutations: [],
    ignorers: [messageTexts(babel)],
    noHeader: true,
  });
}

/**
 * The instrumenter's text with the worker's switches in place of its own, which are too slow for loops that run
 * a million times.
 * @param {string} text
 */
const withSwitches = (text) =>
  `const { act: stryMutAct_9fa48, cov: stryCov_9fa48 } = globalThis.mutantSwitches;\n${text}`.replaceAll(
    /(?<=stry(?:MutAct|Cov)_9fa48\()("\d+"(?:, )?)+(?=\))/g,
    (ids) => ids.replaceAll('"', ""),
  );

/**
 * What the worker loads: the player of scenarios, and the unit tests as functions that load one file.
 * @param {string} folder
 */
function entry(folder) {
  const tests = unitTests(folder).map(
    (path) => `  ${JSON.stringify(path)}: () => import(${JSON.stringify(join(root, path))}),`,
  );
  const from = (/** @type {string} */ path) => JSON.stringify(join(root, "src", path));
  return `export { Engine } from ${from("engine/bridge/index.ts")};
export { Layout } from ${from("engine/bridge/state.gen.ts")};
export { HeapTimers, VirtualClock } from ${from("hosts/sim/index.ts")};
export { playScenario } from ${from("play/index.ts")};
export const tests = {
${tests.join("\n")}
};
`;
}

/**
 * Bundles the sources with the instrumented files in place of their originals.
 * @param {string} folder
 * @param {Map<string, string>} instrumented
 * @param {import("./packages.js").Bundler} esbuild
 * @returns {Promise<{ text: string, inputs: Inputs }>} the code, and what it is made of
 */
async function bundle(folder, instrumented, esbuild) {
  const shim = (/** @type {string} */ name) => ({
    path: pathToFileURL(join(root, `tools/mutants/${name}-shim.mjs`)).href,
    external: true,
  });
  /** @type {import("./packages.js").BundlerPlugin} */
  const plugin = {
    name: "mutants",
    setup(build) {
      build.onResolve({ filter: /^vitest$/ }, () => shim("vitest"));
      build.onResolve({ filter: /^fast-check$/ }, () => shim("fast-check"));
      build.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const text = instrumented.get(relative(root, path)) ?? readFileSync(path, "utf8");
        const own = JSON.stringify(pathToFileURL(path).href);
        return { contents: text.replaceAll("import.meta.url", own), loader: "ts" };
      });
    },
  };
  const result = await esbuild.build({
    stdin: { contents: entry(folder), resolveDir: root, loader: "js" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    absWorkingDir: root,
    metafile: true,
    write: false,
    logLevel: "error",
    plugins: [plugin],
  });
  return { text: result.outputFiles[0]?.text ?? "", inputs: result.metafile.inputs };
}

const isOfTests = (/** @type {string} */ path) => /\.(test|fixture)\.ts$/.test(path);

/**
 * A digest of a test's file, of everything that it imports but the mutated files, and of recordings below its
 * folder: while it is the same, and the mutated file too, the test says what it said.
 * @param {string} test
 * @param {Inputs} inputs
 * @param {ReadonlySet<string>} mutated
 * @param {readonly string[]} all of the repository
 */
function testDigest(test, inputs, mutated, all) {
  const reached = new Set([test]);
  for (const path of reached)
    for (const { path: next, external } of inputs[path]?.imports ?? [])
      if (external !== true && !mutated.has(next)) reached.add(next);
  const below = `${dirname(test)}/`;
  const data = all.filter((path) => path.startsWith(below) && !/\.(ts|md)$/.test(path));
  return digest(
    [...reached, ...data]
      .sort()
      .map((path) => `${path} ${fileDigest(path)}`)
      .join(),
  );
}

/**
 * Instruments and bundles a folder of `src/`.
 * @param {string} folder
 * @returns {Promise<Build>}
 */
export async function build(folder) {
  install();
  const tools = await packages();
  const { files, mutants: all } = await instrument(folder, tools);
  const instrumented = new Map(files.map(({ name, content }) => [name, withSwitches(content)]));
  const { text, inputs } = await bundle(folder, instrumented, tools.esbuild);
  const path = join(buildFolder, folder, "bundle.mjs");
  mkdirSync(dirname(path), { recursive: true });
  if (!existsSync(path) || readFileSync(path, "utf8") !== text) writeFileSync(path, text);
  // Keys are counted before texts of messages are left out, so that they stay the same.
  const described = describe(all);
  const mutants = described.filter((_, i) => all[i]?.status !== "Ignored");
  const repository = repositoryFiles();
  const mutated = new Set(mutatedFiles(folder));
  const code = Object.keys(inputs).filter((file) => file !== "<stdin>" && !isOfTests(file));
  const ran = [...code.sort(), "dist/engine/core.wasm"].map(
    (file) => `${file} ${fileDigest(file)}`,
  );
  return {
    bundle: path,
    digest: digest([...ran, ...described.map(({ key }) => key)].join()),
    mutants,
    digests: Object.fromEntries([...mutated].map((file) => [file, fileDigest(file)])),
    tests: Object.fromEntries(
      unitTests(folder).map((test) => [test, testDigest(test, inputs, mutated, repository)]),
    ),
    ignored: all.length - mutants.length,
  };
}
