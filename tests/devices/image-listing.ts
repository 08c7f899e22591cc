/** What is in an image's ext4, by debugfs: of each path what kind it is, its rights, its owner, and its capabilities. */
import { spawnSync } from "node:child_process";

const NAMES = /^\/\d+\/(\d+)\/(\d+)\/(\d+)\/(.*)\/\d*\/$/;
const IS_FOLDER = /^04/;
/** A regular file that can be executed. */
const IS_PROGRAM = /^10.*[1357]/;

/** Asks debugfs about many paths at once. @returns what it answers to each */
function debugfs(image: string, request: string, paths: readonly string[]): string[] {
  const input = paths.map((path) => `${request} "${path}"\n`).join("");
  const env = { ...process.env, LC_ALL: "C.UTF-8", PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` };
  const options = { input, env, encoding: "utf8", maxBuffer: 1 << 28 } as const;
  const { stdout, error } = spawnSync("debugfs", ["-f", "-", image], options);
  if (error) throw error;
  // Each request is shown before its answer.
  return stdout.split(/^debugfs: .*$/m).slice(1);
}

/** The words of each path: mode, user, group, and `capabilities` where a program has some. */
export function listing(image: string): Map<string, string> {
  const found = new Map<string, string>();
  for (let folders = ["/"]; folders.length > 0; ) {
    const next: string[] = [];
    for (const [i, answer] of debugfs(image, "ls -p", folders).entries()) {
      const folder = folders[i] === "/" ? "" : folders[i];
      for (const line of answer.split("\n")) {
        const [, mode = "", user = "", group = "", name = "."] = NAMES.exec(line) ?? [];
        if (name === "." || name === "..") continue;
        found.set(`${folder}/${name}`, `${mode} ${user}:${group}`);
        if (IS_FOLDER.test(mode)) next.push(`${folder}/${name}`);
      }
    }
    folders = next;
  }
  const programs = [...found].filter(([, words]) => IS_PROGRAM.test(words)).map(([path]) => path);
  for (const [i, answer] of debugfs(image, "ea_list", programs).entries()) {
    const [, value] = /security\.capability \(\d+\)(.*)$/m.exec(answer) ?? [];
    const path = programs[i] ?? "";
    if (value !== undefined) found.set(path, `${found.get(path)} capabilities${value}`);
  }
  return found;
}
