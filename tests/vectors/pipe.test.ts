import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

it("ends without a word, as by SIGPIPE, when nobody reads the answers any more", () => {
  // A reader that ends first, and more output than a pipe holds.
  const play = '"$0" "$1" play $(yes "$2" | head -n 60); echo "status $?" >&2';
  const words = ["-c", `(${play}) | head -n 1`, process.execPath];
  const files = [path("../../dist/cli/main.js"), path("topics/poll.scn")];
  const ended = spawnSync("sh", [...words, ...files], { encoding: "utf8" });
  expect(ended.stdout).toBe("== poll.scn\n");
  expect(ended.stderr).toBe("status 141\n");
});
