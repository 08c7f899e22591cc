// @ts-check
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { createViteServer } from "vitest/node";

const root = fileURLToPath(new URL("../../", import.meta.url));

/**
 * What this library's source (and the built engine) answers to files for ioctls.c, by their names: the player is a fixture
 * of the unit tests, on virtual time.
 * @param {readonly string[]} files
 * @param {string | undefined} release
 * @returns {Promise<Map<string, string[]>>}
 */
export async function playIoctls(files, release) {
  const server = await createViteServer({
    root,
    configFile: false,
    logLevel: "error",
    server: { middlewareMode: true, watch: null, ws: false },
    optimizeDeps: { noDiscovery: true },
  });
  try {
    const { IoctlPlayer } = await server.ssrLoadModule("/src/ioctl/ioctls.fixture.ts");
    /** @type {Map<string, string[]>} */
    const answers = new Map();
    for (const file of files) {
      const player = await IoctlPlayer.open(release);
      /** @type {string[]} */
      let lines;
      try {
        lines = await player.play(readFileSync(file, "latin1"));
      } catch (error) {
        lines = [String(error)];
      }
      answers.set(basename(file), lines);
    }
    return answers;
  } finally {
    await server.close();
  }
}
